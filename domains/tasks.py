"""Celery tasks of the domains. They hand over and end: Celery's few threads are for the wake-ups of the mail path."""

from celery import shared_task

from domains import looking
from domains.dkim.rotation import retire_due


@shared_task(name="domains.tasks.check_due_domains")
def check_due_domains() -> None:
    """Domains whose next check is due are looked at in this process."""
    looking.look_at_due()


@shared_task(name="domains.tasks.retire_dkim_keys")
def retire_dkim_keys() -> int:
    """Retires DKIM keys whose time is over. Returns of how many domains."""
    return retire_due()
