"""An organization with a row of every kind that a tenant has, for tests of the walls between tenants.

A model that is new in one of our apps makes `make_full_tenant` fail until a row of it is made here, or `OF_THE_PLATFORM` says
that its rows are nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connection
from django.db.models import ForeignKey, Model, Q, QuerySet
from django.test import Client
from django.utils import timezone

from accounts.api_keys import NewKey, create_api_key
from accounts.audit import SYSTEM, note
from accounts.models import (
    ApiKey,
    Erasure,
    FeatureSetting,
    IdempotentAnswer,
    Invitation,
    Membership,
    Notice,
    OperatorNote,
    Organization,
    Plan,
    QuotaNotice,
    Role,
    Scope,
    User,
)
from domains.models import ConnectKey, SendingDomain, SmtpUser
from plugsend.status.models import ComponentDay, ComponentState, Incident, IncidentUpdate, Throughput
from relay.models import (
    Content,
    ExchangerGroup,
    IdempotencyKey,
    IpPool,
    KeptLonger,
    Message,
    MessageExport,
    MessageExportPiece,
    MtaStsPolicy,
    PausedDestination,
    PoolAssignment,
    Recipient,
    Retention,
    ReturnCount,
    ReturnedMessage,
    SavedFilter,
    SoftBounceMark,
    SoftBouncePardon,
    SoftBounceRule,
    SourceAddress,
    SuppressionImport,
    SuppressionImportPiece,
    UsageCounter,
    UsageShare,
)
from relay.reading.timeline_links import share
from relay.sandbox.models import ReceivedMail, ZoneFault, ZoneRecord
from relay.statistics.folding import COUNTERS
from relay.statistics.models import Alert, Failure, Progress, Rollup
from relay.suppressing.suppressions import suppress
from relay.templates import TemplateContent, create_template, publish_template
from relay.usage import start_of
from relay.webhooks import replays
from relay.webhooks.endpoints import create_endpoint, send_test
from relay.webhooks.models import DeliveryState, WebhookDelivery, WebhookProgress
from tests.factories import RAW, make_domain, make_message, make_smtp_user, make_tenant

OURS = {"accounts", "domains", "events", "relay", "statistics", "sandbox", "webhooks", "status", "plugsend"}
OF_THE_PLATFORM: set[type[Model]] = {
    Plan, Erasure, ConnectKey, ExchangerGroup, IpPool, SourceAddress, MtaStsPolicy, ZoneRecord, ZoneFault, ReceivedMail,
    Progress, SoftBounceMark, ReturnCount, WebhookProgress, FeatureSetting, PausedDestination, ComponentDay, ComponentState,
    Incident, IncidentUpdate, Throughput,
}  # fmt: skip

ATTACHED = (
    '--b\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename="MARK.csv"\r\n\r\nMARK attached\r\n'
)


@dataclass(frozen=True, eq=False)
class FullTenant:
    mark: str  # in every text of its rows that has room for one
    organization: Organization
    members: dict[str, User]  # by role
    keys: dict[str, NewKey]  # by scope; `restricted` may everything, on its one domain

    @property
    def domain(self) -> SendingDomain:
        return SendingDomain.objects.of(self.organization).earliest("created_at")

    def client(self, role: str) -> Client:
        client = Client()
        client.force_login(self.members[role])
        return client


def make_full_tenant(mark: str) -> FullTenant:
    tenant = make_tenant(f"{mark} Ltd", f"{mark}-owner@people.test")
    organization, now = tenant.organization, timezone.now()
    members = {Role.OWNER.value: tenant.user}
    for role in (Role.ADMIN, Role.DEVELOPER, Role.VIEWER):
        members[role] = User.objects.create_user(f"{mark}-{role}@people.test")
        Membership.objects.create(organization=organization, user=members[role], role=role)
    Invitation.objects.create(
        organization=organization, email=f"{mark}-newcomer@people.test", role=Role.VIEWER, expires_at=now + timedelta(days=7),
        digest=mark.encode().ljust(32), invited_by=tenant.user,
    )  # fmt: skip
    OperatorNote.objects.create(organization=organization, text=f"{mark} is friendly", author="operator@people.test")
    QuotaNotice.objects.create(organization=organization, quota="messages_per_day", starts_at=now, percent=80)
    IdempotentAnswer.objects.create(
        organization=organization,
        endpoint="domains.create",
        key=f"{mark}-once",
        fingerprint=b"",
        status=201,
        answer=b"",
    )
    Notice.objects.create(organization=organization, template="domain_failing", values={"domain": mark}, sent_at=now)
    note(SYSTEM, "organization.changed", organization, organization_id=organization.pk, after={"name": mark})

    domain = make_domain(organization, f"{mark}.test")
    smtp_user = make_smtp_user(domain, f"{mark}-shop")
    UsageCounter.objects.create(subject_id=smtp_user.pk, period="day", starts_at=now, count=1)
    UsageCounter.objects.create(subject_id=organization.pk, period="day", starts_at=now, count=1)
    Retention.objects.create(organization=organization)
    KeptLonger.objects.create(message_id=organization.pk, organization=organization)
    UsageShare.objects.create(
        holder_id=organization.pk, subject_id=organization.pk, period="day", starts_at=now, granted=2, used=1
    )
    SavedFilter.objects.create(organization=organization, name=f"{mark} filter", query=f"tag={mark}-tag")
    export = MessageExport.objects.create(
        organization=organization, query=f"tag={mark}-tag", format="csv", state="done", until=organization.pk, size_bytes=99,
        pieces_written=1, requested_by=tenant.user.email, expires_at=now + timedelta(days=7), ended_at=now,
    )  # fmt: skip
    MessageExportPiece.objects.create(export=export, number=0, content=mark.encode())
    PoolAssignment.objects.create(pool=IpPool.objects.get_or_create(name="shared")[0], organization=organization)
    keys = {
        scope.value: create_api_key(organization, f"{mark} {scope}", [scope], created_by=tenant.user) for scope in Scope
    }
    keys["restricted"] = create_api_key(organization, f"{mark} restricted", [Scope.FULL], only_domain=domain.name)

    raw = RAW.replace(b"acme.test", domain.name.encode()).replace(b"Your receipt", f"{mark} receipt".encode())
    raw = raw.replace(b"for your order.", f"for your {mark} order.".encode())
    raw = raw.replace(b"--b--", ATTACHED.replace("MARK", mark).encode() + b"--b--")
    for state in ("deferred", "delivered", "scheduled", "held"):
        make_message(
            domain, to=f"{mark}-{state}@inbox.test", state=state, subject=f"{mark} receipt", raw=raw,
            smtp_user_id=smtp_user.pk, tags=[f"{mark}-tag"], metadata={"order": mark},
        )  # fmt: skip
    message = Message.objects.of(organization).earliest("id")
    IdempotencyKey.objects.create(
        organization=organization,
        scope="key",
        key=f"{mark}-email",
        fingerprint=b"",
        message_id=message.pk,
        created_at=now,
    )
    counted = {"organization": organization, "step": "hour", "starts_at": start_of("hour", now)}
    for dimension, value in (("all", ""), ("tag", f"{mark}-tag"), ("domain", str(domain.pk))):
        figures = dict.fromkeys(COUNTERS, 1) | {"latency": [0, 1]}
        Rollup.objects.create(**counted, dimension=dimension, value=value, **figures)
        Failure.objects.create(
            **counted, dimension=dimension, value=value, type="bounced", reason="policy", count=1, examples=[message.pk]
        )
    Alert.objects.create(
        organization=organization, domain_id=domain.pk, measure="hard_bounces", level="warn", count=3, of=100, days=1
    )
    ReturnedMessage.objects.create(
        organization=organization, message_id=message.pk, recipient_id=Recipient.objects.of(organization).earliest("id").pk,
        address=f"{mark}-back@inbox.test", kind="unknown", outcome="noted", reported_by=f"{mark} daemon",
        subject=f"{mark} came back", diagnostic=f"{mark} said", size_bytes=9, raw=mark.encode(),
        fingerprint=mark.encode().ljust(32), received_at=now,
    )  # fmt: skip
    suppress(organization, f"{mark}-gone@inbox.test", message_id=message.pk)
    SoftBounceRule.objects.create(organization=organization, messages=3, days=1)
    SoftBouncePardon.objects.create(organization=organization, address=f"{mark}-full@inbox.test")
    imported = SuppressionImport.objects.create(
        organization=organization, filename=f"{mark}.csv", size_bytes=9, pieces=1, requested_by=tenant.user.email
    )
    SuppressionImportPiece.objects.create(import_of=imported, number=0, content=mark.encode())
    share(Recipient.objects.of(organization).earliest("id"), timedelta(days=1))
    endpoint = create_endpoint(
        organization, f"https://{mark}.example/webhooks", domain_id=domain.pk, description=f"{mark} webhook"
    )
    delivery = send_test(endpoint)
    attempt = {
        "at": now.isoformat(),
        "status": 200,
        "ms": 1.0,
        "response": f"{mark} answer",
        "error": "",
        "headers": [],
    }
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        state=DeliveryState.DELIVERED, next_attempt_at=None, log=[attempt], message_id=message.pk, cause="event"
    )
    replays.request_replay(endpoint, since=now - timedelta(hours=1), until=now + timedelta(minutes=1))
    template = create_template(
        organization, f"{mark} template", TemplateContent(subject=f"{mark} subject", text=f"{mark} text"), alias=mark
    )
    publish_template(template)

    for model in tenant_models():
        assert rows_of(model, organization).exists(), f"{model.__name__}: make_full_tenant makes no row of it"
    return FullTenant(mark, organization, members, keys)


def tenant_models() -> Iterator[type[Model]]:
    for model in apps.get_models():
        if model._meta.app_label in OURS and model not in OF_THE_PLATFORM:
            yield model


def rows_of(model: type[Model], organization: Organization) -> QuerySet[Any]:
    return model._default_manager.filter(_whose(model, organization))


def _whose(model: type[Model], organization: Organization) -> Q:
    subjects: list[UUID] = [organization.pk]
    if model is Organization:
        return Q(pk=organization.pk)
    if model is User:
        return Q(memberships__organization=organization)
    if model is Content:
        return Q(pk__in=Message.objects.of(organization).values("pk"))
    if model is PoolAssignment:
        return Q(organization=organization) | Q(domain__organization=organization)
    if model in {UsageCounter, UsageShare}:
        for owned in (SmtpUser, ApiKey):
            subjects += owned.objects.of(organization).values_list("pk", flat=True)
        return Q(subject_id__in=subjects)
    owners = {field.name: field.related_model for field in model._meta.get_fields() if isinstance(field, ForeignKey)}
    if owners.get("organization") is Organization:
        return Q(organization=organization)
    for name, owner in owners.items():
        if (
            isinstance(owner, type)
            and owner is not User
            and "organization" in {f.name for f in owner._meta.get_fields()}
        ):
            return Q(**{f"{name}__organization": organization})
    raise AssertionError(f"{model.__name__}: say in tests/full_tenant.py whose its rows are")


# ---- What others must not see, nor change ----------------------------------------------------------------------------


def secrets_of(tenant: FullTenant, other: FullTenant) -> set[str]:
    """Every text and id of a tenant's rows that the other's rows do not have as well."""
    return _texts(tenant.organization) - _texts(other.organization)


def _texts(organization: Organization) -> set[str]:
    found = set()
    for model in tenant_models():
        for row in rows_of(model, organization).values():
            for value in row.values():
                if isinstance(value, UUID) or (isinstance(value, str) and 6 <= len(value) <= 2000):
                    found.add(str(value))
    return found


def checksums(organization: Organization) -> list[tuple[str, str]]:
    """By table, of all of a tenant's rows."""
    with connection.cursor() as cursor:
        cursor.execute(*_asking_for_checksums(organization))
        return sorted(cursor.fetchall())


@cache
def _asking_for_checksums(organization: Organization) -> tuple[str, list[Any]]:
    """The statement, which is long to make, and its parameters."""
    parts: list[str] = []
    values: list[Any] = []
    for model in tenant_models():
        query = rows_of(model, organization).order_by().query
        if model is User:  # signing in notes it
            query = rows_of(model, organization).order_by().defer("last_login").query
        statement, parameters = query.sql_with_params()
        parts.append(f"SELECT %s, md5(coalesce(string_agg(r::text, '|' ORDER BY r::text), '')) FROM ({statement}) r")
        values += [model.__name__, *parameters]
    return " UNION ALL ".join(parts), values


def counterparts(mine: FullTenant, theirs: FullTenant) -> dict[str, str]:
    """From each id of one tenant to that of the same kind of row of the other's. Both were made by the same steps."""
    pairs = {str(mine.organization.pk): str(theirs.organization.pk)}
    for model in tenant_models():
        key = model._meta.pk
        if key is None or key.get_internal_type() != "UUIDField" or model is Content:
            continue
        ordered = [
            list(rows_of(model, one.organization).order_by("pk").values_list("pk", flat=True)) for one in (mine, theirs)
        ]
        pairs |= {str(ours): str(other) for ours, other in zip(*ordered, strict=True)}
    return pairs
