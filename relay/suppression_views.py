"""Pages about suppressed addresses."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from relay.forms import SuppressionForm
from relay.models import Message, Suppression
from relay.suppressions import AddressRefused, Filter, reason_title, suppress, suppressions_page, unsuppress
from relay.views import page_key


@member_required(Permission.READ)
def suppression_list(request: OrganizationRequest) -> HttpResponse:
    """The newest first; `?before=<id>` is the next page, `?q=` an address or a part of one."""
    search = request.GET.get("q", "").strip().replace("\0", "")[:254]
    before = page_key(request.GET.get("before", ""))
    page = suppressions_page(request.organization, Filter(search=search), before=before)
    # A suppression outlives the message whose bounce made it.
    kept = Message.objects.of(request.organization).in_bulk([one.message_id for one in page.rows if one.message_id])
    rows = [
        {"suppression": one, "title": reason_title(one.reason), "has_message": one.message_id in kept}
        for one in page.rows
    ]
    context = {"rows": rows, "next": page.next, "before": before, "search": search}
    return render(request, "suppressions/list.html", context)


@member_required(Permission.MANAGE_SUPPRESSIONS)
def suppression_add(request: OrganizationRequest) -> HttpResponse:
    form = SuppressionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            suppression, is_new = suppress(request.organization, form.cleaned_data["address"], by=actor_of(request))
        except AddressRefused as refused:
            form.add_error("address", refused.message)
        else:
            text = "is suppressed. Mail to it is not sent any more." if is_new else "was suppressed already."
            messages.success(request, f"{suppression.address} {text}")
            return redirect("suppressions")
    return render(request, "suppressions/add.html", {"form": form})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_SUPPRESSIONS)
def suppression_remove(request: OrganizationRequest, suppression_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    suppression = get_object_or_404(Suppression.objects.of(request.organization), pk=suppression_id)
    if request.method == "POST":
        unsuppress(request.organization, suppression.pk, by=actor_of(request))
        messages.success(request, f"{suppression.address} is not suppressed any more. Mail to it is sent again.")
        return redirect("suppressions")
    context = {"suppression": suppression, "title": reason_title(suppression.reason)}
    return render(request, "suppressions/remove.html", context)
