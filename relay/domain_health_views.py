"""The health of what was sent from a domain: a part of the domain's page, and a page of its own."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render

from accounts.http import OrganizationRequest, organization_required
from domains.models import SendingDomain
from relay.domain_health import DAYS, domain_health
from relay.search import TookTooLong


@organization_required
def domain_health_page(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """htmx asks for the part alone, once the domain's page is there."""
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    try:
        health = domain_health(domain)
    except TookTooLong:
        health = None
    context = {"domain": domain, "health": health, "days": DAYS}
    return render(request, "domains/parts/health.html" if request.htmx else "domains/health.html", context)
