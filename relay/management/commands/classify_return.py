"""`manage.py classify_return < message`: what we make of a mail that came back, as JSON; no database is asked."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from relay.returns.classify import Returned, classify


class Command(BaseCommand):
    help = "Reads one raw message on standard input and prints what it is taken for: a bounce, a complaint, a reply …"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", help="in place of standard input")

    def handle(self, *args: Any, file: str | None, **options: Any) -> None:
        if file:
            with open(file, "rb") as source:
                raw = source.read()
        else:
            raw = sys.stdin.buffer.read()
        self.stdout.write(json.dumps(told(classify(raw)), indent=2, ensure_ascii=False))


def told(returned: Returned) -> dict[str, Any]:
    return {
        "kind": returned.kind,
        "recipients": [
            {
                "recipient": one.address,
                "final_recipient": one.final_address or None,
                "action": one.action or None,
                "status": one.status or None,
                "bounce": one.bounce,
                "reason": one.reason or None,
                "diagnostic": one.diagnostic or None,
            }
            for one in returned.findings
        ],
        "feedback_type": returned.feedback_type or None,
        "reported_by": returned.reporter or None,
        "subject": returned.subject or None,
        "our_recipient_id": str(returned.recipient_id) if returned.recipient_id else None,
        "our_message_id": str(returned.message_id) if returned.message_id else None,
    }
