"""Celery tasks of the domains. They hand over and end: Celery's few threads are for the wake-ups of the mail path."""

from celery import shared_task

from domains import looking


@shared_task(name="domains.tasks.check_due_domains")
def check_due_domains() -> None:
    """Domains whose next check is due are looked at in this process."""
    looking.look_at_due()
