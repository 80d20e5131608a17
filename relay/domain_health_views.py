"""The health of what was sent from a domain: a part of the domain's page, and a page of its own."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render

from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from domains.frame import frame
from domains.models import SendingDomain
from relay.domain_health import DAYS, domain_health
from relay.finding.search import TookTooLong


@member_required(Permission.READ)
def domain_health_page(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    try:
        health = domain_health(domain)
    except TookTooLong:
        health = None
    return render(request, "domains/health.html", frame(domain, "domain_health") | {"health": health, "days": DAYS})
