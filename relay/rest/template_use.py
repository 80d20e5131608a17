"""An email that is to be made from a template: `{"template": {"id": …, "variables": {…}}}` in a request to send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.catalogue import Refused
from accounts.credentials import Credential
from relay.submission.desk import shared_desk
from relay.templating.published import TemplateUse


def filled_in(data: Mapping[str, Any], credential: Credential) -> tuple[Mapping[str, Any], TemplateUse | None]:
    """What `SendEmailSerializer` has checked, with html, text and what else it lacks from its template. Raises `Refused`."""
    call = data.get("template")
    if not call:
        return data, None
    version = shared_desk().template(credential, call["id"])
    filled = version.fill_in(call.get("variables", {}), pointer="/template/variables")
    whole = {
        **data,
        "from": data.get("from") or filled.sender,
        "subject": data.get("subject") or filled.subject,
        "reply_to": data.get("reply_to") or filled.reply_to,
        "html": filled.html,
        "text": filled.text,
    }
    missing = [field for field in ("from", "subject") if not whole[field]]
    if missing:
        told = [
            {"pointer": f"/{field}", "detail": "Neither the request nor the template has one."} for field in missing
        ]
        problem = f"neither the request nor template {version.name} has a {' or '.join(missing)}"
        raise Refused("validation_failed", problem=problem, errors=told)
    return whole, filled.use
