"""Celery tasks that count. Beat sends each again; none is on the way of a message."""

from threading import Lock

from celery import shared_task

from relay.statistics import abuse, alerts, rollup
from relay.upkeep import in_turn

COUNT_SLICE_S = 8.0
_COUNTING = Lock()


@shared_task(name="relay.statistics.tasks.count_events")
@in_turn(_COUNTING)
def count_events() -> None:
    """Goes on for some seconds; beat sends the next."""
    rollup.roll_up(COUNT_SLICE_S)


@shared_task(name="relay.statistics.tasks.watch_rates")
def watch_rates() -> None:
    alerts.watch()


@shared_task(name="relay.statistics.tasks.forget_counts")
def forget_counts() -> None:
    rollup.forget_old()


@shared_task(name="relay.statistics.tasks.hold_by_rates")
def hold_by_rates() -> None:
    abuse.hold_by_rates()
