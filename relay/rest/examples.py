"""Examples of answers, for the API reference."""

from __future__ import annotations

from typing import Any

EVENT: dict[str, Any] = {
    "id": "019abae8-7d02-7a51-b6de-0c6f1f0a5d31",
    "type": "delivered",
    "occurred_at": "2026-11-25T10:00:00.842000Z",
    "attempt": 1,
    "reason": "",
    "bounce": None,
    "detail": {
        "reply": {"code": 250, "enhanced": "2.0.0", "text": "Ok: queued as 4F1B72C09D"},
        "exchanger": {"host": "mx1.example.com", "address": "198.51.100.7", "port": 25},
        "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "verdict": "trusted", "policy": "dane"},
        "duration_ms": 84.2,
    },
}
LISTED_EVENT = EVENT | {
    "email_id": "019abae8-7a63-7c1e-8f3d-5b7f0c2d9e41",
    "recipient_id": "019abae8-7a63-7c1f-9a02-7d5e1b3c4f60",
    "recipient": "bob@example.com",
}
RECIPIENT: dict[str, Any] = {
    "id": "019abae8-7a63-7c1f-9a02-7d5e1b3c4f60",
    "address": "bob@example.com",
    "state": "delivered",
    "reason": "",
    "attempts": 1,
    "next_attempt_at": None,
    "expires_at": "2026-11-28T10:00:00.172000Z",
    "events": [EVENT],
}
LISTED_EMAIL: dict[str, Any] = {
    "id": "019abae8-7a63-7c1e-8f3d-5b7f0c2d9e41",
    "message_id": "019abae8-7a63-7c1e-8f3d-5b7f0c2d9e41@acme.com",
    "from": "Acme <hello@acme.com>",
    "to": ["Bob <bob@example.com>"],
    "cc": [],
    "bcc": [],
    "reply_to": [],
    "subject": "Your receipt",
    "created_at": "2026-11-25T10:00:00.172000Z",
    "scheduled_at": None,
    "last_event": "delivered",
    "state": "delivered",
    "door": "rest",
    "smtp_user_id": None,
    "api_key_id": "019ab6a0-11c2-7d05-a1b0-3f6f2c9f7a10",
    "size_bytes": 2048,
    "stream": "",
    "tags": [{"name": "kind", "value": "receipt"}],
    "metadata": {"order": "42"},
    "recipient_count": 1,
    "recipient_states": {"delivered": 1},
}
EMAIL = LISTED_EMAIL | {
    "object": "email",
    "html": "<p>Thank you for your order.</p>",
    "text": "Thank you for your order.",
    "recipients": [RECIPIENT],
    "has_more_recipients": False,
}


def _list(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"object": "list", "has_more": False, "data": [item], **more}


EMAIL_LIST = _list(LISTED_EMAIL)
RECIPIENT_LIST = _list(RECIPIENT)
EVENT_LIST = _list(LISTED_EVENT)
EVENT_PAGE = _list(LISTED_EVENT, next=EVENT["id"])
