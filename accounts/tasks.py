"""Celery tasks of people and organizations."""

from celery import shared_task

from accounts import deletion, notices


@shared_task(name="accounts.tasks.send_notices")
def send_notices() -> None:
    while notices.send_due() == notices.AT_ONCE:
        pass


@shared_task(name="accounts.tasks.remind_of_deletions")
def remind_of_deletions() -> None:
    """Owners hear once more before their organization is erased."""
    deletion.remind()
