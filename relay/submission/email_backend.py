"""Django's e-mail backend that sends the platform's own mail (sign-up codes, notices) through PlugSend's own path."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parseaddr

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from accounts.catalogue import Refused
from relay.models import Door
from relay.submission.accept import Submission
from relay.submission.desk import shared_desk


class PlugSendBackend(BaseEmailBackend):
    """Sends in the name of the system organization."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        sent = 0
        for message in email_messages:
            try:
                sent += self._send(message)
            except Refused:
                if not self.fail_silently:
                    raise
        return sent

    def _send(self, message: EmailMessage) -> int:
        if not message.recipients():
            return 0
        desk = shared_desk()
        credential = desk.system_credential()
        if credential is None:
            raise RuntimeError("There is no system organization yet: run `manage.py prepare`.")
        desk.submit(
            Submission(
                credential=credential,
                door=Door.PLATFORM.value,
                protocol="HTTP",
                envelope_sender=parseaddr(message.from_email)[1],
                recipients=tuple(parseaddr(address)[1] for address in message.recipients()),
                content=message.message().as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
            )
        )
        return 1
