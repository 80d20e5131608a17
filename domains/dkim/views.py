"""What the domain page's part about DKIM keys does."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from domains.dkim import requests as dkim_requests
from domains.dkim.rotation import ROTATION_DAYS
from domains.models import SendingDomain


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_DOMAINS)
def dkim_rotate(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """GET says what will happen and asks, POST does."""
    domain = _domain(request, domain_id)
    if request.method != "POST":
        return render(request, "domains/dkim_rotate.html", {"domain": domain, **dkim_requests.page_part(domain)})
    try:
        rotated = dkim_requests.rotate(domain, by=actor_of(request))
    except dkim_requests.RotationRefused as refused:
        messages.error(request, refused.detail)
    else:
        if rotated.dkim_rotation_requested_at is None:
            messages.success(request, "The new DKIM key signs from now on. Leave the former one’s record in place.")
        else:
            messages.info(
                request, "The rotation waits for the next key’s record, and happens by itself once it is seen."
            )
    return redirect("domain_settings", domain_id)


@require_POST
@member_required(Permission.MANAGE_DOMAINS)
def dkim_withdraw(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    try:
        dkim_requests.withdraw_rotation(_domain(request, domain_id), by=actor_of(request))
    except dkim_requests.RotationRefused as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, "The rotation is withdrawn. The key that signs goes on.")
    return redirect("domain_settings", domain_id)


@require_POST
@member_required(Permission.MANAGE_DOMAINS)
def dkim_schedule(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    domain = _domain(request, domain_id)
    choices = {"": None} | {str(days): days for days in ROTATION_DAYS}
    typed = request.POST.get("days", "")
    if typed not in choices:
        messages.error(request, "Choose one of the intervals in the list.")
    else:
        dkim_requests.schedule_rotation(domain, choices[typed], by=actor_of(request))
        messages.success(request, "Saved.")
    return redirect("domain_settings", domain_id)


def _domain(request: OrganizationRequest, domain_id: UUID) -> SendingDomain:
    return get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
