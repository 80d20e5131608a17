"""Pages around the message list: saved filters, and exports of what it finds."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_POST

from accounts.audit import actor_of, note
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from relay.finding.asked import Asked, in_a_sentence
from relay.finding.exporting import FORMATS, OneAtATime, end_export, pieces_of, progress_of, request_export
from relay.finding.saved_filters import NotSaved, remove_filter, save_filter
from relay.models import ExportKind, ExportState, MessageExport
from relay.suppressing.suppressions import Filter

SHOWN = 30


@require_POST
@member_required(Permission.SAVE_FILTERS)
def filter_save(request: OrganizationRequest) -> HttpResponse:
    """`query`: of the list's address."""
    asked = Asked.parse(request.POST.get("query", ""))
    try:
        saved = save_filter(request.organization, request.POST.get("name", ""), asked, by=actor_of(request))
    except NotSaved as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, f"The filter “{saved.name}” is saved for everybody in {request.organization}.")
    return redirect(_list_of(asked))


@require_POST
@member_required(Permission.SAVE_FILTERS)
def filter_remove(request: OrganizationRequest, saved_filter_id: UUID) -> HttpResponse:
    removed = remove_filter(request.organization, saved_filter_id, by=actor_of(request))
    if removed is None:
        raise Http404
    messages.success(request, f"The saved filter “{removed.name}” is removed.")
    return redirect(_list_of(Asked.parse(removed.query)))


@member_required(Permission.EXPORT_MAIL)
def export_list(request: OrganizationRequest) -> HttpResponse:
    """The newest first. Polled by htmx while one is under way."""
    exports = list(MessageExport.objects.of(request.organization).order_by("-id")[:SHOWN])
    rows = [{"export": one, "progress": progress_of(one), **_what(one)} for one in exports]
    context = {"rows": rows, "is_moving": any(one.is_open for one in exports)}
    return render(request, "messages/exports_live.html" if request.htmx else "messages/exports.html", context)


@require_POST
@member_required(Permission.EXPORT_MAIL)
def export_start(request: OrganizationRequest) -> HttpResponse:
    """`query`: of the list's address; `format`: of FORMATS."""
    asked, chosen = Asked.parse(request.POST.get("query", "")), request.POST.get("format", "")
    if chosen not in FORMATS:
        raise Http404
    if asked.unread:
        messages.error(
            request, "Part of what was searched for was not understood. Mend it, then export what the list shows."
        )
        return redirect(_list_of(asked))
    try:
        request_export(request.organization, asked, chosen, by=actor_of(request))
    except OneAtATime:
        messages.warning(request, "An export is under way. Wait for its end, or cancel it, then ask for the next.")
    return redirect("message_exports")


@require_POST
@member_required(Permission.EXPORT_MAIL)
def export_download(request: OrganizationRequest, message_export_id: UUID) -> HttpResponse:
    """A POST, for it leaves an entry in the audit log."""
    export = _export(request, message_export_id)
    if export.state != ExportState.DONE:
        messages.warning(request, "That export has no file.")
        return redirect("message_exports")
    note(actor_of(request), "message_export.downloaded", export, organization_id=request.organization.pk)
    name = f"{export.kind}-{slugify(request.organization.name) or 'organization'}-{export.created_at:%Y-%m-%d-%H%M}"
    return StreamingHttpResponse(  # type: ignore[return-value]  # what goes for one goes for the other
        pieces_of(export),
        content_type=FORMATS[export.format],
        headers={
            "Content-Disposition": f'attachment; filename="{name}.{export.format}"',
            "Content-Length": str(export.size_bytes),
            "Cache-Control": "private, no-store",
        },
    )


@require_POST
@member_required(Permission.EXPORT_MAIL)
def export_end(request: OrganizationRequest, message_export_id: UUID) -> HttpResponse:
    """Cancels or removes it."""
    was = end_export(_export(request, message_export_id), by=actor_of(request))
    if was is not None:
        done = "cancelled" if was == ExportState.RUNNING else "removed"
        messages.success(request, f"The export is {done}.")
    return redirect("message_exports")


def _export(request: OrganizationRequest, export_id: UUID) -> MessageExport:
    export = MessageExport.objects.of(request.organization).filter(pk=export_id).first()
    if export is None:
        raise Http404
    return export


def _what(export: MessageExport) -> dict[str, str]:
    """What it is of, in words, and where that is shown."""
    if export.kind == ExportKind.SUPPRESSIONS:
        wanted = Filter.parse(export.query)
        return {
            "filter": f"suppressions, {wanted.in_a_sentence}" if wanted else "all suppressions",
            "list": f"{reverse('suppressions')}?{wanted.query}",
        }
    asked = Asked.parse(export.query)
    return {"filter": in_a_sentence(asked.values), "list": _list_of(asked)}


def _list_of(asked: Asked) -> str:
    return f"{reverse('messages')}?{asked.query}" if asked.query else reverse("messages")
