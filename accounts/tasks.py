"""Celery tasks of people and organizations."""

from datetime import timedelta

from allauth.usersessions.models import UserSession
from celery import shared_task
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts import key_expiry, notices


@shared_task(name="accounts.tasks.send_notices")
def send_notices() -> None:
    while notices.send_due() == notices.AT_ONCE:
        pass


@shared_task(name="accounts.tasks.forget_sessions")
def forget_sessions() -> None:
    """Those that have run out, and what is listed of those that are gone."""
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    theirs = Session.objects.filter(session_key=OuterRef("session_key"))
    settled = timezone.now() - timedelta(minutes=10)  # younger ones may be on their way
    UserSession.objects.filter(~Exists(theirs), created_at__lt=settled, last_seen_at__lt=settled).delete()


@shared_task(name="accounts.tasks.tend_api_keys")
def tend_api_keys() -> None:
    """Warns of API keys that are about to end, and tells the audit log of those that did."""
    for step in (key_expiry.warn_of_ends, key_expiry.note_ends):
        while step() == key_expiry.AT_ONCE:
            pass
