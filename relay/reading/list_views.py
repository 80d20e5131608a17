"""The list of messages, and their contents. One message's page: `relay.reading.message_views`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.http import OrganizationRequest, member_required
from accounts.models import Organization
from accounts.permissions import Permission
from accounts.walls import act_for
from domains.models import DomainStatus, SmtpUser
from events.reasons import REASONS
from relay.acting.words import STATE_CHOICES, actions_for
from relay.finding.asked import PERIODS, Asked, elsewhere
from relay.finding.naming import known_names, sought_of
from relay.finding.saved_filters import saved_filters
from relay.finding.search import SEARCH_S, TookTooLong
from relay.models import Message
from relay.reading.preview import preview_policy, safe_html
from relay.reading.selectors import (
    message_content,
    messages_page,
)

EXPORT_FORMATS = [("csv", "CSV"), ("jsonl", "JSON lines")]
CONTENT_SALT = "relay.content"
CONTENT_LINK_S = 60


@member_required(Permission.READ)
def message_list(request: OrganizationRequest) -> HttpResponse:
    """The newest first; `?before=<id>`, `?after=<id>` are other pages; what is asked for: `relay.finding.asked`.

    The first page is polled by htmx, with a mark of what it shows.
    """
    asked = Asked.read(request.GET)
    before, after = page_key(request.GET.get("before", "")), page_key(request.GET.get("after", ""))
    if not request.htmx and _is_untidy(request.GET):
        return redirect(_way_from_form(request, asked))
    sought = sought_of(request.organization, asked)
    try:
        page = messages_page(request.organization, before=before, after=after, sought=sought)
    except TookTooLong:
        page = None
    if page and after and not page.previous:  # back at the top, where the page is a whole one
        return redirect(_address_of(asked))
    rows = page.rows if page else []
    mark = f"{len(rows)}.{rows[0].message.pk}.{hash_of(rows)}" if rows else ""
    if request.htmx and request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    context = {
        "page": page,
        "before": before or after,
        "asked": asked,
        "wanted": sought.recipients,
        "actions": actions_for(sought.recipients) if asked.is_of_recipients else [],
        "mark": mark,
        "is_polled": not before and not after and sought.recipients.is_quick and sought.messages.is_by_key,
        "is_moving": any(row.is_moving for row in rows),
        "smtp_user": None if rows or asked else _smtp_user(request),
        "elsewhere": [] if rows else elsewhere(asked),
    }
    if not request.htmx:
        context |= _panel(request, asked)
    return render(request, "messages/rows.html" if request.htmx else "messages/list.html", context)


def _panel(request: OrganizationRequest, asked: Asked) -> dict[str, Any]:
    """What stands around the rows."""
    saved = saved_filters(request.organization)
    return {
        "chips": list(asked.chips()),
        "saved": saved,
        "current": next((one for one in saved if asked and one.query == asked.query), None),
        "states": STATE_CHOICES,
        "reasons": sorted(REASONS.values(), key=lambda reason: reason.title),
        "periods": PERIODS.items(),
        "known": known_names(request.organization),
        "formats": EXPORT_FORMATS,
        "search_s": f"{SEARCH_S:.0f}",
    }


def _is_untidy(given: QueryDict) -> bool:
    """Whether it comes from the form: with empty fields, or with what was typed."""
    return not all(given.values()) or "q" in given


def _way_from_form(request: OrganizationRequest, asked: Asked) -> str:
    """To the list, or straight to the message whose id was typed."""
    found = page_key(asked.only.get("id", ""))
    is_all = bool(request.GET.get("q")) and len(asked.values) == 1 and not asked.unread
    if found and is_all and Message.objects.of(request.organization).filter(pk=found).exists():
        return reverse("message", args=[found])
    return _address_of(asked)


def _address_of(asked: Asked) -> str:
    return f"{reverse('messages')}?{asked.query}" if asked.query else reverse("messages")


@member_required(Permission.READ_CONTENT)
def message_html(request: OrganizationRequest, message_id: UUID) -> HttpResponse:
    """Where previews have a host of their own, the way there: it is open to whoever was led there, for a minute."""
    if not settings.CONTENT_HOST:
        return html_preview(content_of(request, message_id), remote_images=wants_images(request))
    content_of(request, message_id)
    token = signing.dumps([request.organization.pk.hex, message_id.hex, wants_images(request)], salt=CONTENT_SALT)
    return redirect(f"{urlsplit(settings.WEB_URL).scheme}://{settings.CONTENT_HOST}/{token}/")


def content_of_link(request: HttpRequest, token: str) -> HttpResponse:
    """At CONTENT_HOST, where there are no cookies."""
    try:
        organization_id, message_id, remote_images = signing.loads(token, salt=CONTENT_SALT, max_age=CONTENT_LINK_S)
    except signing.BadSignature:
        return nothing_there(request)
    organization = Organization(pk=UUID(organization_id))
    act_for(organization.pk)
    raw = message_content(organization, UUID(message_id))
    return html_preview(raw, remote_images=remote_images) if raw is not None else nothing_there(request)


def nothing_there(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return HttpResponse("There is nothing here.", content_type="text/plain", status=404)


def wants_images(request: HttpRequest) -> bool:
    return request.GET.get("images") == "remote"


@member_required(Permission.READ_CONTENT)
def message_raw(request: OrganizationRequest, message_id: UUID) -> HttpResponse:
    return raw_download(content_of(request, message_id), f"{message_id}.eml")


def html_preview(raw: bytes, *, remote_images: bool) -> HttpResponse:
    """The mail's HTML under a policy that leaves it no privilege; shown in a sandboxed frame."""
    html = safe_html(raw)
    if html is None:
        raise Http404
    framed_by = settings.WEB_URL if settings.CONTENT_HOST else "'self'"
    answer = HttpResponse(
        html,
        headers={
            "Content-Security-Policy": preview_policy(framed_by=framed_by, remote_images=remote_images),
            "Cache-Control": "private, no-store",
            "Referrer-Policy": "no-referrer",  # whoever keeps the images learns nothing of where they are seen
        },
    )
    answer.xframe_options_exempt = True  # frame-ancestors says it, and can name another origin
    return answer


def raw_download(raw: bytes, name: str) -> HttpResponse:
    # A type that no browser renders, and `attachment`: the octets are somebody's, not ours.
    return HttpResponse(
        raw,
        content_type="message/rfc822",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, no-store",
        },
    )


def page_key(text: str) -> UUID | None:
    """A page's key from the address bar; nonsense is the first page."""
    parse: Callable[[str], UUID] = UUID
    try:
        return parse(text)
    except ValueError:
        return None


def hash_of(rows: list[Any]) -> str:
    return "".join(row.state[:3] for row in rows)


def _smtp_user(request: OrganizationRequest) -> SmtpUser | None:
    usable = SmtpUser.objects.of(request.organization).filter(disabled_at__isnull=True)
    return usable.filter(domain__status=DomainStatus.VERIFIED).select_related("domain").order_by("-created_at").first()


def content_of(request: OrganizationRequest, message_id: UUID) -> bytes:
    raw = message_content(request.organization, message_id)
    if raw is None:
        raise Http404
    return raw
