"""`manage.py send_demo`: shows the main job done: one message in by SMTP, out by SMTP, its timeline as it happens."""

import time
from argparse import ArgumentParser
from email.message import EmailMessage
from smtplib import SMTPException
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.models import Event, EventType
from plugsend.first_start import Demo, ensure_demo, ensure_system_organization, verify_in_sandbox
from plugsend.landing.sending import submit_by_smtp
from relay.sandbox.models import ReceivedMail

RECIPIENT = "ada@example.test"
PATIENCE_S = 20


class Command(BaseCommand):
    help = "Sandbox only: makes the demo organization where it is missing and sends one message through our own door."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-send", action="store_true", help="make the demo organization only")

    def handle(self, *args: Any, no_send: bool, **options: Any) -> None:
        if not settings.SANDBOX:
            raise CommandError("The demo is for sandbox mode: PLUGSEND_MODE is set to live.")
        if not verify_in_sandbox(ensure_system_organization()).is_verified:
            raise CommandError("The sandbox's DNS server did not answer as it should; is `manage.py sandbox` running?")
        demo = ensure_demo()
        self._print_logins(demo)
        if not no_send:
            self._send(demo)

    def _print_logins(self, demo: Demo) -> None:
        credentials = demo.credentials
        self.stdout.write(f"\nSign in at {credentials['WEB_URL']} as {credentials['LOGIN_EMAIL']} "
                          f"with the password {credentials['LOGIN_PASSWORD']}")  # fmt: skip
        self.stdout.write(f"SMTP user {credentials['SMTP_USER']}, password {credentials['SMTP_PASSWORD']}")
        self.stdout.write(f"API key {credentials['API_KEY']}")
        self.stdout.write(f"(all of it is kept in {settings.VAR / 'demo.env'})\n\n")

    def _send(self, demo: Demo) -> None:
        credentials = demo.credentials
        self.stdout.write(f"Sending one message from {credentials['SMTP_USER']} to {RECIPIENT} "
                          f"by SMTP, port {settings.SMTP_PORT}, STARTTLS:")  # fmt: skip
        started = time.monotonic()
        message_id = _submit(credentials)
        answered = time.monotonic()
        self._line(answered - started, "250", f"accepted as {message_id}")
        self._follow(message_id, started)
        self.stdout.write(f"Its page: {settings.WEB_URL}/messages/{message_id}/")
        self.stdout.write(f"What arrived: {settings.WEB_URL}/sandbox/inbox/\n\n")

    def _follow(self, message_id: UUID, started: float) -> None:
        seen: set[UUID] = set()
        while time.monotonic() - started < PATIENCE_S:
            for event in Event.objects.filter(message_id=message_id).exclude(id__in=seen).order_by("id"):
                seen.add(event.id)
                self._line(time.monotonic() - started, event.type, _story(event))
                if event.type in {EventType.DELIVERED, EventType.BOUNCED}:
                    return
            time.sleep(0.005)
        raise CommandError(f"The message was not delivered within {PATIENCE_S} s; its page shows why.")

    def _line(self, after_s: float, word: str, story: str) -> None:
        self.stdout.write(f"  {after_s * 1000:6.0f} ms  {word:<10} {story}")
        self.stdout.flush()


def _submit(credentials: dict[str, str]) -> UUID:
    message = EmailMessage()
    message["From"] = f"PlugSend demo <{credentials['SMTP_USER']}>"
    message["To"] = RECIPIENT
    message["Subject"] = "Hello from PlugSend"
    message.set_content("This message went in by SMTP, was signed, and went out by SMTP.\n")
    message.add_alternative(
        "<p>This message went in by <b>SMTP</b>, was signed, and went out by <b>SMTP</b>.</p>", subtype="html"
    )
    try:
        return submit_by_smtp(credentials["SMTP_USER"], credentials["SMTP_PASSWORD"], message)
    except SMTPException as error:
        raise CommandError(f"Our own door refused the message: {error}") from error


def _story(event: Event) -> str:
    detail = event.detail
    if event.type == EventType.SUBMITTED:
        return "stored, on its way"
    words = []
    if exchanger := detail.get("exchanger"):
        words.append(f"to {exchanger['host']}")
    if tls := detail.get("tls"):
        words.append(f"over {tls['version']}")
    if reply := detail.get("reply"):
        words.append(f"“{reply['code']} {reply['enhanced']} {reply['text']}”")
    if dkim := detail.get("dkim"):
        arrived = ReceivedMail.objects.filter(recipients__contains=[event.address]).order_by("-id").first()
        words.append(f"DKIM {arrived.dkim if arrived else '?'} (d={dkim['domain']})")
    return ", ".join(words)
