"""Celery tasks of people and organizations."""

from celery import shared_task

from accounts import key_expiry, notices


@shared_task(name="accounts.tasks.send_notices")
def send_notices() -> None:
    while notices.send_due() == notices.AT_ONCE:
        pass


@shared_task(name="accounts.tasks.tend_api_keys")
def tend_api_keys() -> None:
    """Warns of API keys that are about to end, and tells the audit log of those that did."""
    for step in (key_expiry.warn_of_ends, key_expiry.note_ends):
        while step() == key_expiry.AT_ONCE:
            pass
