"""Sending again: one delivery, or all of an endpoint's that a filter finds, in the background.

What is sent again is a delivery of its own with the `webhook-id` of the first, so that receivers know it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.catalogue import Refused
from accounts.ids import first_id_at, uuid7
from accounts.scoping import OrganizationQuerySet
from relay.webhooks.endpoints import expect_enabled
from relay.webhooks.models import Cause, DeliveryState, EndpointState, WebhookDelivery, WebhookEndpoint, WebhookReplay

REPLAYED_MOST = 10_000  # by one request
AT_ONCE = 500
_COPIED = ("organization_id", "endpoint_id", "webhook_id", "message_id", "recipient_id", "type", "body")


def replay(delivery: WebhookDelivery, *, by: Actor = SYSTEM) -> WebhookDelivery:
    """Due at once. Raises `Refused`: its endpoint is not there any more, or not enabled."""
    endpoint = WebhookEndpoint.objects.of(delivery.organization_id).filter(pk=delivery.endpoint_id).first()
    if endpoint is None:
        raise Refused("not_found", thing="webhook any more")
    expect_enabled(endpoint)
    with transaction.atomic():
        copy = _copy(delivery)
        copy.save(force_insert=True)
        after = {"delivery": delivery.pk, "type": delivery.type}
        note(by, "webhook.replayed", endpoint, organization_id=endpoint.organization_id, after=after)
    return copy


def found_by(
    endpoint: WebhookEndpoint, *, since: UUID, until: UUID, type_: str = "", state: str = ""
) -> OrganizationQuerySet[WebhookDelivery]:
    """Those that a replay with these terms sends again. What was itself sent again is not among them, nor what waits."""
    query = WebhookDelivery.objects.of(endpoint.organization_id).filter(
        endpoint_id=endpoint.pk, id__gte=since, id__lt=until, cause=Cause.EVENT
    )
    if type_:
        query = query.filter(type=type_)
    return query.filter(state=state) if state else query.exclude(state=DeliveryState.WAITING)


def request_replay(
    endpoint: WebhookEndpoint,
    *,
    since: datetime,
    until: datetime | None = None,
    type_: str = "",
    state: str = "",
    by: Actor = SYSTEM,
) -> WebhookReplay:
    """Raises `Refused`."""
    expect_enabled(endpoint)
    low = first_id_at(since)
    high = first_id_at(min(until or timezone.now(), timezone.now()))
    if state == DeliveryState.WAITING or low >= high:
        raise Refused("webhook_nothing_to_replay")
    number = found_by(endpoint, since=low, until=high, type_=type_, state=state)[: REPLAYED_MOST + 1].count()
    if not number:
        raise Refused("webhook_nothing_to_replay")
    if number > REPLAYED_MOST:
        raise Refused("webhook_replay_too_large", limit=f"{REPLAYED_MOST:,}")
    try:
        with transaction.atomic():
            asked = WebhookReplay.objects.create(
                organization_id=endpoint.organization_id, endpoint=endpoint, since=low, until=high, type=type_, state=state,
                position=low, requested_by=by.name[:320],
            )  # fmt: skip
            after = {"since": since, "until": until, "type": type_, "state": state, "deliveries": number}
            note(by, "webhook.replay_requested", endpoint, organization_id=endpoint.organization_id, after=after)
    except IntegrityError:
        raise Refused("webhook_replay_under_way") from None
    return asked


def work_on_replays() -> bool:
    """One transaction of each that is open. Returns whether there may be more to do."""
    open_ones = WebhookReplay.objects.filter(ended_at=None).order_by("pk").values_list("pk", flat=True)
    return any(_go_on(key) for key in open_ones)


def _go_on(key: UUID) -> bool:
    """Copies and position in one transaction, the row locked: each is sent again once, whatever dies."""
    with transaction.atomic():
        query = WebhookReplay.objects.select_for_update(skip_locked=True, of=["self"]).select_related("endpoint")
        one = query.filter(pk=key, ended_at=None).first()
        if one is None:
            return False
        left = min(AT_ONCE, REPLAYED_MOST - one.replayed)
        rows: list[WebhookDelivery] = []
        if one.endpoint.state in (EndpointState.ENABLED, EndpointState.PAUSED):
            found = found_by(one.endpoint, since=one.position, until=one.until, type_=one.type, state=one.state)
            rows = list(found.order_by("id")[:left])
        WebhookDelivery.objects.bulk_create([_copy(row) for row in rows])
        one.replayed += len(rows)
        if rows:
            one.position = UUID(int=rows[-1].pk.int + 1)
        if len(rows) < AT_ONCE:
            one.ended_at = timezone.now()
        one.save(update_fields=["replayed", "position", "ended_at"])
        return one.ended_at is None


def forget_old() -> None:
    WebhookReplay.objects.filter(ended_at__lt=timezone.now() - timedelta(days=30)).delete()


def _copy(delivery: WebhookDelivery) -> WebhookDelivery:
    values = {name: getattr(delivery, name) for name in _COPIED}
    return WebhookDelivery(id=uuid7(), cause=Cause.REPLAY, next_attempt_at=timezone.now(), **values)
