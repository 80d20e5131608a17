"""Celery tasks of people and organizations."""

from celery import shared_task

from accounts import notices


@shared_task(name="accounts.tasks.send_notices")
def send_notices() -> None:
    while notices.send_due() == notices.AT_ONCE:
        pass
