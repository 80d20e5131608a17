"""Pages about sending domains and their DNS records."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from domains import exports_views, history, looking, services, trouble
from domains.connect import client as domain_connect
from domains.diagnosis import hosts as dns_hosts
from domains.diagnosis.table import Diagnosis
from domains.dkim import requests as dkim_requests
from domains.forms import DomainForm
from domains.frame import frame
from domains.models import DnsRecord, RecordStatus, SendingDomain
from domains.names import DomainRefused
from domains.spf import reading as spf

CHECKED_JUST_NOW = timedelta(seconds=15)  # a page that is polled tells of a look at least once


@member_required(Permission.READ)
def domain_list(request: OrganizationRequest) -> HttpResponse:
    domains = SendingDomain.objects.of(request.organization).order_by("name").prefetch_related("records", "smtp_users")
    context = {"domains": domains, "troubles": trouble.troubles_of(request.organization)}
    return render(request, "domains/list.html", context)


@member_required(Permission.MANAGE_DOMAINS)
def domain_add(request: OrganizationRequest) -> HttpResponse:
    form = DomainForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            domain = services.add_domain(request.organization, form.cleaned_data["name"], by=actor_of(request))
        except DomainRefused as refused:
            form.add_error("name", refused.detail)
        else:
            return redirect("domain", domain.pk)
    return render(request, "domains/add.html", {"form": form})


@member_required(Permission.READ)
def domain_page(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """The domain with its records. While DNS is awaited it is polled by htmx, which makes the looks: 204 says that nothing is
    new."""
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    return _render_domain(request, domain)


@require_POST
@member_required(Permission.MANAGE_DOMAINS)
def domain_check(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    domains = SendingDomain.objects.of(request.organization)
    domain = get_object_or_404(domains, pk=domain_id)
    was_verified = domain.is_verified
    looking.check_again(domain, actor_of(request))
    domain = get_object_or_404(domains, pk=domain_id)  # DNS takes its time: it may be gone by now
    if request.htmx:
        return _render_domain(request, domain, always=True)
    if domain.is_verified and not was_verified:
        messages.success(request, f"{domain.display_name} is verified.")
    return redirect("domain", domain.pk)


@require_POST
@member_required(Permission.MANAGE_DOMAINS)
def domain_subdomains(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    allowed = "allow" in request.POST
    services.allow_subdomains(domain, allowed, by=actor_of(request))
    messages.success(
        request, f"Names below {domain.display_name} may {'send now' if allowed else 'not send any more'}."
    )
    return redirect("domain_settings", domain.pk)


@member_required(Permission.READ)
def domain_settings(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    context = frame(domain, "domain_settings") | dkim_requests.page_part(domain)
    return render(request, "domains/settings.html", context)


@member_required(Permission.READ)
def domain_history(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    context = frame(domain, "domain_history") | history.page_part(domain)
    return render(request, "domains/history.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_DOMAINS)
def domain_remove(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    if request.method == "POST":
        services.remove_domain(domain, by=actor_of(request))
        messages.success(request, f"{domain.display_name} is removed.")
        return redirect("domains")
    smtp_users = domain.smtp_users.filter(disabled_at__isnull=True).order_by("address")
    return render(request, "domains/remove.html", {"domain": domain, "smtp_users": smtp_users})


def _render_domain(request: OrganizationRequest, domain: SendingDomain, *, always: bool = False) -> HttpResponse:
    records = list(domain.records.all())
    opened_at = _opened_at(request)
    awaits_dns = not domain.is_verified or domain.failing_since is not None
    if awaits_dns and not always:
        looking.look_while_open(domain, timezone.now() - opened_at)
    mark = _mark(domain, records)
    if request.htmx and not always and request.GET.get("seen") == mark:
        return _only_when_checked(request, domain)
    context = {
        **frame(domain, "domain"),
        "records": [(record, dns_hosts.typed(record, domain), _told(record, domain)) for record in records],
        "mark": mark,
        "opened_at": int(opened_at.timestamp()),
        "awaits_dns": awaits_dns,
        "found": sum(record.status == RecordStatus.FOUND for record in records if record.required),
        "required": sum(record.required for record in records),
        "smtp_users": domain.smtp_users.filter(disabled_at__isnull=True).order_by("address"),
        **domain_connect.page_part(domain),
        **({} if request.htmx else exports_views.page_part(domain)),
        **dns_hosts.page_part(domain),
        **trouble.page_part(domain),
        **spf.page_part(domain),
    }
    return render(request, "domains/records.html" if request.htmx else "domains/domain.html", context)


def _mark(domain: SendingDomain, records: list[DnsRecord]) -> str:
    """What the page shows, in short: a poll that carries the same mark has nothing to swap in."""
    shown = [
        domain.status, domain.failing_since, domain.warned_at, domain.domain_connect, domain.nameservers, domain.zone,
        domain.zone_explanation, domain.spf and domain.spf["checked_at"],
        *[(one.status, one.diagnosis, one.explanation, one.found, one.visible_at) for one in records],
    ]  # fmt: skip
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _told(record: DnsRecord, domain: SendingDomain) -> str:
    """What neither the record's badge nor the notice about the whole zone says already."""
    is_said = record.diagnosis and record.diagnosis in (Diagnosis.MISSING, domain.zone_diagnosis)
    return "" if is_said else record.explanation


def _only_when_checked(request: OrganizationRequest, domain: SendingDomain) -> HttpResponse:
    """Nothing new but the time of the last look, which changes in its place: what the reader has focused stays."""
    if domain.checked_at is None or timezone.now() - domain.checked_at > CHECKED_JUST_NOW:
        return HttpResponse(status=204)
    answer = render(request, "domains/parts/checked.html", {"domain": domain, "is_alone": True})
    answer["HX-Reswap"] = "none"
    return answer


def _opened_at(request: OrganizationRequest) -> datetime:
    """When the reader opened the page: the poll carries it along."""
    now, text = timezone.now(), request.GET.get("opened", "")
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return now
    return min(now, datetime.fromtimestamp(int(text), UTC))
