"""A domain's records as files to download, and the part of its page that offers them."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render

from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from domains.exports import PROVIDERS, RecordSet, as_json, record_set, terraform, usual_provider, zone_file
from domains.models import SendingDomain

ZONE_TYPE = "text/dns; charset=utf-8"  # RFC 4027
TEXT_TYPE = "text/plain; charset=utf-8"  # HCL has no type of its own


def page_part(domain: SendingDomain) -> dict[str, Any]:
    """What `templates/domains/parts/exports.html` shows."""
    records = record_set(domain, domain.records.all())
    provider = usual_provider(domain.dns_host)
    return {
        "exports": {
            "zone_file": zone_file(records),
            "json": as_json(records),
            "terraform": terraform(records, provider),
            "provider": provider,
            "providers": PROVIDERS,
        }
    }


@member_required(Permission.READ)
def records_zone(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    records = _records(request, domain_id)
    return _file(zone_file(records), ZONE_TYPE, f"{records.domain}.zone")


@member_required(Permission.READ)
def records_json(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    records = _records(request, domain_id)
    return _file(as_json(records), "application/json", f"{records.domain}.json")


@member_required(Permission.READ)
def records_terraform(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """`?provider=` one of domains.exports.PROVIDERS. For htmx the text alone, to be shown on the page."""
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    records = record_set(domain, domain.records.all())
    provider = request.GET.get("provider") or usual_provider(domain.dns_host)
    if provider not in PROVIDERS:
        raise Http404
    text = terraform(records, provider)
    if request.htmx:
        return render(
            request, "domains/parts/exported_terraform.html", {"domain": domain, "text": text, "provider": provider}
        )
    return _file(text, TEXT_TYPE, f"{records.domain}.tf")


def _records(request: OrganizationRequest, domain_id: UUID) -> RecordSet:
    domain = get_object_or_404(SendingDomain.objects.of(request.organization), pk=domain_id)
    return record_set(domain, domain.records.all())


def _file(text: str, content_type: str, name: str) -> HttpResponse:
    """`name`: an A-label with an ending, so nothing in it needs quoting."""
    return HttpResponse(
        text, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
