"""Sandbox only: a visitor's own message, sent from the demo organization through the SMTP door, to one of three recipients that
script the answer. Its timeline is shown to whoever holds the signed token that the visitor gets."""

from __future__ import annotations

import secrets
import smtplib
import ssl
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.core.cache import cache

from accounts.files import read_settings
from accounts.walls import across_organizations
from domains.models import SmtpUser
from plugsend.landing.scripts import Script

DOMAIN = "example.test"
SALT = "plugsend.landing"
GOOD_FOR_S = 3600
PER_ADDRESS, PER_MINUTE = 6, 60  # messages in a minute: of a visitor, and of all
WITHIN_S = 10.0


class NotSent(Exception):
    """In words for the visitor."""


@dataclass(frozen=True, slots=True)
class Sent:
    organization_id: UUID
    message_id: UUID

    @property
    def token(self) -> str:
        return signing.dumps([self.organization_id.hex, self.message_id.hex], salt=SALT)


def find(token: str) -> Sent | None:
    """None: not ours, or too old."""
    try:
        organization, message = signing.loads(token, salt=SALT, max_age=GOOD_FOR_S)
        return Sent(UUID(organization), UUID(message))
    except (signing.BadSignature, ValueError, TypeError):
        return None


def send(script: Script, client: str) -> Sent:
    """Raises NotSent. `client`: the visitor's address."""
    if not (_may(f"landing:{client}", PER_ADDRESS) and _may("landing:all", PER_MINUTE)):
        raise NotSent("That were many in a short time. Wait a minute, then send the next.")
    credentials = read_settings(settings.VAR / "demo.env")
    user = credentials.get("SMTP_USER", "")
    with across_organizations():
        smtp_user = SmtpUser.objects.filter(address=user, disabled_at=None).select_related("domain").first()
    if smtp_user is None:
        raise NotSent("The demo organization is not there (manage.py send_demo makes it).")
    # Of its own: who bounces is suppressed, and the next one is to bounce, too.
    recipient = f"{script.local_part}+{secrets.token_hex(4)}@{DOMAIN}"
    try:
        message_id = submit_by_smtp(user, credentials.get("SMTP_PASSWORD", ""), _message(user, recipient))
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"Our own SMTP door did not take it: {error}") from error
    return Sent(smtp_user.domain.organization_id, message_id)


def submit_by_smtp(user: str, password: str, message: EmailMessage) -> UUID:
    """With Python's own SMTP client, as any program would. Returns the id that the final 250 carries. Raises
    smtplib.SMTPException, OSError."""
    # The sandbox's certificate is self-signed, and we are talking to ourselves.
    with smtplib.SMTP(settings.SMTP_HOST, settings.SMTP_PORT, timeout=WITHIN_S) as client:
        client.starttls(context=ssl._create_unverified_context())  # noqa: S323
        client.login(user, password)
        client.mail(user)
        client.rcpt(message["To"])
        code, reply = client.data(message.as_bytes(policy=policy.SMTP))
        if code != 250:
            raise smtplib.SMTPDataError(code, reply)
        return UUID(reply.decode().rsplit(" ", 1)[-1])


def _message(user: str, recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"PlugSend demo <{user}>"
    message["To"] = recipient
    message["Subject"] = "Sent from the landing page"
    message.set_content("Someone pressed a button on the landing page. This message is what came of it.\n")
    return message


def _may(key: str, most: int) -> bool:
    """Counts in Valkey, or in this process while that is away."""
    if cache.add(key, 1, 60):
        return True
    try:
        return int(cache.incr(key)) <= most
    except ValueError:  # it has just ended
        return True
