"""The audit log as people read it: newest first, paged by key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render

from accounts.http import OrganizationRequest, member_required
from accounts.models import AuditEntry
from accounts.permissions import Permission

PAGE_SIZE = 50
TITLES = {
    "domain.failing": "Domain has lost DNS records",
    "domain.warned": "Owners warned of lost DNS records",
    "domain.recovered": "DNS records are back",
}  # where the action's own words would not do
ABBREVIATIONS = {"smtp": "SMTP", "api": "API", "dkim": "DKIM", "dns": "DNS"}


@dataclass(frozen=True, slots=True)
class Change:
    """A field with its value before and after, in words; empty where there is none."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Told:
    """An entry in words. `who`: operators are not named to customers."""

    entry: AuditEntry
    title: str
    who: str
    changes: list[Change]


@member_required(Permission.READ_AUDIT)
def audit_log(request: OrganizationRequest) -> HttpResponse:
    """`?before=<id>` is the next page, `?object=<id>` narrows to one domain, SMTP user or key."""
    entries = AuditEntry.objects.of(request.organization).order_by("-id")
    if before := _id(request.GET.get("before", "")):
        entries = entries.filter(pk__lt=before)
    if only := _id(request.GET.get("object", "")):
        entries = entries.filter(object_id=only)
    found = list(entries[: PAGE_SIZE + 1])
    rows = [told(entry) for entry in found[:PAGE_SIZE]]
    following = rows[-1].entry.pk if len(found) > PAGE_SIZE else None
    context = {"rows": rows, "next": following, "before": before, "only": only}
    return render(request, "accounts/audit_log.html", context)


def told(entry: AuditEntry) -> Told:
    words = [ABBREVIATIONS.get(word, word) for word in entry.action.replace(".", " ").replace("_", " ").split()]
    title = TITLES.get(entry.action) or " ".join(words)
    return Told(entry, title[:1].upper() + title[1:], _who(entry), _changes(entry.before or {}, entry.after or {}))


def _who(entry: AuditEntry) -> str:
    if entry.actor_kind == "operator":
        return "A PlugSend operator"
    return f"API key “{entry.actor_name}”" if entry.actor_kind == "api_key" else entry.actor_name


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    fields = [*before, *(field for field in after if field not in before)]
    return [Change(field.replace("_", " "), _words(before.get(field)), _words(after.get(field))) for field in fields]


def _words(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value else None
    except ValueError:
        moment = None
    return f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC" if moment else str(value).replace("_", " ")


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
