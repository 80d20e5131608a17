"""What is sent: Resend's shape, with our own facts beside it. No I/O.

{"type": "email.delivered", "created_at": …, "data": {"email_id": …, "to": […], …}}
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from events.models import Event, EventType
from events.reasons import REASONS
from events.vocabulary import WORDS, bounce_kind
from relay.models import Message

# Resend's names where it has the thing; else `email.` and our own.
NAMES: dict[str, str] = {type_.value: f"email.{type_.value}" for type_ in EventType} | {
    EventType.SUBMITTED: "email.sent",
    EventType.DEFERRED: "email.delivery_delayed",
}
TYPES: dict[str, EventType] = {name: EventType(type_) for type_, name in NAMES.items()}
TEST = "webhook.test"
_BOUNCE_TYPES = {"hard": "Permanent", "soft": "Transient"}


def meaning_of(name: str) -> str:
    """In plain text."""
    return WORDS[TYPES[name]].meaning.replace("`", "")


def body_of(event: Event, message: Message | None) -> str:
    """JSON. Without the message, which may be forgotten, there is less."""
    return _json({"type": NAMES[event.type], "created_at": _moment(event.occurred_at), "data": _data(event, message)})


def test_body(url: str, now: datetime) -> str:
    data = {"message": "This is a test. Nothing happened to any email.", "endpoint": url}
    return _json({"type": TEST, "created_at": _moment(now), "data": data})


def _data(event: Event, message: Message | None) -> dict[str, Any]:
    detail: Any = event.detail
    reply = detail.get("reply")
    data: dict[str, Any] = {"email_id": str(event.message_id), "to": [event.address]}
    if message:
        data |= {
            "created_at": _moment(message.submitted_at),
            "from": message.header_from,
            "subject": message.subject,
            "message_id": message.message_id_header,
            "tags": dict(tag.partition(":")[::2] for tag in message.tags),
            "metadata": message.metadata,
            "template_id": _text(message.template_id),
            "smtp_user_id": _text(message.smtp_user_id),
            "api_key_id": _text(message.api_key_id),
            "domain_id": str(message.domain_id),
        }
    if scheduled_at := detail.get("send_at"):
        data["scheduled_at"] = scheduled_at
    words = _words(event, detail)
    kind = bounce_kind(event.type, event.reason)
    if kind:
        data["bounce"] = {"type": _BOUNCE_TYPES[kind], "subType": event.reason or "general", "message": words}
    if event.type == EventType.SUPPRESSED:
        data["suppressed"] = {"type": event.reason or "suppressed", "message": words}
    # Ours.
    return data | {
        "event_id": str(event.pk),
        "event_type": event.type,
        "recipient_id": str(event.recipient_id),
        "recipient": event.address,
        "attempt": event.attempt,
        "reason": event.reason,
        "bounce_kind": kind,
        "reply": reply,
        "exchanger": detail.get("exchanger"),
        "tls": detail.get("tls"),
        "next_attempt_at": detail.get("next_attempt_at"),
    }


def _words(event: Event, detail: Any) -> str:
    if reply := detail.get("reply"):
        return " ".join(str(part) for part in (reply["code"], reply["enhanced"], reply["text"]) if part)
    reason = REASONS.get(event.reason)
    return str(detail.get("error") or (reason.title if reason else event.reason))


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str | None:
    return str(value) if value else None


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
