"""The landing page, its demonstration, robots.txt and the sitemap."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.catalogue import REFUSALS
from accounts.client import client_address
from accounts.models import Organization
from accounts.walls import act_for
from plugsend.documentation.contents import INDEX, ORDER
from plugsend.landing import sending
from plugsend.landing.scripts import SCRIPTS
from relay.reading.message_views import mark_of, poll_s, told
from relay.reading.selectors import message_detail, timelines_of

# Everything behind a sign-in, and what is told to its holder alone.
_NOT_FOR_ROBOTS = (
    "/admin/", "/api/v1/", "/accounts/", "/overview/", "/messages/", "/domains/", "/settings/", "/sandbox/", "/timelines/",
    "/u/", "/try/",
)  # fmt: skip
_PUBLIC = ("home", "status", "docs", "error_index", "account_signup")


def home(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("overview")
    return render(request, "home.html", {"scripts": SCRIPTS.values(), "demo_user": "admin@yourdomain.com"})


@require_POST
def try_send(request: HttpRequest) -> HttpResponse:
    """A visitor's own message, in the sandbox. With htmx its timeline takes the place of the example."""
    script = SCRIPTS.get(request.POST.get("ending", ""))
    if not settings.SANDBOX or script is None:
        raise Http404
    try:
        sent = sending.send(script, client_address(request.META))
    except sending.NotSent as error:
        context = {"scripts": SCRIPTS.values(), "refused": str(error)}
        if getattr(request, "htmx", False):
            return render(request, "landing/demo.html", context)
        return render(request, "landing/sent.html", context, status=429)
    if getattr(request, "htmx", False):
        return render(request, "landing/live.html", _course(sent))
    return redirect("try_course", sent.token)


@require_safe
def try_course(request: HttpRequest, token: str) -> HttpResponse:
    """The true timeline of a visitor's message. Polled by htmx while it moves."""
    sent = sending.find(token)
    if not settings.SANDBOX or sent is None:
        raise Http404
    context = _course(sent)
    is_polled = getattr(request, "htmx", False)
    if is_polled and request.GET.get("seen") == context["mark"]:
        return HttpResponse(status=204)
    return render(request, "landing/live.html" if is_polled else "landing/sent.html", context)


def _course(sent: sending.Sent) -> dict[str, Any]:
    act_for(sent.organization_id)
    organization = Organization.objects.of(sent.organization_id).first()
    detail = message_detail(organization, sent.message_id) if organization else None
    if organization is None or detail is None:
        raise Http404
    [timeline] = timelines_of(organization, detail, detail.recipients)
    return {
        "scripts": SCRIPTS.values(),
        "token": sent.token,
        "detail": detail,
        "message": detail.message,
        "line": told(timeline, to_stranger=True),
        "to_stranger": True,
        "mark": mark_of(detail),
        "poll_s": poll_s(detail.message),
    }


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    lines = [
        "User-agent: *",
        *(f"Disallow: {path}" for path in _NOT_FOR_ROBOTS),
        f"Sitemap: {settings.WEB_URL}/sitemap.xml",
    ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain")


@require_safe
def sitemap(request: HttpRequest) -> HttpResponse:
    pages = [reverse("docs_page", args=[slug]) for slug in ORDER if slug not in {INDEX, "errors"}]
    paths = [*map(reverse, _PUBLIC), *pages, *(reverse("error_help", args=[code]) for code in REFUSALS)]
    urls = "".join(f"<url><loc>{settings.WEB_URL}{path}</loc></url>" for path in paths)
    return HttpResponse(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>\n',
        content_type="application/xml",
    )
