"""A Django program with django-anymail's Resend backend, run by tests/test_rest_clients.py.

    python with_anymail.py <base URL> <API key>

Standard input is a list of messages; standard output says what became of each: {"ids": {recipient: id}} or {"status", "error"}.
"""

import base64
import json
import sys
from datetime import datetime
from typing import Any

import django
from anymail.exceptions import AnymailAPIError
from anymail.message import AnymailMessage
from django.conf import settings

base_url, api_key = sys.argv[1:]
settings.configure(
    EMAIL_BACKEND="anymail.backends.resend.EmailBackend",
    ANYMAIL={"RESEND_API_KEY": api_key, "RESEND_API_URL": base_url},
    USE_TZ=True,
)
django.setup()


def message_of(wanted: dict[str, Any]) -> AnymailMessage:
    """`html`, `files`, `images` and `send_at` are ours; all else is as AnymailMessage takes it."""
    html, files, images = (
        wanted.pop(name, default) for name, default in (("html", None), ("files", []), ("images", {}))
    )
    if send_at := wanted.pop("send_at", None):
        wanted["send_at"] = datetime.fromisoformat(send_at)
    message = AnymailMessage(**wanted)
    for name, content in images.items():
        cid = message.attach_inline_image(base64.b64decode(content), filename=name)
        html = html.replace(name, f"cid:{cid}")
    if html:
        message.attach_alternative(html, "text/html")
    for name, content, content_type in files:
        message.attach(name, base64.b64decode(content), content_type)
    return message


def outcome(message: AnymailMessage) -> dict[str, Any]:
    try:
        message.send()
    except AnymailAPIError as error:
        return {"status": error.status_code, "error": str(error)}
    recipients = message.anymail_status.recipients
    return {"ids": {address: status.message_id for address, status in recipients.items()}}


json.dump([outcome(message_of(wanted)) for wanted in json.load(sys.stdin)], sys.stdout)
