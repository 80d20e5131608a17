"""Celery tasks of the mail path. They hand over to the engine and end at once, so a wake-up never waits behind another."""

from collections.abc import Sequence
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from events.partitions import ensure_partitions
from relay.delivery import worker


@shared_task(name="relay.tasks.deliver")
def deliver(destinations: Sequence[str]) -> None:
    """A wake-up: these destinations have new mail."""
    worker.engine().wake(destinations)


@shared_task(name="relay.tasks.wake_due")
def wake_due() -> None:
    """The truth check: wakes every destination with something due, whatever the broker has forgotten."""
    worker.engine().look()


@shared_task(name="relay.tasks.make_partitions")
def make_partitions() -> None:
    ensure_partitions()


@worker_ready.connect
def start_engine(**_: Any) -> None:
    worker.engine()


@worker_shutting_down.connect
def finish_engine(**_: Any) -> None:
    worker.stop_engine()
