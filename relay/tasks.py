"""Celery tasks of the mail path. They hand over to the engine and end at once, so a wake-up never waits behind another; what
takes longer does so in turn (`relay.upkeep`)."""

from collections.abc import Sequence
from datetime import timedelta
from threading import Lock
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.utils import timezone

from accounts.models import IdempotentAnswer
from events.partitions import ensure_partitions
from relay import mail_hold, quotas, retention, scheduled, sender_loss, usage
from relay.delivery import worker
from relay.expiry import EXPIRE_MOST, expire
from relay.finding import exporting
from relay.lanes import Lane
from relay.models import ExchangerGroup, IdempotencyKey
from relay.reading import timeline_links
from relay.returns import record
from relay.suppressing import importing, soft_bounces
from relay.upkeep import LONG_WORK, in_turn

SLICE_S = 10.0  # beat sends the next
EXPORT_SLICE_S = 5.0
_HOLDING = Lock()
_EXPORTING = Lock()
_HEEDING = Lock()
_IMPORTING = Lock()


@shared_task(name="relay.tasks.deliver")
def deliver(lanes: Sequence[str]) -> None:
    """A wake-up: these lanes have new mail."""
    if engine := worker.engine():
        engine.wake([Lane.parse(lane) for lane in lanes])


@shared_task(name="relay.tasks.wake_due")
def wake_due() -> None:
    """The truth check: wakes every lane with something due, whatever the broker has forgotten."""
    if engine := worker.engine():
        engine.look()


@shared_task(name="relay.tasks.expire_overdue")
def expire_overdue() -> None:
    """Every recipient ends: also those that no attempt reaches any more."""
    while expire() == EXPIRE_MOST:
        pass


@shared_task(name="relay.tasks.end_mail_of")
def end_mail_of(domain_id: str, reason: str) -> None:
    """No mail may leave as this sending domain any more."""
    sender_loss.end_mail_of(UUID(domain_id), reason)


@shared_task(name="relay.tasks.settle_mail_holds")
@in_turn(_HOLDING)
def settle_mail_holds() -> None:
    """Holds the queues of organizations that are suspended or being deleted, and releases those that are not any more."""
    mail_hold.settle_all(SLICE_S)


@shared_task(name="relay.tasks.tidy_schedule")
def tidy_schedule() -> None:
    """Engines look back as far as the oldest scheduled message that has not ended: no farther than they must."""
    scheduled.tidy()


@shared_task(name="relay.tasks.make_partitions")
def make_partitions() -> None:
    ensure_partitions()


@shared_task(name="relay.tasks.forget_idempotency_keys")
def forget_idempotency_keys() -> None:
    """Keys hold for 24 hours; older ones only take room."""
    old = timezone.now() - timedelta(hours=24)
    IdempotencyKey.objects.filter(created_at__lt=old).delete()
    IdempotentAnswer.objects.filter(created_at__lt=old).delete()


@shared_task(name="relay.tasks.forget_timeline_links")
def forget_timeline_links() -> None:
    timeline_links.forget_old()


@shared_task(name="relay.tasks.forget_usage")
def forget_usage() -> None:
    usage.settle()
    usage.forget_old()


@shared_task(name="relay.tasks.forget_mail")
@in_turn(LONG_WORK)
def forget_mail() -> None:
    retention.forget_due(SLICE_S)


@shared_task(name="relay.tasks.export_messages")
@in_turn(_EXPORTING)
def export_messages() -> None:
    """Goes on for some seconds, and hands over to itself behind what else waits."""
    if exporting.work_on_exports(EXPORT_SLICE_S):
        export_messages.apply_async(retry=False, expires=60)


@shared_task(name="relay.tasks.forget_exports")
def forget_exports() -> None:
    exporting.forget_expired()


@shared_task(name="relay.tasks.heed_soft_bounces")
@in_turn(_HEEDING)
def heed_soft_bounces() -> None:
    soft_bounces.heed_bounces(SLICE_S)


@shared_task(name="relay.tasks.import_suppressions")
@in_turn(_IMPORTING)
def import_suppressions() -> None:
    """Goes on for some seconds, and hands over to itself behind what else waits."""
    if importing.work_on_imports(EXPORT_SLICE_S):
        import_suppressions.apply_async(retry=False, expires=60)


@shared_task(name="relay.tasks.tidy_suppressions")
def tidy_suppressions() -> None:
    soft_bounces.forget_pardons()
    importing.forget_old()


@shared_task(name="relay.tasks.forget_returns")
def forget_returns() -> None:
    record.forget_old()


@shared_task(name="relay.tasks.warn_of_quotas")
def warn_of_quotas() -> None:
    quotas.warn_owners()


@shared_task(name="relay.tasks.forget_exchangers")
def forget_exchangers() -> None:
    """Workers delete what they wrote; this is for those that died."""
    ExchangerGroup.objects.filter(changed_at__lt=timezone.now() - timedelta(days=1)).delete()


@worker_ready.connect
def start_engine(**_: Any) -> None:
    worker.engine()


@worker_shutting_down.connect
def finish_engine(**_: Any) -> None:
    worker.stop_engine()
