"""Rows for tests of pages: people with organizations, domains that are verified, messages with a course."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.test import Client
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import Organization, User
from accounts.services import create_organization
from domains import services, smtp_users
from domains.models import DomainStatus, RecordStatus, SendingDomain, SmtpUser
from events.models import Event
from relay.models import Content, Door, Message, Recipient, ScheduledMessage

PASSWORD = "correct-horse-battery"
RAW = (
    b"From: Ada <ada@acme.test>\r\nTo: bob@inbox.test\r\nSubject: Your receipt\r\nMessage-ID: <1@acme.test>\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThank you for your order.\r\n"
    b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b'<h1 onclick="alert(1)">Thank you</h1><script>alert(2)</script><p>for your order.</p>\r\n--b--\r\n'
)
DELIVERED = {
    "reply": {"code": 250, "enhanced": "2.0.0", "text": "Ok: queued as 4F1B72C09D"},
    "exchanger": {"host": "mx1.inbox.test", "address": "127.0.0.1", "port": 2525},
    "tls": {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "verdict": "self_signed",
        "policy": "opportunistic",
    },
    "duration_ms": 84.2,
    "phases_ms": {"dns": 2.1, "connect": 0.4, "greeting": 1.2, "tls": 9.7, "mail": 1.1, "rcpt": 1.0, "data": 68.7},
    "dkim": {"domain": "acme.test", "selector": "ps1"},
}
TRANSCRIPT = (
    "S: 220 mx1.inbox.test ESMTP\nC: EHLO mail.plugsend.test\nS: 250-mx1.inbox.test\nS: 250 STARTTLS\nC: STARTTLS\n"
    "S: 220 2.0.0 Ready to start TLS\nC: MAIL FROM:<b+1@returns.plugsend.test>\nS: 250 2.1.0 Ok\n"
    "C: RCPT TO:<bob@inbox.test>\nS: 250 2.1.5 Ok\nC: DATA\nS: 354 End data with <CR><LF>.<CR><LF>\n"
    "C: (1,204 octets)\nS: 250 2.0.0 Ok: queued as 4F1B72C09D"
)


@dataclass
class Tenant:
    """An organization with its owner, signed in."""

    user: User
    organization: Organization
    client: Client


def make_tenant(name: str = "Acme", email: str = "") -> Tenant:
    user = User.objects.create_user(email or f"{name.lower()}@people.test", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    organization = create_organization(name, user)
    client = Client()
    client.force_login(user)
    return Tenant(user, organization, client)


def make_domain(organization: Organization, name: str = "acme.test", *, verified: bool = True) -> SendingDomain:
    domain = services.add_domain(organization, name)
    if verified:
        domain.records.update(status=RecordStatus.FOUND, checked_at=timezone.now())
        domain.status, domain.verified_at = DomainStatus.VERIFIED, timezone.now()
        domain.save(update_fields=["status", "verified_at"])
    return domain


def make_smtp_user(domain: SendingDomain, local_part: str = "admin") -> SmtpUser:
    return smtp_users.create_smtp_user(domain, local_part).smtp_user


def make_message(
    domain: SendingDomain,
    *,
    to: str = "bob@inbox.test",
    state: str = "delivered",
    subject: str = "Your receipt",
    raw: bytes | None = RAW,
    reason: str = "",
    events: list[tuple[str, dict[str, Any]]] | None = None,
    seconds_ago: int = 60,
    smtp_user_id: UUID | None = None,
    **fields: Any,
) -> Message:
    """A message to one recipient in the state given. `events`: (type, detail) of what came after `submitted`."""
    organization_id, now = domain.organization_id, timezone.now()
    moment = now - timedelta(seconds=seconds_ago)
    values: dict[str, Any] = {
        "door": Door.SMTP,
        "envelope_sender": f"ada@{domain.name}",
        "header_from": f"Ada <ada@{domain.name}>",
        "message_id_header": f"{uuid7()}@{domain.name}",
        "size_bytes": len(raw or b""),
        "recipient_count": 1,
        "scheduled_at": now + timedelta(hours=3) if state == "scheduled" else None,
    }
    message = Message.objects.create(
        organization_id=organization_id, domain_id=domain.pk, subject=subject, submitted_at=moment,
        smtp_user_id=smtp_user_id, **(values | fields),
    )  # fmt: skip
    if message.scheduled_at:
        ScheduledMessage.objects.create(
            message_id=message.pk, organization_id=organization_id, send_at=message.scheduled_at
        )
    if raw is not None:
        Content.objects.create(id=message.pk, raw=raw)
    add_recipient(message, to, state, reason=reason, events=events)
    return message


def add_recipient(
    message: Message, to: str, state: str, *, reason: str = "", events: list[tuple[str, dict[str, Any]]] | None = None
) -> Recipient:
    moving = state in {"submitted", "deferred", "in_doubt"}
    expires_at = (message.scheduled_at or message.submitted_at) + timedelta(days=2)
    waits_until = {"held": expires_at, "scheduled": message.scheduled_at}
    if events is None:
        detail = DELIVERED if state == "delivered" else {}
        if state == "scheduled" and message.scheduled_at:
            detail = {"send_at": message.scheduled_at.isoformat()}
        events = [] if state == "submitted" else [(state, detail)]
    recipient = Recipient.objects.create(
        message_id=message.pk, organization_id=message.organization_id, address=to, destination=to.partition("@")[2],
        state=state, attempts=0 if state == "scheduled" else len(events), reason=reason, state_at=timezone.now(),
        next_attempt_at=timezone.now() + timedelta(seconds=30) if moving else waits_until.get(state),
        expires_at=expires_at,
    )  # fmt: skip
    for number, (kind, detail) in enumerate([("submitted", {"door": "smtp"}), *events]):
        Event.objects.create(
            organization_id=message.organization_id, message_id=message.pk, recipient_id=recipient.pk, address=to,
            type=kind, occurred_at=message.submitted_at + timedelta(seconds=2 * number),
            attempt=0 if kind == "scheduled" else number,
            reason=reason if kind == state else "", detail=detail, transcript=TRANSCRIPT if "reply" in detail else "",
        )  # fmt: skip
    return recipient
