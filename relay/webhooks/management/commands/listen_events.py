"""Prints events as they come, over REST: for trying a receiver on one's own machine, where no webhook reaches."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from relay.webhooks.payload import NAMES
from relay.webhooks.signing import new_secret, signed_headers

POLL_S = 1.0
TIMEOUT_S = 15.0


class Command(BaseCommand):
    help = "Prints events as they come, a line of JSON each. With --forward-to they are posted, signed as webhooks are."
    _last: dict[str, Any] | None = None  # the email that was asked for last

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--api-key", default=os.environ.get("API_KEY"), help="With the scope read; else API_KEY is used."
        )
        parser.add_argument("--api-url", default=f"{settings.WEB_URL}/api/v1")
        parser.add_argument(
            "--type", action="append", default=[], help="Only events of this type; several times: of any."
        )
        parser.add_argument("--since", help="From this time on (ISO 8601, with its zone); else from now on.")
        parser.add_argument("--forward-to", help="An http or https address that each event is posted to.")
        parser.add_argument("--secret", help="To sign with; else one is made and told.")
        parser.add_argument("--count", type=int, help="Ends after so many events.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["api_key"]:
            raise CommandError("Give --api-key, or set API_KEY.")
        forward_to, secret = options["forward_to"], options["secret"] or new_secret()
        if forward_to:
            if urlsplit(forward_to).scheme not in ("http", "https"):
                raise CommandError("--forward-to must begin with http:// or https://.")
            self.stderr.write(f"Signed with {secret}")
        try:
            for number, event in enumerate(self._events(options), 1):
                self.stdout.write(json.dumps(event, ensure_ascii=False))
                sys.stdout.flush()
                if forward_to:
                    self._forward(event, options, secret)
                if number == options["count"]:
                    return
        except KeyboardInterrupt:
            return

    def _events(self, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        query: list[tuple[str, str]] = [("limit", "100"), *(("type", one) for one in options["type"])]
        place = ("since", options["since"] or datetime.now(UTC).isoformat())
        while True:
            page = self._ask(f"/events?{urlencode([*query, place])}", options)
            yield from page["data"]
            place = ("after", page["next"])
            if not page["has_more"]:
                time.sleep(POLL_S)

    def _email(self, email_id: str, options: dict[str, Any]) -> dict[str, Any]:
        if self._last is None or self._last["id"] != email_id:
            self._last = self._ask(f"/emails/{email_id}", options)
        return self._last

    def _ask(self, path: str, options: dict[str, Any]) -> dict[str, Any]:
        request = Request(f"{options['api_url']}{path}", headers={"Authorization": f"Bearer {options['api_key']}"})  # noqa: S310
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                page: dict[str, Any] = json.load(answer)
                return page
        except HTTPError as error:
            told = json.load(error)
            raise CommandError(f"{told.get('code')}: {told.get('detail')} {told.get('advice', '')}") from None
        except URLError as error:
            raise CommandError(f"{request.full_url}: {error.reason}") from None

    def _forward(self, event: dict[str, Any], options: dict[str, Any], secret: str) -> None:
        """In the webhooks' shape, as far as REST tells."""
        email = self._email(event["email_id"], options)
        told = {
            name: email[name] for name in ("created_at", "from", "subject", "message_id", "metadata", "smtp_user_id")
        }
        tags = {tag["name"]: tag["value"] for tag in email["tags"]}
        facts = {name: event[name] for name in ("email_id", "recipient_id", "recipient", "attempt", "reason")}
        data = {
            **told, **facts, **event["detail"], "to": [event["recipient"]], "tags": tags, "event_id": event["id"],
            "event_type": event["type"], "bounce_kind": event["bounce"],
        }  # fmt: skip
        payload = {"type": NAMES[event["type"]], "created_at": event["occurred_at"], "data": data}
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        headers = dict(signed_headers([secret], UUID(event["id"]), int(time.time()), body))
        request = Request(options["forward_to"], body, {"Content-Type": "application/json", **headers}, method="POST")  # noqa: S310
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                status = str(answer.status)
        except HTTPError as error:
            status = str(error.code)
        except (URLError, OSError) as error:
            status = str(error)
        self.stderr.write(f"{payload['type']} {event['recipient']}: {status}")
