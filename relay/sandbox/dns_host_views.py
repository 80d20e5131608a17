"""What the sandbox's DNS host answers (`relay.sandbox.dns_host`): to programs in JSON, to the owner of a domain as a page."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from relay.sandbox import dns_host
from relay.sandbox.views import sandbox_only


@sandbox_only
@require_GET
def zone_settings(request: HttpRequest, zone: str) -> HttpResponse:
    return JsonResponse(dns_host.settings_of(zone, request.build_absolute_uri("/").rstrip("/"), settings.WEB_URL))


@sandbox_only
@require_GET
def template(request: HttpRequest, provider_id: str, service_id: str) -> HttpResponse:
    """200 says that it can be applied here."""
    known = dns_host.known_template(provider_id, service_id)
    if known is None:
        raise Http404
    return JsonResponse({"version": known["version"]})


@sandbox_only
@require_http_methods(["GET", "POST"])
def apply(request: HttpRequest, provider_id: str, service_id: str) -> HttpResponse:
    """GET shows the owner what would be done; POST does it, or sends the owner back with the news that it was not wanted."""
    known = dns_host.known_template(provider_id, service_id)
    if known is None:
        raise Http404
    context = {"host": dns_host.NAME, "template": known}
    try:
        asked = dns_host.read_request(known, request.META["QUERY_STRING"])
    except dns_host.NotApplied as refused:
        return render(request, "sandbox/dns_host.html", {**context, "refused": str(refused)}, status=400)
    if request.method == "GET":
        return render(request, "sandbox/dns_host.html", {**context, "asked": asked})
    back = {"state": asked.state} if asked.state else {}
    if "cancel" in request.POST:
        back |= {"error": "access_denied", "error_description": "user_cancel"}
    else:
        dns_host.apply(asked)
    return redirect(f"{asked.redirect_uri}{'&' if '?' in asked.redirect_uri else '?'}{urlencode(back)}")
