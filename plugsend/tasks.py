"""Celery tasks that need to know of all floors."""

from celery import shared_task

from plugsend.erasure.work import erase_due
from relay.upkeep import LONG_WORK, in_turn

SLICE_S = 10.0


@shared_task(name="plugsend.tasks.erase_organizations")
@in_turn(LONG_WORK)
def erase_organizations() -> None:
    """Goes on for some seconds; beat sends the next."""
    erase_due(SLICE_S)
