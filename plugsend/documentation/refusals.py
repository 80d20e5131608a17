"""The catalogue of refusals as people read it: by subject, and each as both doors say it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from accounts.catalogue import REFUSALS, Refusal, Refused
from accounts.rest.problems import problem
from plugsend import api_docs
from plugsend.api_reference import Group, Operation
from plugsend.documentation.code import coloured

# The first code of each subject, in the catalogue's order.
_SUBJECTS = {
    "authentication_required": "Who you are, and how much you may",
    "sender_not_allowed": "Whose name you send in",
    "invalid_recipient": "To whom",
    "message_too_large": "What you send",
    "template_unknown": "Templates",
    "invalid_idempotent_request": "Never twice",
    "domain_empty": "Domains, SMTP users and keys",
    "webhook_url_invalid": "Webhooks",
    "bad_request": "REST in general",
    "too_many_connections": "SMTP sessions",
    "insufficient_storage": "Our side",
}


@dataclass(frozen=True, slots=True)
class Subject:
    title: str
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Explained:
    """One refusal. `example` has `<name>` for each value that a real one would tell."""

    refusal: Refusal
    example: str
    advice: SafeString  # with code marked as such
    smtp: str
    rest: SafeString
    is_temporary: bool
    operations: list[tuple[Group, Operation]]


@cache
def subjects() -> list[Subject]:
    found: list[Subject] = []
    for refusal in REFUSALS.values():
        if refusal.code in _SUBJECTS:
            found.append(Subject(_SUBJECTS[refusal.code]))
        found[-1].refusals.append(refusal)
    return found


@cache
def explained(code: str) -> Explained:
    """Raises KeyError."""
    refusal = REFUSALS[code]
    refused = Refused(code, detail=refusal.detail.format_map(_Placeholders()))
    lines = [f"HTTP/1.1 {refusal.http}", "Content-Type: application/problem+json"]
    if refusal.retry_after_s is not None:
        lines.append(f"Retry-After: {refusal.retry_after_s}")
    return Explained(
        refusal=refusal,
        example=refused.detail,
        advice=_with_code(refusal.advice),
        smtp=refused.smtp_reply(),
        rest=coloured("\n".join([*lines, "", json.dumps(problem(refused), indent=2, ensure_ascii=False)]), "http"),
        is_temporary=refusal.smtp < 500,
        operations=[
            (group, operation)
            for group in api_docs.groups()
            for operation in group.operations
            if any(told.code == code for told in operation.refusals)
        ],
    )


def _with_code(text: str) -> SafeString:
    """HTML of text in which code stands in backticks."""
    words = text.split("`")
    marked = (format_html("<code>{}</code>", word) if index % 2 else escape(word) for index, word in enumerate(words))
    return mark_safe("".join(marked))  # noqa: S308 - each part is escaped


class _Placeholders(dict[str, str]):
    """Stands for the values of a refusal that is explained, not met."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"
