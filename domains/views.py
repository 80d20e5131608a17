"""Pages about sending domains and their DNS records."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.http import OrganizationRequest, organization_required
from domains import services, spf, verification
from domains.forms import DomainForm
from domains.models import RecordStatus, SendingDomain
from domains.names import DomainRefused


@organization_required
def domain_list(request: OrganizationRequest) -> HttpResponse:
    domains = SendingDomain.objects.of(request.organization).order_by("name").prefetch_related("records", "smtp_users")
    return render(request, "domains/list.html", {"domains": domains})


@organization_required
def domain_add(request: OrganizationRequest) -> HttpResponse:
    form = DomainForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            domain = services.add_domain(request.organization, form.cleaned_data["name"])
        except DomainRefused as refused:
            form.add_error("name", refused.detail)
        else:
            return redirect("domain", domain.pk)
    return render(request, "domains/add.html", {"form": form})


@organization_required
def domain_page(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """The domain with its records. Polled by htmx while DNS is awaited; 204 says that nothing is new."""
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    return _render_domain(request, domain)


@require_POST
@organization_required
def domain_check(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    domains = SendingDomain.objects.of(request.organization)
    domain = get_object_or_404(domains, pk=domain_id)
    was_verified = domain.is_verified
    verification.check_domain(domain)
    domain = get_object_or_404(domains, pk=domain_id)  # DNS takes its time: it may be gone by now
    if request.htmx:
        return _render_domain(request, domain, always=True)
    if domain.is_verified and not was_verified:
        messages.success(request, f"{domain.display_name} is verified.")
    return redirect("domain", domain.pk)


@require_http_methods(["GET", "POST"])
@organization_required
def domain_remove(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    if request.method == "POST":
        services.remove_domain(domain)
        messages.success(request, f"{domain.display_name} is removed.")
        return redirect("domains")
    smtp_users = domain.smtp_users.filter(disabled_at__isnull=True).order_by("address")
    return render(request, "domains/remove.html", {"domain": domain, "smtp_users": smtp_users})


def _render_domain(request: OrganizationRequest, domain: SendingDomain, *, always: bool = False) -> HttpResponse:
    records = list(domain.records.all())
    # What the page shows, in short: a poll that carries the same mark has nothing to swap in.
    mark = f"{domain.status}.{'.'.join(record.status for record in records)}"
    if request.htmx and not always and request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    context = {
        "domain": domain,
        "records": records,
        "mark": mark,
        "found": sum(record.status == RecordStatus.FOUND for record in records if record.required),
        "required": sum(record.required for record in records),
        "smtp_users": domain.smtp_users.filter(disabled_at__isnull=True).order_by("address"),
    }
    context |= spf.page_part(domain)
    return render(request, "domains/records.html" if request.htmx else "domains/domain.html", context)
