"""Pages that share a recipient's timeline, and the shared timeline itself, which needs no account."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from accounts.walls import act_for
from relay.forms import ShareTimelineForm
from relay.models import Message, Recipient, TimelineLink
from relay.reading import timeline_links
from relay.reading.list_views import page_key
from relay.reading.message_views import mark_of, poll_s, told
from relay.reading.selectors import message_detail, timelines_of

STRANGERS_POLL_S = 5  # at least
LINKS_SHOWN = 50
# Whoever has the address reads the page, so it is told to nobody else and kept nowhere.
HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}


@require_http_methods(["GET", "POST"])
@member_required(Permission.SHARE_TIMELINES)
def timeline_share(request: OrganizationRequest, message_id: UUID) -> HttpResponse:
    """GET asks and lists the message's open links, POST makes one and shows it this once. `?recipient=<id>`: whose timeline."""
    message = get_object_or_404(Message.objects.of(request.organization), pk=message_id)
    recipients = Recipient.objects.of(request.organization).filter(message_id=message.pk, id__gte=message.pk)
    if wanted := page_key(request.GET.get("recipient", "")):
        recipients = recipients.filter(pk=wanted)
    recipient = recipients.order_by("id").first()
    if recipient is None:
        raise Http404
    form = ShareTimelineForm(request.POST or None, initial={"good_for": "1d"})
    new = None
    if request.method == "POST" and form.is_valid():
        good_for = timeline_links.GOOD_FOR[form.cleaned_data["good_for"]]
        new = timeline_links.share(recipient, good_for, by=actor_of(request))
    links = timeline_links.open_links(request.organization).filter(message_id=message.pk).order_by("-id")
    context = {
        "message": message,
        "recipient": recipient,
        "form": form,
        "new": new,
        "links": links,
        "back": reverse("message", args=[message.pk]),
    }
    answer = render(request, "messages/share.html", context)
    if new:
        answer.headers["Cache-Control"] = HEADERS["Cache-Control"]
    return answer


@require_safe
@member_required(Permission.SHARE_TIMELINES)
def timeline_link_list(request: OrganizationRequest) -> HttpResponse:
    """Those that work, the newest first. `?before=<id>`: older ones."""
    links = timeline_links.open_links(request.organization).order_by("-id")
    before = page_key(request.GET.get("before", ""))
    if before:
        links = links.filter(pk__lt=before)
    shown = list(links[: LINKS_SHOWN + 1])
    context = {
        "links": shown[:LINKS_SHOWN],
        "before": before,
        "next": shown[LINKS_SHOWN - 1].pk if len(shown) > LINKS_SHOWN else None,
    }
    return render(request, "messages/shared_links.html", context)


@require_POST
@member_required(Permission.SHARE_TIMELINES)
def timeline_link_revoke(request: OrganizationRequest, timeline_link_id: UUID) -> HttpResponse:
    link = get_object_or_404(TimelineLink.objects.of(request.organization), pk=timeline_link_id)
    if timeline_links.revoke(request.organization, link.pk, by=actor_of(request)):
        messages.success(request, f"The link to the timeline of {link.address} does not work any more.")
    else:
        messages.info(request, "That link had ended already.")
    if "from_list" in request.POST:
        return redirect("timeline_links")
    return redirect(f"{reverse('timeline_share', args=[link.message_id])}?recipient={link.recipient_id}")


@require_safe
def shared_timeline(request: HttpRequest, secret: str) -> HttpResponse:
    """Read-only, without the mail's content, for whoever has the link. Polled by htmx while the recipient's mail moves."""
    link = timeline_links.find(secret)
    if link is None:
        return _nothing(request, 404)
    act_for(link.organization_id)
    is_open = link.is_open and not link.organization.is_being_deleted
    detail = message_detail(link.organization, link.message_id, link.recipient_id) if is_open else None
    if detail is None:
        return _nothing(request, 410)
    mark, is_polled = mark_of(detail), getattr(request, "htmx", False)
    if is_polled and request.GET.get("seen") == mark:
        return HttpResponse(status=204, headers=HEADERS)
    [timeline] = timelines_of(link.organization, detail, detail.recipients)
    context = {
        "link": link,
        "secret": secret,
        "detail": detail,
        "message": detail.message,
        "line": told(timeline, to_stranger=True),
        "to_stranger": True,
        "mark": mark,
        "poll_s": max(STRANGERS_POLL_S, poll_s(detail.message)),
    }
    template = "messages/shared_live.html" if is_polled else "messages/shared.html"
    return _kept_private(render(request, template, context))


def _nothing(request: HttpRequest, status: int) -> HttpResponse:
    """Whether it expired, was revoked or never was: all that its holder can do is to ask for another."""
    return _kept_private(render(request, "messages/shared_gone.html", status=status))


def _kept_private(answer: HttpResponse) -> HttpResponse:
    for name, value in HEADERS.items():
        answer.headers[name] = value
    return answer
