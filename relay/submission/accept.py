"""`accept`: the one set of rules behind both doors. No I/O: facts come in, rows to be committed come out.

Submission ── examine ── Draft ── (facts are looked up) ── accept ── Accepted
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, NamedTuple
from uuid import UUID

from accounts.catalogue import Refused
from accounts.credentials import Allowance, Credential
from accounts.ids import uuid7
from relay.lanes import Lane
from relay.submission import headers
from relay.submission.addresses import domain_of
from relay.submission.content import ContentLimits, read_content, read_own_content
from relay.submission.once import Once, by_content, by_key, message_fingerprint
from relay.submission.options import Options, read_options
from relay.templating.published import TemplateUse

NULL_SENDER = ""  # MAIL FROM:<> (RFC 5321, 4.5.5)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a door hands over."""

    credential: Credential
    door: str  # relay.models.Door
    protocol: str  # of the Received field: RFC 3848, or HTTP
    envelope_sender: str  # NULL_SENDER or an address
    recipients: tuple[str, ...]
    content: bytes  # CRLF line ends, transparency dots already taken out
    is_own: bool = False  # built by us of a text and an HTML alone (relay.submission.mime)
    client: str = ""  # the client's address, kept in the submitted event, never in the mail
    options: Options | None = None  # None: they stand in X-PlugSend headers
    template: TemplateUse | None = None  # what the content was made from
    fingerprint: bytes = b""  # of the request behind an idempotency key; empty: told from the message


@dataclass(frozen=True, slots=True)
class Limits:
    message_octets: int
    recipients: int
    content: ContentLimits = field(default_factory=ContentLimits)


@dataclass(frozen=True, slots=True)
class Draft:
    """A submission whose form is in order; whose facts are still to be looked up."""

    submission: Submission
    parsed: headers.Parsed
    recipients: tuple[tuple[str, str], ...]  # (address, destination), each address once
    header_from: str
    signing_domain: str  # A-label; the header From's, so that DKIM aligns (RFC 7489, 3.1.1)
    senders: Mapping[str, str]  # all that must be verified, header From and envelope: addresses by A-label domain
    options: Options
    once: Once | None


@dataclass(frozen=True, slots=True)
class DomainFact:
    """The sending domain of an address: its own, or the nearest above it that the organization has verified.

    `covers`: False for one above it whose owner has not turned subdomains on. `missing`: of a stopped domain, the records
    that are gone.
    """

    id: UUID
    name: str
    is_verified: bool
    covers: bool = True
    status: str = ""  # domains.models.DomainStatus
    missing: str = ""


@dataclass(frozen=True, slots=True)
class AcceptedRecipient:
    id: UUID
    address: str
    destination: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message about to be committed, with its recipients."""

    id: UUID
    submission: Submission
    domain_id: UUID
    header_from: str
    subject: str
    message_id_header: str
    content: bytes
    recipients: tuple[AcceptedRecipient, ...]
    options: Options
    once: Once | None
    submitted_at: datetime
    expires_at: datetime
    scheduled_at: datetime | None = None  # None: it is due at once
    stream: str = ""

    def lanes(self) -> set[Lane]:
        """Those with something due now."""
        if self.scheduled_at:
            return set()
        organization_id = self.submission.credential.organization_id
        return {Lane(organization_id, recipient.destination) for recipient in self.recipients}


class Parcel(NamedTuple):
    """Messages that are committed together or not at all: one, or those of a batch request.

    `once` is the parcel's; what its messages themselves say of it does not count. `answer`: of a batch, JSON that is kept with
    the key and given to repeats.
    """

    messages: tuple[Accepted, ...]  # at least one, all by one credential
    once: Once | None = None
    answer: Any = None

    @property
    def id(self) -> UUID:
        """The first message's."""
        return self.messages[0].id

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        return self.messages[0].submission.credential.allowances

    @property
    def octets(self) -> int:
        return sum([len(message.content) for message in self.messages])


def examine(submission: Submission, limits: Limits) -> Draft:
    """Checks all that can be told from the submission itself. Raises `Refused`."""
    submission.credential.check_may_send()
    check_size(len(submission.content), submission.credential, limits)
    recipients = check_recipients(submission.recipients, recipients_limit(submission.credential, limits))
    if submission.is_own:
        parsed = read_own_content(submission.content, limits.content)
    else:
        headers.check_octets(submission.content)
        parsed = read_content(submission.content, limits.content)
    headers.check_single(parsed)

    options = submission.options if submission.options is not None else read_options(parsed)

    from_addresses = headers.from_addresses(parsed)
    if not from_addresses:
        raise Refused("invalid_sender", address=parsed.text_of(b"from")[:200] or "(empty)")
    senders: dict[str, str] = {}
    for address in from_addresses:
        senders.setdefault(sender_domain(address), address)
    signing_domain = next(iter(senders))
    if submission.envelope_sender != NULL_SENDER:
        senders.setdefault(sender_domain(submission.envelope_sender), submission.envelope_sender)
    return Draft(
        submission=submission,
        parsed=parsed,
        recipients=recipients,
        header_from=parsed.text_of(b"from"),
        signing_domain=signing_domain,
        senders=senders,
        options=options,
        once=_once(submission, options, parsed),
    )


def _once(submission: Submission, options: Options, parsed: headers.Parsed) -> Once | None:
    sender, recipients, credential = submission.envelope_sender, submission.recipients, submission.credential
    if options.idempotency_key:
        fingerprint = submission.fingerprint or message_fingerprint(sender, recipients, parsed)
        return by_key(options.idempotency_key, fingerprint)
    if credential.safe_resend and credential.smtp_user_id:
        return by_content(credential.smtp_user_id, sender, recipients, parsed)
    return None


def check_size(octets: int, credential: Credential, limits: Limits) -> None:
    """RFC 1870, 6: `octets` as declared, or as they are without transparency dots. Raises `Refused`."""
    if octets > size_limit(credential, limits):
        raise too_large(octets, credential, limits)


def too_large(octets: int, credential: Credential, limits: Limits) -> Refused:
    """Names the limit that ruled."""
    limit = size_limit(credential, limits)
    whose = "this server's limit" if limit == limits.message_octets else "your organization's limit"
    return Refused("message_too_large", octets=octets, whose=whose, limit=limit)


def size_limit(credential: Credential, limits: Limits) -> int:
    """In octets. An organization's own can only lower the platform's."""
    own = credential.message_octets
    return limits.message_octets if own is None else min(own, limits.message_octets)


def recipients_limit(credential: Credential, limits: Limits) -> int:
    """Of a message. A plan can only lower the platform's own."""
    planned = credential.recipients_limit
    return limits.recipients if planned is None else min(planned, limits.recipients)


def check_recipients(addresses: tuple[str, ...], most: int) -> tuple[tuple[str, str], ...]:
    """(address, destination) of each, once. Raises `Refused`."""
    if len(addresses) > most:
        raise Refused("too_many_recipients", limit=most)
    once: dict[tuple[str, str], tuple[str, str]] = {}
    for address in addresses:
        destination = domain_of(address)
        if destination is None:
            raise Refused("invalid_recipient", address=address[:200])
        # Local parts may be case-sensitive (RFC 5321, 2.4), domains are not.
        once.setdefault((address.rpartition("@")[0], destination), (address, destination))
    if not once:
        raise Refused("no_recipients")
    return tuple(once.values())


def sender_domain(address: str) -> str:
    """The A-label domain of a sender address. Raises `Refused`."""
    domain = domain_of(address)
    if domain is None:
        raise Refused("invalid_sender", address=address[:200])
    return domain


def check_sender(credential: Credential, address: str, name: str, fact: DomainFact | None) -> DomainFact:
    """Whether this credential may send from an address, at the A-label domain `name`. Raises `Refused`."""
    credential.check_may_send_from(address, fact.name if fact else name)
    if fact is None:
        raise Refused("sender_domain_unknown", domain=name)
    if not fact.covers:
        raise Refused("sender_subdomain_not_allowed", domain=name, parent=fact.name)
    if fact.status == "stopped":
        raise Refused("sender_domain_stopped", domain=name, missing=fact.missing or "see the domain's page")
    if fact.status == "taken_over":
        raise Refused("sender_domain_taken_over", domain=name)
    if not fact.is_verified:
        raise Refused("sender_domain_not_verified", domain=name)
    return fact


def accept(
    draft: Draft, facts: Mapping[str, DomainFact | None], *, hostname: str, now: datetime | None = None
) -> Accepted:
    """Turns a draft into the rows to commit. `facts` holds each domain of `draft.senders`. Raises `Refused`."""
    submission = draft.submission
    checked = {
        name: check_sender(submission.credential, address, name, facts[name])
        for name, address in sorted(draft.senders.items())
    }
    signing = checked[draft.signing_domain]

    headers.check_no_loop(draft.parsed, hostname)
    now = now or datetime.now(UTC)
    scheduled_at = draft.options.scheduled_at(now)
    identifier, date = uuid7(), format_datetime(now)
    message_id = headers.message_id(draft.parsed) or f"{identifier}@{signing.name}"
    received = headers.received(
        hostname, client=_client_literal(submission), protocol=submission.protocol, identifier=identifier, date=date
    )
    return Accepted(
        id=identifier,
        submission=submission,
        domain_id=signing.id,
        header_from=draft.header_from,
        subject=draft.parsed.text_of(b"subject"),
        message_id_header=message_id,
        content=headers.complete(draft.parsed, received=received, date=date, message_id=message_id),
        recipients=tuple(AcceptedRecipient(uuid7(), address, destination) for address, destination in draft.recipients),
        options=draft.options,
        once=draft.once,
        submitted_at=now,
        expires_at=draft.options.expires_at(scheduled_at or now),
        scheduled_at=scheduled_at,
        stream=draft.options.stream_of(submission.credential),
    )


def _client_literal(submission: Submission) -> str:
    """For the from clause of Received (RFC 5321, 4.4); left out unless the organization wants its clients to be known."""
    if not (submission.credential.show_client_address and submission.client):
        return ""
    literal = f"IPv6:{submission.client}" if ":" in submission.client else submission.client  # RFC 5321, 4.1.3
    return f"[{literal}]"
