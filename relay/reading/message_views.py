"""The page of one message: how each recipient fares, told as a story, and the mail itself."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.http import content_disposition_header

from accounts.http import OrganizationRequest, member_required
from accounts.ids import time_of
from accounts.models import ApiKey
from accounts.permissions import Permission
from domains.models import SendingDomain, SmtpUser
from events.models import EventType
from events.reasons import REASONS
from events.vocabulary import bounce_kind
from relay.acting.actions import PLATFORM_HOLDS, Action, possible_actions
from relay.acting.words import Notice, in_order
from relay.models import ExchangerGroup, Message, RecipientState, Suppression, Template
from relay.reading import mail_authentication
from relay.reading.list_views import content_of
from relay.reading.preview import preview
from relay.reading.selectors import (
    GOING_ON,
    MessageDetail,
    RecipientTimeline,
    message_content,
    message_detail,
    timelines_of,
)
from relay.reading.sent_attachments import sent_attachments
from relay.reading.story import came_back, phases, what_next
from relay.retention import days_kept
from relay.returns.shown import returned_of
from relay.suppressing.suppressions import reason_title, suppressions_of
from relay.webhooks.selectors import caused_by

RECIPIENTS_SHOWN = 10  # timelines on a page, so that it stays light
# Of a group of exchangers: how they treat every sender alike.
SAID_TO_ALL = frozenset({"unreachable", "connection_lost", "tls_failure", "protocol_error", "exchanger_busy"})
FRESH_S = 600  # a message this young is looked at every second or so; an older one moves by retries, minutes apart
SELDOM_S = 15  # between looks at an older one, and at one that is scheduled for later


@member_required(Permission.READ)
def message_page(request: OrganizationRequest, message_id: UUID) -> HttpResponse:
    """One message with its timelines. Polled by htmx while it moves; 204 says that nothing is new."""
    detail = message_detail(request.organization, message_id)
    if detail is None:
        raise Http404
    if request.htmx:
        if request.GET.get("seen") == mark_of(detail):
            return HttpResponse(status=204)
        return render_live(request, detail)
    may_read = request.membership.may(Permission.READ_CONTENT)
    raw = message_content(request.organization, message_id) if may_read else None
    content_days, event_days = days_kept(request.organization.plan)
    day = time_of(message_id).replace(hour=0, minute=0, second=0, microsecond=0)
    context = _live_context(request, detail) | {
        "mail": preview(raw) if raw is not None else None,
        "attachments": sent_attachments(message_id, raw) if raw is not None else [],
        "content_days": content_days,
        "content_until": day + timedelta(days=content_days),
        "events_until": day + timedelta(days=event_days),
        "credential": _credential(request, detail.message),
        "template": _template(request, detail.message),
        "webhook_deliveries": caused_by(request.organization, message_id),
    }
    return render(request, "messages/message.html", context)


@member_required(Permission.READ_CONTENT)
def message_attachment(request: OrganizationRequest, message_id: UUID, attachment_id: UUID) -> HttpResponse:
    """Somebody's file under our name: it is saved, and nothing in it runs."""
    found = (one for one in sent_attachments(message_id, content_of(request, message_id)) if one.id == attachment_id)
    attachment = next(found, None)
    if attachment is None:
        raise Http404
    answer = HttpResponse(
        attachment.content,
        content_type=attachment.content_type,
        headers={"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, no-store"},
    )
    answer.headers["Content-Disposition"] = (
        content_disposition_header(as_attachment=True, filename=attachment.filename or "attachment") or "attachment"
    )
    return answer


def render_live(request: OrganizationRequest, detail: MessageDetail, notice: Notice | None = None) -> HttpResponse:
    """The part of a message's page that changes; `notice` tells what somebody has just done to it."""
    return render(request, "messages/live.html", _live_context(request, detail) | {"notice": notice})


def _live_context(request: OrganizationRequest, detail: MessageDetail) -> dict[str, Any]:
    page = Paginator(detail.recipients, RECIPIENTS_SHOWN).get_page(request.GET.get("page"))
    shown = timelines_of(request.organization, detail, list(page))
    suppressions = suppressions_of(request.organization, list(page), detail.message.stream)
    now = timezone.now()
    possible = [possible_actions(recipient, now) for recipient in detail.recipients]
    scheduled = all(one.state == RecipientState.SCHEDULED for one in detail.recipients if one.next_attempt_at)
    domain = SendingDomain.objects.of(request.organization).filter(pk=detail.message.domain_id).first()
    events = [event for timeline in shown for event in timeline.events]
    return {
        "detail": detail,
        "message": detail.message,
        "page": page,
        "counts": dict(Counter(recipient.state for recipient in detail.recipients)),
        "timelines": [told(timeline, suppressions.get(timeline.recipient.id)) for timeline in shown],
        "actions": in_order(frozenset[Action]().union(*possible), scheduled=scheduled) if len(possible) > 1 else [],
        "returned": returned_of(request.organization, detail.message.pk),
        "authentication": mail_authentication.of_message(detail.message.header_from, events, domain),
        "domain": domain,
        "mark": mark_of(detail),
        "poll_s": poll_s(detail.message),
    }


def poll_s(message: Message) -> int:
    begins_at = message.scheduled_at or message.submitted_at
    return 1 if -SELDOM_S <= (timezone.now() - begins_at).total_seconds() < FRESH_S else SELDOM_S


def mark_of(detail: MessageDetail) -> str:
    """What the page shows of a message's course, in short: changes exactly when there is something new to show."""
    leased = sum(recipient.leased_by is not None for recipient in detail.recipients)
    states = sorted({recipient.state for recipient in detail.recipients})
    suspended = {one.name: one for one in map(detail.suspension, detail.recipients) if one}.values()
    probes = sorted(f"{one.suspended_until:%s}.{one.failures}" for one in suspended)
    paused = sorted(f"{one.paused_at:%s}" for one in map(detail.pause, detail.recipients) if one)
    return ".".join([str(detail.events), str(leased), "-".join(states), str(poll_s(detail.message)), *probes, *paused])


def told(
    timeline: RecipientTimeline, suppression: Suppression | None = None, *, to_stranger: bool = False
) -> dict[str, Any]:
    """A recipient's course for templates. The last event's reason explains the state; each event's own stands beside it.

    `to_stranger`: without what is the organization's own affair (who asked for something, from where it was submitted), and
    without the return path's secret part.
    """
    recipient, suspension = timeline.recipient, timeline.suspension
    now = timezone.now()
    return {
        "recipient": recipient,
        "is_moving": recipient.state in GOING_ON,
        "next": what_next(
            recipient,
            timeline.events,
            suspension,
            now,
            scale=settings.RETRY_SCALE,
            names_people=not to_stranger,
            is_paused=timeline.pause is not None,
        ),
        "took": _took(timeline),
        "came_back": came_back(timeline.events),
        "complained": any(event.type == EventType.COMPLAINED for event in timeline.events),
        "reason": REASONS.get(recipient.reason),
        "is_held_by_platform": recipient.state == RecipientState.HELD and recipient.reason in PLATFORM_HOLDS,
        "bounce_kind": bounce_kind(recipient.state, recipient.reason),
        "pause": timeline.pause,
        "suspension": suspension,
        "why_suspended": REASONS.get(suspension.reason) if suspension else None,
        "reply_to_all": "" if to_stranger or not suspension else _said_to_all(suspension),
        "suppression": suppression,
        "why_suppressed": reason_title(suppression.reason) if suppression else "",
        "actions": []
        if to_stranger
        else in_order(possible_actions(recipient, now), scheduled=recipient.state == RecipientState.SCHEDULED),
        "events": [
            {
                "event": event,
                "detail": _for_strangers(event.detail) if to_stranger else event.detail,
                "transcript": _without_secret(event.transcript, event.detail) if to_stranger else event.transcript,
                "reason": REASONS.get(event.reason),
                "bounce_kind": bounce_kind(event.type, event.reason),
                "why_suppressed": reason_title(event.detail.get("suppression", {}).get("reason", "")),
                "phases": phases(event.detail.get("phases_ms") or {}, event.detail.get("duration_ms")),
            }
            for event in timeline.events
        ],
    }


def _took(timeline: RecipientTimeline) -> timedelta | None:
    """From when it was to be sent until it was delivered."""
    begins_at: datetime | None = None
    for event in timeline.events:
        if event.type in (EventType.SUBMITTED, EventType.SCHEDULED):
            send_at = parse_datetime(event.detail.get("send_at", ""))
            begins_at = send_at or event.occurred_at
        elif event.type == EventType.DELIVERED and begins_at:
            return max(timedelta(0), event.occurred_at - begins_at)
    return None


TOLD_TO_STRANGERS = (
    "reply",
    "exchanger",
    "tls",
    "error",
    "duration_ms",
    "phases_ms",
    "next_attempt_at",
    "send_at",
    "dkim",
    "reported_by",
)


def _for_strangers(detail: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in detail.items() if name in TOLD_TO_STRANGERS}
    if "@" in told.get("reported_by", ""):  # a person, whose other address it may be
        del told["reported_by"]
    return told


def _without_secret(transcript: str, detail: dict[str, Any]) -> str:
    """By a return path bounces are recognised as genuine."""
    address = detail.get("return_path", "")
    return transcript.replace(address, f"…@{address.rpartition('@')[2]}") if address else transcript


def _said_to_all(suspension: ExchangerGroup) -> str:
    """The last reply, where it may be shown to whoever waits: it was said to somebody, whose addresses it may name."""
    may_be_shown = suspension.reason in SAID_TO_ALL and "@" not in suspension.last_reply
    return suspension.last_reply if may_be_shown else ""


def _credential(request: OrganizationRequest, message: Message) -> SmtpUser | ApiKey | None:
    if message.smtp_user_id:
        return SmtpUser.objects.of(request.organization).filter(pk=message.smtp_user_id).first()
    if message.api_key_id:
        return ApiKey.objects.of(request.organization).filter(pk=message.api_key_id).first()
    return None


def _template(request: OrganizationRequest, message: Message) -> Template | None:
    return (
        Template.objects.of(request.organization).filter(pk=message.template_id).first()
        if message.template_id
        else None
    )
