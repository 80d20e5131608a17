"""Pages about suppressed addresses, lists of them that are imported, and the rule for soft bounces."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from relay.finding.exporting import FORMATS, OneAtATime, request_suppression_export
from relay.finding.search import SEARCH_S, TookTooLong
from relay.forms import AddSuppressionForm, ImportForm, RemoveSuppressionForm, SoftBounceForm
from relay.models import Message, Suppression, SuppressionImport
from relay.reading.list_views import page_key
from relay.suppressing.importing import ImportRefused, cancel_import, request_import
from relay.suppressing.soft_bounces import PLATFORM, Rule, change_rule, rule_of
from relay.suppressing.suppressions import (
    ALL_MAIL,
    ORIGINS,
    AddressRefused,
    Filter,
    SuppressionPage,
    reason_title,
    suppress,
    suppressions_page,
    unsuppress,
)

IMPORTS_SHOWN = 10
REFUSALS_SHOWN = 100
ORIGINS_IN_WORDS = {
    "bounce": "Bounces",
    "complaint": "Complaints",
    "unsubscribe": "Unsubscribed",
    "manual": "Added by hand or from a file",
}


@member_required(Permission.READ)
def suppression_list(request: OrganizationRequest) -> HttpResponse:
    """The newest first; `?before=<id>` is the next page; the filter as in `Filter.parse`."""
    wanted = Filter.parse(request.GET.urlencode())
    before = page_key(request.GET.get("before", ""))
    try:
        page = suppressions_page(request.organization, wanted, before=before)
        too_slow = False
    except TookTooLong:
        page, too_slow = SuppressionPage([], None), True
    # A suppression outlives the message that made it.
    kept = Message.objects.of(request.organization).in_bulk([one.message_id for one in page.rows if one.message_id])
    context = {
        "rows": [
            {"suppression": one, "title": reason_title(one.reason), "has_message": one.message_id in kept}
            for one in page.rows
        ],
        "next": page.next,
        "before": before,
        "wanted": wanted,
        "values": wanted.values,
        "origins": [(origin, ORIGINS_IN_WORDS[origin]) for origin in ORIGINS],
        "all_mail": ALL_MAIL,
        "too_slow_s": f"{SEARCH_S:.0f}" if too_slow else "",
        "rule": rule_of(request.organization),
        "has_any": bool(page.rows or wanted or before),
    }
    return render(request, "suppressions/list.html", context)


@member_required(Permission.MANAGE_SUPPRESSIONS)
def suppression_add(request: OrganizationRequest) -> HttpResponse:
    form = AddSuppressionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            suppression, is_new = suppress(
                request.organization, given["address"], stream=given["stream"], note=given["note"], by=actor_of(request)
            )
        except AddressRefused as refused:
            form.add_error("address", refused.message)
        else:
            what = f"“{suppression.stream}” mail" if suppression.stream else "Mail"
            text = f"is suppressed. {what} to it is not sent any more." if is_new else "was suppressed already."
            messages.success(request, f"{suppression.address} {text}")
            return redirect("suppressions")
    return render(request, "suppressions/add.html", {"form": form})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_SUPPRESSIONS)
def suppression_remove(request: OrganizationRequest, suppression_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    suppression = get_object_or_404(Suppression.objects.of(request.organization), pk=suppression_id)
    form = RemoveSuppressionForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        because = form.cleaned_data["because"]
        unsuppress(request.organization, suppression.pk, because=because, by=actor_of(request))
        messages.success(request, f"{suppression.address} is not suppressed any more. Mail to it is sent again.")
        return redirect("suppressions")
    context = {"suppression": suppression, "title": reason_title(suppression.reason), "form": form}
    return render(request, "suppressions/remove.html", context)


@require_POST
@member_required(Permission.EXPORT_MAIL)
def suppression_export(request: OrganizationRequest) -> HttpResponse:
    """`query`: of the list's address; `format`: of FORMATS."""
    chosen = request.POST.get("format", "")
    if chosen not in FORMATS:
        raise Http404
    try:
        wanted = Filter.parse(request.POST.get("query", ""))
        request_suppression_export(request.organization, wanted, chosen, by=actor_of(request))
    except OneAtATime:
        messages.warning(request, "An export is under way. Wait for its end, or cancel it, then ask for the next.")
    return redirect("message_exports")


# ---- Imports ---------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_SUPPRESSIONS)
def suppression_import(request: OrganizationRequest) -> HttpResponse:
    """The form, and the last imports. Polled by htmx while one is under way."""
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            made = request_import(
                request.organization, given["file"].name, given["file"].chunks(), stream=given["stream"],
                note_=given["note"], by=actor_of(request),
            )  # fmt: skip
        except ImportRefused as refused:
            form.add_error("file", refused.message)
        else:
            return redirect("suppression_import_report", made.pk)
    imports = SuppressionImport.objects.of(request.organization).defer("refusals").order_by("-id")[:IMPORTS_SHOWN]
    return render(request, "suppressions/import.html", {"form": form, "imports": imports})


@member_required(Permission.MANAGE_SUPPRESSIONS)
def suppression_import_report(request: OrganizationRequest, suppression_import_id: UUID) -> HttpResponse:
    """How far it has come, and which lines were refused. Polled by htmx while it is under way."""
    made = get_object_or_404(SuppressionImport.objects.of(request.organization), pk=suppression_import_id)
    context: dict[str, Any] = {
        "made": made,
        "refusals": made.refusals[:REFUSALS_SHOWN],
        "more": made.refused - min(made.refused, REFUSALS_SHOWN),
    }
    template = "suppressions/import_live.html" if request.htmx else "suppressions/import_report.html"
    return render(request, template, context)


@require_POST
@member_required(Permission.MANAGE_SUPPRESSIONS)
def suppression_import_cancel(request: OrganizationRequest, suppression_import_id: UUID) -> HttpResponse:
    made = get_object_or_404(SuppressionImport.objects.of(request.organization), pk=suppression_import_id)
    if cancel_import(made, by=actor_of(request)):
        messages.success(request, "The import is cancelled. What it has added stays.")
    return redirect("suppression_import_report", made.pk)


# ---- Soft bounces ----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_SUPPRESSIONS)
def soft_bounce_rule(request: OrganizationRequest) -> HttpResponse:
    rule = rule_of(request.organization)
    shown = rule or PLATFORM
    initial = {"is_on": rule is not None, "messages": shown.messages, "days": shown.days}
    form = SoftBounceForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        wanted = Rule(given["messages"], given["days"]) if given["is_on"] else None
        change_rule(request.organization, wanted, by=actor_of(request))
        messages.success(request, "The rule is saved. It holds for what bounces from now on.")
        return redirect("suppressions")
    return render(request, "suppressions/rule.html", {"form": form, "platform": PLATFORM})
