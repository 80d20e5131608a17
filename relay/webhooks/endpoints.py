"""What changes endpoints. Each change has its entry in the audit log, in its transaction."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, differences, note
from accounts.catalogue import Refused
from accounts.ids import uuid7
from accounts.models import Organization
from accounts.notices import notify_owners
from accounts.sealed_box import seal, unseal
from domains.guarded_fetch import FetchFailed, read_url
from domains.models import SendingDomain
from domains.networks import is_allowed
from relay.webhooks.models import Cause, EndpointState, WebhookDelivery, WebhookEndpoint
from relay.webhooks.payload import TEST, test_body
from relay.webhooks.signing import new_secret
from relay.webhooks.troubles import trouble_of

ENDPOINTS_MOST = 20  # of an organization
KEEP_FORMER_SECRET = timedelta(hours=24)
_CHANGEABLE = ("url", "description", "event_types", "domain_id")


def check_url(url: str) -> str:
    """Raises `Refused`."""
    try:
        host = read_url(url).host
    except FetchFailed as failure:
        raise Refused("webhook_url_invalid", problem=failure, pointer="/endpoint") from None
    try:
        is_ours = not is_allowed(str(ipaddress.ip_address(host)))
    except ValueError:
        is_ours = False  # a name: where it leads to is looked at with each request
    if is_ours:
        raise Refused("webhook_url_invalid", problem=f"{host} is not a public address", pointer="/endpoint")
    return url


def create_endpoint(
    organization: Organization,
    url: str,
    *,
    event_types: Collection[str] = (),
    domain_id: UUID | None = None,
    description: str = "",
    by: Actor = SYSTEM,
) -> WebhookEndpoint:
    """Raises `Refused`."""
    check_url(url)
    with transaction.atomic():
        # Who adds at the same time waits, so that the limit holds.
        Organization.objects.of(organization).select_for_update(no_key=True).get()
        if WebhookEndpoint.objects.of(organization).count() >= ENDPOINTS_MOST:
            raise Refused("too_many_webhooks", limit=ENDPOINTS_MOST)
        endpoint = WebhookEndpoint.objects.create(
            organization_id=organization.pk,
            url=url,
            event_types=sorted(set(event_types)),
            domain_id=domain_id,
            description=description,
            secret=seal(new_secret().encode()),
        )
        after = {name: getattr(endpoint, name) for name in _CHANGEABLE}
        note(by, "webhook.created", endpoint, organization_id=organization.pk, after=after)
    return endpoint


def change_endpoint(endpoint: WebhookEndpoint, changes: Mapping[str, Any], *, by: Actor = SYSTEM) -> None:
    """`changes`: of url, description, event_types, domain_id. Raises `Refused`."""
    if "url" in changes:
        check_url(changes["url"])
    with _locked(endpoint) as current:
        before = {name: getattr(current, name) for name in _CHANGEABLE}
        was, is_now = differences(before, dict(changes))
        if is_now:
            for name, value in is_now.items():
                setattr(current, name, value)
            current.save(update_fields=list(is_now))
            note(by, "webhook.changed", current, organization_id=current.organization_id, before=was, after=is_now)


def enable(endpoint: WebhookEndpoint, *, by: Actor = SYSTEM) -> None:
    """Also resumes one that is paused: what was collected is sent."""
    with _locked(endpoint) as current:
        if current.state != EndpointState.ENABLED:
            action = "webhook.resumed" if current.state == EndpointState.PAUSED else "webhook.enabled"
            _enter(current, EndpointState.ENABLED, "", action, by)


def pause_by_operator(endpoint: WebhookEndpoint, reason: str, *, by: Actor) -> bool:
    """Events go on being collected. `reason`: as its members are told. False: it is not enabled."""
    with _locked(endpoint) as current:
        if current.state != EndpointState.ENABLED:
            return False
        _enter(current, EndpointState.PAUSED, reason, "webhook.paused_by_operator", by)
        _tell(current, "webhook_paused_by_operator")
    return True


def disable(endpoint: WebhookEndpoint, *, by: Actor = SYSTEM) -> None:
    """What waits for it is cancelled."""
    with _locked(endpoint) as current:
        if current.state != EndpointState.DISABLED:
            _enter(current, EndpointState.DISABLED, "", "webhook.disabled", by)


def remove_endpoint(endpoint: WebhookEndpoint, *, by: Actor = SYSTEM) -> bool:
    """What waits for it is cancelled; what was sent stays to be seen. False: somebody else just has."""
    with transaction.atomic():
        gone, _ = WebhookEndpoint.objects.of(endpoint.organization_id).filter(pk=endpoint.pk).delete()
        if gone:
            note(
                by, "webhook.removed", endpoint, organization_id=endpoint.organization_id, before={"url": endpoint.url}
            )
    return bool(gone)


def rotate_secret(endpoint: WebhookEndpoint, *, keep_former: timedelta = KEEP_FORMER_SECRET, by: Actor = SYSTEM) -> str:
    """The new secret. For so long the former one signs, too; one that was former before ends now."""
    new = new_secret()
    with _locked(endpoint) as current:
        current.former_secret = current.secret if keep_former else None
        current.former_secret_until = timezone.now() + keep_former if keep_former else None
        current.secret = seal(new.encode())
        current.save(update_fields=["secret", "former_secret", "former_secret_until"])
        after = {"former_secret_until": current.former_secret_until}
        note(by, "webhook.secret_rotated", current, organization_id=current.organization_id, after=after)
    return new


def reveal_secret(endpoint: WebhookEndpoint, *, by: Actor) -> str:
    """Reading it is noted, too."""
    note(by, "webhook.secret_revealed", endpoint, organization_id=endpoint.organization_id)
    return secrets_of(endpoint)[0]


def secrets_of(endpoint: WebhookEndpoint) -> tuple[str, ...]:
    """Those that sign now, the newest first."""
    sealed = [endpoint.secret]
    if endpoint.former_secret and endpoint.former_secret_until and endpoint.former_secret_until > timezone.now():
        sealed.append(endpoint.former_secret)
    return tuple(unseal(one).decode() for one in sealed)


def send_test(endpoint: WebhookEndpoint, *, by: Actor = SYSTEM) -> WebhookDelivery:
    """As an event is sent, with retries. Raises `Refused`."""
    expect_enabled(endpoint)
    now = timezone.now()
    with transaction.atomic():
        delivery = WebhookDelivery(
            organization_id=endpoint.organization_id, endpoint_id=endpoint.pk, type=TEST, cause=Cause.TEST,
            body=test_body(endpoint.url, now), next_attempt_at=now,
        )  # fmt: skip
        delivery.webhook_id = delivery.pk
        delivery.save(force_insert=True)
        note(by, "webhook.tested", endpoint, organization_id=endpoint.organization_id)
    return delivery


def expect_enabled(endpoint: WebhookEndpoint) -> None:
    """Raises `Refused`: what is asked for would wait, or be cancelled."""
    if endpoint.state != EndpointState.ENABLED:
        raise Refused("webhook_not_enabled", state=endpoint.get_state_display().lower())


# ---- By what receivers answer: in the transaction of the outcome, the row locked ------------------------------------


def pause(endpoint: WebhookEndpoint) -> None:
    since = f"{endpoint.failing_since or timezone.now():%Y-%m-%d %H:%M} UTC"
    trouble = trouble_of(endpoint.last_result)
    told = trouble.in_words if trouble else endpoint.last_result
    reason = f"{endpoint.failures} attempts in a row failed since {since}. {told}"
    _enter(endpoint, EndpointState.PAUSED, reason, "webhook.paused", SYSTEM)
    _tell(endpoint, "webhook_paused")


def mark_gone(endpoint: WebhookEndpoint) -> None:
    _enter(endpoint, EndpointState.GONE, "It answered 410 Gone.", "webhook.gone", SYSTEM)
    _tell(endpoint, "webhook_gone")


def _tell(endpoint: WebhookEndpoint, template: str) -> None:
    notify_owners(
        endpoint.organization, template, url=endpoint.url, endpoint_id=str(endpoint.pk), reason=endpoint.state_reason
    )


def _enter(endpoint: WebhookEndpoint, state: EndpointState, reason: str, action: str, by: Actor) -> None:
    before, did_collect = {"state": endpoint.state}, endpoint.collects
    endpoint.state, endpoint.state_at, endpoint.state_reason = state, timezone.now(), reason
    fields = ["state", "state_at", "state_reason"]
    if endpoint.collects and not did_collect:
        endpoint.hears_from = uuid7()
        fields.append("hears_from")
    if state == EndpointState.ENABLED:
        endpoint.failures, endpoint.failing_since = 0, None
        fields += ["failures", "failing_since"]
    endpoint.save(update_fields=fields)
    after = {"state": state.value} | ({"reason": reason} if reason else {})
    note(by, action, endpoint, organization_id=endpoint.organization_id, before=before, after=after)


class _locked:
    """The endpoint's row as it is now, locked to the end of a transaction; what is changed there is changed in `endpoint`, too.

    Raises `Refused` where it is gone.
    """

    def __init__(self, endpoint: WebhookEndpoint) -> None:
        self._given, self._atomic = endpoint, transaction.atomic()

    def __enter__(self) -> WebhookEndpoint:
        self._atomic.__enter__()
        query = WebhookEndpoint.objects.of(self._given.organization_id).select_for_update(no_key=True)
        current = query.filter(pk=self._given.pk).first()
        if current is None:
            refused = Refused("not_found", thing="webhook")
            self._atomic.__exit__(Refused, refused, None)
            raise refused
        self._current = current
        return current

    def __exit__(self, *error: Any) -> None:
        self._atomic.__exit__(*error)
        if error[0] is None:
            for field in WebhookEndpoint._meta.concrete_fields:
                setattr(self._given, field.attname, getattr(self._current, field.attname))


def domain_of(organization: Organization, which: str) -> UUID:
    """A sending domain's id, by its name or id. Raises `Refused`."""
    query = SendingDomain.objects.of(organization)
    try:
        found = query.filter(pk=UUID(which)).first()
    except ValueError:
        found = query.filter(name=which.lower()).first()
    if found is None:
        raise Refused("not_found", thing="domain", pointer="/domain")
    return found.pk
