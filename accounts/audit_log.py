"""The audit log's pages: entries as people read them, the newest first, paged by key; and the log as a file."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.http import require_POST

from accounts.audit import Thing, actor_of, note
from accounts.audit_export import FORMATS, csv_lines, in_pieces, json_lines
from accounts.audit_search import Asked, actor_choices, oldest_first, type_choices
from accounts.audit_words import told
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission

PAGE_SIZE = 50


@member_required(Permission.READ_AUDIT)
def audit_log(request: OrganizationRequest) -> HttpResponse:
    """`?before=<id>` is the next page; the filters: `accounts.audit_search.Asked`."""
    asked = Asked.read(request.GET)
    entries = asked.filter.entries(request.organization).order_by("-id")
    before = _id(request.GET.get("before", ""))
    if before:
        entries = entries.filter(pk__lt=before)
    found = list(entries[: PAGE_SIZE + 1])
    rows = [told(entry) for entry in found[:PAGE_SIZE]]
    context = {
        "rows": rows,
        "next": rows[-1].entry.pk if len(found) > PAGE_SIZE else None,
        "before": before,
        "asked": asked,
        "actors": actor_choices(request.organization),
        "types": type_choices(request.organization),
    }
    return render(request, "accounts/audit_log.html", context)


@require_POST
@member_required(Permission.READ_AUDIT)
def audit_log_export(request: OrganizationRequest) -> HttpResponse:
    """What the page's filters find as a file (`format`: of FORMATS), the oldest first. Taking it is an entry, too."""
    chosen = request.POST.get("format", "")
    if chosen not in FORMATS:
        raise Http404
    asked = Asked.read(request.POST)
    thing = Thing(None, "audit log")
    after = {"format": chosen, **asked.fields}
    taken = note(actor_of(request), "audit_log.exported", thing, organization_id=request.organization.pk, after=after)
    entries = oldest_first(asked.filter.entries(request.organization).filter(pk__lt=taken.pk))
    lines = csv_lines(entries) if chosen == "csv" else json_lines(entries)
    name = f"audit-log-{slugify(request.organization.name) or 'organization'}-{timezone.now():%Y-%m-%d}.{chosen}"
    return StreamingHttpResponse(  # type: ignore[return-value]  # what goes for one goes for the other
        in_pieces(lines),
        content_type=FORMATS[chosen],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"},
    )


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
