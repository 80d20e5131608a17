"""Celery tasks of the domains."""

from datetime import timedelta

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from domains.dkim_rotation import retire_due
from domains.models import SendingDomain
from domains.verification import check_domains

DOMAINS_AT_ONCE = 20
# Longer than DNS can keep a batch waiting. Should this process die meanwhile, the domains are due again after it.
CLAIM = timedelta(minutes=2)


@shared_task(name="domains.tasks.check_due_domains")
def check_due_domains(limit: int = DOMAINS_AT_ONCE) -> int:
    """Checks up to `limit` domains whose next check is due. Returns how many."""
    return len(check_domains(claim_due(limit)))


def claim_due(limit: int) -> list[SendingDomain]:
    """Takes due domains for this process, the longest waiting first: no other takes them until the claim runs out."""
    with transaction.atomic():
        now = timezone.now()
        due = list(
            SendingDomain.objects.select_for_update(skip_locked=True)
            .filter(next_check_at__lte=now)
            .order_by("next_check_at")[:limit]
        )
        SendingDomain.objects.filter(pk__in=[domain.pk for domain in due]).update(next_check_at=now + CLAIM)
    return due


@shared_task(name="domains.tasks.retire_dkim_keys")
def retire_dkim_keys() -> int:
    """Retires DKIM keys whose time is over. Returns of how many domains."""
    return retire_due()
