"""The way to a DNS host that speaks Domain Connect, and back."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from domains import looking
from domains.connect.client import Discovered, apply_url, is_cancelled, may_suggest_dmarc, trouble_in_words
from domains.models import RecordStatus, SendingDomain

SALT = "domains.connect"
WITHIN_S = 3600  # for an owner to be back from the host


@member_required(Permission.MANAGE_DOMAINS)
def connect(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """Leads to the host's page, which shows the records and asks for consent."""
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    found: Discovered | None = domain.domain_connect
    if not found or not found["is_supported"]:
        messages.error(request, "The DNS host of this domain cannot add the records by itself. Add them by hand.")
        return redirect("domain", domain.pk)
    url = apply_url(
        domain,
        found,
        redirect_uri=settings.WEB_URL + reverse("domain_connected", args=[domain.pk]),
        state=signing.dumps(_whose(request, domain), salt=SALT),
        with_dmarc=may_suggest_dmarc(domain),
    )
    answer = redirect(url)
    answer["Cache-Control"] = "no-store"
    return answer


@member_required(Permission.MANAGE_DOMAINS)
def connected(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """Where the host sends the owner back to. What it says is not believed: DNS is asked."""
    domains = SendingDomain.objects.of(request.organization)
    domain = get_object_or_404(domains, pk=domain_id)
    if not _is_our_state(request, domain):
        messages.error(
            request, "This answer of a DNS host belongs to no request of yours of the last hour. Begin again."
        )
        return redirect("domain", domain.pk)
    host = domain.domain_connect["provider_name"] if domain.domain_connect else "The DNS host"
    if error := request.GET.get("error"):
        description = request.GET.get("error_description", "")
        trouble = trouble_in_words(error, description, host=host, domain=domain.display_name)
        (messages.info if is_cancelled(error, description) else messages.error)(request, trouble)
        return redirect("domain", domain.pk)
    looking.check_again(domain, actor_of(request), good_since=timezone.now())
    domain = get_object_or_404(domains, pk=domain_id)  # DNS takes its time: it may be gone by now
    missing = domain.records.filter(required=True).exclude(status=RecordStatus.FOUND).count()
    if domain.is_verified and not missing:
        messages.success(request, f"{host} has added the records: {domain.display_name} is verified.")
    else:
        messages.info(
            request, f"{host} has added the records. They show here as soon as DNS has them: mostly in a minute."
        )
    return redirect("domain", domain.pk)


def _whose(request: OrganizationRequest, domain: SendingDomain) -> list[str]:
    return [str(request.user.pk), str(domain.pk)]


def _is_our_state(request: OrganizationRequest, domain: SendingDomain) -> bool:
    """Whether it is the state that this person was sent away with (RFC 6749, 10.12)."""
    try:
        return bool(signing.loads(request.GET.get("state", ""), salt=SALT, max_age=WITHIN_S) == _whose(request, domain))
    except signing.BadSignature:
        return False
