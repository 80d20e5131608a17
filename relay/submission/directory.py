"""Facts that accept needs: credentials, sending domains and published templates, read from PostgreSQL and kept for seconds.

Only good answers are kept, so a new key or a domain just verified works at once; one that was revoked stops within
`KEPT_SECONDS`. Keys that do not work any more are told, too: who shows the right secret learns why it is refused
(`Credential.check_may_enter`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from accounts.api_keys import digest_of, is_well_formed
from accounts.catalogue import Refused
from accounts.credentials import Allowance, Credential, UsageLimit
from accounts.first_days import DAYS, MESSAGES, FirstDays
from relay.models import Period
from relay.submission.accept import DomainFact
from relay.templating.press import Source
from relay.templating.published import StoredVersion
from relay.templating.variables import Variable

ANSWER_WITHIN_S = 8.0
KEPT_SECONDS = 3.0
KEPT_MOST = 50_000
KEPT_TEMPLATE_OCTETS = 16 * 1024 * 1024

_CREDENTIAL_COLUMNS = """
    k.organization_id, o.suspended_at IS NOT NULL, k.id, u.id, k.scopes, k.only_domain, o.safe_resend,
    o.show_client_address, o.message_size_limit, o.api_rate_limit, o.deletion_requested_at IS NOT NULL, k.name,
    k.revoked_at IS NOT NULL, k.expires_at, coalesce(u.allowed_networks, k.allowed_networks), u.address,
    u.disabled_at IS NOT NULL, u.stream, u.hourly_limit, u.daily_limit, p.messages_per_day, p.messages_per_month,
    p.messages_per_second, p.recipients_per_message, o.suspension = 'rates',
    CASE WHEN o.reviewed_at IS NULL AND NOT o.is_system THEN o.created_at END
"""

# By the key's digest, which nobody can choose: how long it takes tells nothing of which names there are.
_API_CREDENTIAL = f"""
    SELECT {_CREDENTIAL_COLUMNS}
    FROM accounts_apikey k
    JOIN accounts_organization o ON o.id = k.organization_id
    LEFT JOIN accounts_plan p ON p.id = o.plan_id
    LEFT JOIN domains_smtpuserkey l ON l.api_key_id = k.id
    LEFT JOIN domains_smtpuser u ON u.id = l.smtp_user_id
    WHERE k.digest = %s
"""  # noqa: S608

_SMTP_CREDENTIAL = f"{_API_CREDENTIAL} AND u.address = %s"

# The nearest verified domain at or above a name, whosever it is; where there is none, the organization's own at the name.
_DOMAIN = """
    SELECT d.id, d.name, d.status, d.organization_id, d.allow_subdomains,
           coalesce((SELECT string_agg(r.type || ' ' || r.name, ', ' ORDER BY r.position) FROM domains_dnsrecord r
                     WHERE r.domain_id = d.id AND d.status = 'stopped' AND r.required
                       AND r.status IN ('missing', 'different')), '')
    FROM domains_sendingdomain d
    WHERE (d.status = 'verified' AND d.name = ANY(%s)) OR (d.organization_id = %s AND d.name = %s)
    ORDER BY d.status = 'verified' DESC, length(d.name) DESC
"""

_TEMPLATE = """
    SELECT t.id, t.name, v.number, v.sender, v.reply_to, v.subject, v.html, v.text, v.variables
    FROM relay_template t
    LEFT JOIN LATERAL (
        SELECT * FROM relay_templateversion
        WHERE template_id = t.id AND published_at IS NOT NULL ORDER BY number DESC LIMIT 1
    ) v ON true
    WHERE t.organization_id = %s AND {}
"""
_TEMPLATE_BY_ID = _TEMPLATE.format("t.id = %s")
_TEMPLATE_BY_ALIAS = _TEMPLATE.format("t.alias = %s AND t.alias <> ''")

_FIRST_DAYS = "SELECT name, value FROM accounts_featuresetting WHERE name = ANY(%s)"

_SYSTEM_ORGANIZATION = "SELECT id FROM accounts_organization WHERE is_system"


class Directory:
    """Look-ups on one event loop. Raises what psycopg raises when the database is away."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._kept: dict[object, tuple[float, Any]] = {}
        self._template_octets = 0  # of the templates that are kept

    async def smtp_credential(self, user_name: str, digest: bytes) -> Credential | None:
        """The credential behind an SMTP user's name and its key's digest; None when either is wrong."""
        name = user_name.lower()
        return await self._keep(("smtp", name, digest), lambda: self._credential(_SMTP_CREDENTIAL, digest, name))

    async def api_credential(self, secret: str) -> Credential | None:
        """The credential behind a bearer key; None when it is none of ours."""
        if not is_well_formed(secret):
            return None
        digest = digest_of(secret)
        return await self._keep(("api", digest), lambda: self._credential(_API_CREDENTIAL, digest))

    def known_api_credential(self, secret: str) -> Credential | None:
        """The same, if it was asked for in the last seconds. May be called from any thread."""
        known: Credential | None = self._recall(("api", digest_of(secret))) if is_well_formed(secret) else None
        return known

    async def sending_domain(self, organization_id: UUID, name: str) -> DomainFact | None:
        fact = self._recall(("domain", organization_id, name))
        if fact is None:
            fact = await self._domain(organization_id, name)
            if fact and fact.is_verified and fact.covers:
                self._remember(("domain", organization_id, name), fact)
        return fact

    async def _domain(self, organization_id: UUID, name: str) -> DomainFact | None:
        rows = await self._rows(_DOMAIN, _at_and_above(name), organization_id, name)
        own = [
            DomainFact(key, at, status == "verified", at == name or below, status, missing)
            for key, at, status, whose, below, missing in rows
            if whose == organization_id
        ]
        itself = next((fact for fact in own if fact.name == name), None)
        if itself and itself.status == "stopped":
            return itself  # its owner is to hear of it, also where a domain above would do
        # Where another organization has verified a domain nearer to the name, ours above it do not count.
        nearest = own[0] if rows and rows[0][3] == organization_id else None
        if nearest and nearest.covers:
            return nearest
        return itself or nearest

    async def template(self, organization_id: UUID, reference: str) -> StoredVersion:
        """What is published of a template, by id or alias. Raises `Refused`."""
        key = ("template", organization_id, reference)
        version: StoredVersion | None = self._recall(key)
        if version is None:
            version = await self._template(organization_id, reference)
            self._template_octets += version.octets
            if self._template_octets > KEPT_TEMPLATE_OCTETS:
                self._forget_templates()
            self._remember(key, version)
        return version

    async def _template(self, organization_id: UUID, reference: str) -> StoredVersion:
        try:
            row = await self._row(_TEMPLATE_BY_ID, organization_id, UUID(reference))
        except ValueError:
            row = await self._row(_TEMPLATE_BY_ALIAS, organization_id, reference)
        if row is None:
            raise Refused("template_unknown", template=reference[:60])
        identifier, name, number, sender, reply_to, subject, html, text, variables = row
        if number is None:
            raise Refused("template_not_published", template=name)
        return StoredVersion(
            template_id=identifier,
            name=name,
            number=number,
            sender=sender,
            reply_to=tuple(reply_to),
            source=Source(subject, html, text),
            variables=tuple(Variable.of(variable) for variable in variables),
        )

    def _forget_templates(self) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if not isinstance(kept[1], StoredVersion)}
        self._template_octets = 0

    async def system_credential(self) -> Credential | None:
        """The platform's own credential; None before `manage.py prepare` has made its organization."""
        row = await self._row(_SYSTEM_ORGANIZATION)
        return Credential(row[0], False, None, None, frozenset({"send"}), "") if row else None

    async def _credential(self, query: str, *parameters: object) -> Credential | None:
        row = await self._row(query, *parameters)
        if row is None:
            return None
        return _credential(row, await self._first_days() if row[-1] else None)

    async def _first_days(self) -> FirstDays:
        """Asked for where an organization is new; kept for seconds, for all of them."""
        first_days: FirstDays | None = self._recall("first days")
        if first_days is None:
            first_days = FirstDays.of(dict(await self._rows(_FIRST_DAYS, [DAYS, MESSAGES])))
            self._remember("first days", first_days)
        return first_days

    async def _row(self, query: str, *parameters: object) -> tuple[Any, ...] | None:
        rows = await self._rows(query, *parameters)
        return rows[0] if rows else None

    async def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Raises TimeoutError when the database does not answer."""
        # Waited for from outside: psycopg answers a cancellation only when the database has answered.
        look_up = asyncio.create_task(self._ask(query, parameters))
        done, _ = await asyncio.wait([look_up], timeout=ANSWER_WITHIN_S)
        if not done:
            look_up.cancel()
            raise TimeoutError("the database does not answer")
        return look_up.result()

    async def _ask(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, parameters)
            return await cursor.fetchall()

    async def _keep(self, key: object, look_up: Callable[[], Awaitable[Credential | None]]) -> Credential | None:
        credential: Credential | None = self._recall(key)
        if credential is None:
            credential = await look_up()
            # One that is enabled again, or an organization that is deleted no more, works at once.
            if credential is not None and credential.is_live:
                self._remember(key, credential)
        return credential

    def _recall(self, key: object) -> Any:
        until, value = self._kept.get(key, (0.0, None))
        return value if until > time.monotonic() else None

    def _remember(self, key: object, value: object) -> None:
        if len(self._kept) >= KEPT_MOST:
            self._kept.clear()
        self._kept[key] = (time.monotonic() + KEPT_SECONDS, value)


def _at_and_above(name: str) -> list[str]:
    """The name, and those above it: mail.example.com, example.com, com."""
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def _credential(row: tuple[Any, ...], first_days: FirstDays | None) -> Credential:
    """`first_days`: of one that may be new."""
    organization_id, is_suspended, api_key_id, smtp_user_id, scopes, only_domain, *wishes = row
    safe_resend, show_client, message_octets, api_rate_limit, is_being_deleted, *wishes = wishes
    key_name, is_revoked, expires_at, networks, address, is_disabled, stream, *wishes = wishes
    hourly, daily, *plan = wishes
    per_day, per_month, per_second, per_message, is_on_hold, new_since = plan
    is_limited = False
    if first_days is not None:
        per_day, is_limited = first_days.limit(per_day, new_since)
    allowances = [organization_allowance(organization_id, per_day, per_month, is_new=is_limited)]
    if hourly is not None or daily is not None:
        allowances.insert(0, smtp_user_allowance(smtp_user_id, address, hourly, daily))
    return Credential(
        organization_id=organization_id,
        is_suspended=is_suspended,
        api_key_id=api_key_id,
        smtp_user_id=smtp_user_id,
        scopes=frozenset(scopes),
        only_domain=only_domain,
        safe_resend=safe_resend,
        show_client_address=show_client,
        message_octets=message_octets,
        api_rate_limit=api_rate_limit,
        is_being_deleted=is_being_deleted,
        is_on_hold=is_on_hold,
        key_name=key_name,
        is_revoked=is_revoked,
        expires_at=expires_at,
        allowed_networks=tuple(ip_network(network) for network in networks),
        recipients_limit=per_message,
        messages_per_second=per_second,
        user_name=address or "",
        is_disabled=is_disabled,
        stream=stream or "",
        allowances=tuple(allowances),
    )


def organization_allowance(
    organization_id: UUID, per_day: int | None, per_month: int | None, *, is_new: bool = False
) -> Allowance:
    """Counted without limits, too: pages tell how much is sent, and a limit set later knows what went before.

    `is_new`: the day's limit is that of its first days.
    """
    return Allowance(
        organization_id,
        "Your organization",
        UsageLimit(Period.DAY.value, per_day, "first_days_limit_reached" if is_new else "quota_day_reached"),
        UsageLimit(Period.MONTH.value, per_month, "quota_month_reached"),
    )


def smtp_user_allowance(smtp_user_id: UUID, address: str, hourly: int | None, daily: int | None) -> Allowance:
    return Allowance(
        smtp_user_id,
        address,
        UsageLimit(Period.HOUR.value, hourly, "smtp_user_limit_reached"),
        UsageLimit(Period.DAY.value, daily, "smtp_user_limit_reached"),
    )
