"""Pages about messages, and the help page of each refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.http import OrganizationRequest, organization_required
from accounts.models import ApiKey
from domains.models import DomainStatus, SmtpUser
from events.models import Event
from events.reasons import REASONS
from relay.models import Message
from relay.preview import PREVIEW_POLICY, preview, safe_html
from relay.selectors import MOVING, MessageDetail, message_content, message_detail, messages_page
from relay.submission.catalogue import REFUSALS

RECIPIENTS_SHOWN = 10  # timelines on a page, so that it stays light
FRESH_S = 600  # a message this young is looked at every second or so; an older one moves by retries, minutes apart


@organization_required
def message_list(request: OrganizationRequest) -> HttpResponse:
    """The newest first; `?before=<id>` is the next page. The first one is polled by htmx, with a mark of what it shows."""
    before = _uuid(request.GET.get("before", ""))
    page = messages_page(request.organization, before=before)
    mark = f"{len(page.rows)}.{page.rows[0].message.pk}.{hash_of(page.rows)}" if page.rows else ""
    if request.htmx and request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    context = {
        "page": page,
        "before": before,
        "mark": mark,
        "is_moving": not before and any(row.is_moving for row in page.rows),
        "smtp_user": None if page.rows else _smtp_user(request),
    }
    return render(request, "messages/rows.html" if request.htmx else "messages/list.html", context)


@organization_required
def message_page(request: OrganizationRequest, message_id: UUID) -> HttpResponse:
    """One message with its timelines. Polled by htmx while it moves; 204 says that nothing is new."""
    detail = message_detail(request.organization, message_id)
    if detail is None:
        raise Http404
    mark = mark_of(detail)
    if request.htmx and request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    page = Paginator(detail.recipients, RECIPIENTS_SHOWN).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "detail": detail,
        "message": detail.message,
        "page": page,
        "counts": dict(Counter(timeline.recipient.state for timeline in detail.recipients)),
        "timelines": [_timeline(timeline.recipient, timeline.events) for timeline in page],
        "mark": mark,
        "poll_s": 1 if (timezone.now() - detail.message.submitted_at).total_seconds() < FRESH_S else 15,
    }
    if request.htmx:
        return render(request, "messages/live.html", context)
    raw = message_content(request.organization, message_id)
    context |= {"mail": preview(raw) if raw is not None else None, "credential": _credential(request, detail.message)}
    return render(request, "messages/message.html", context)


@organization_required
def message_html(request: OrganizationRequest, message_id: UUID) -> HttpResponse:
    return html_preview(_content(request, message_id))


@organization_required
def message_raw(request: OrganizationRequest, message_id: UUID) -> HttpResponse:
    return raw_download(_content(request, message_id), f"{message_id}.eml")


def error_index(request: HttpRequest) -> HttpResponse:
    return render(request, "errors/index.html", {"refusals": REFUSALS.values()})


def error_help(request: HttpRequest, code: str) -> HttpResponse:
    if code not in REFUSALS:
        raise Http404
    refusal = REFUSALS[code]
    return render(
        request, "errors/error.html", {"refusal": refusal, "example": refusal.detail.format_map(_Placeholders())}
    )


class _Placeholders(dict[str, str]):
    """Stands for the values of a refusal that is explained, not met."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def html_preview(raw: bytes) -> HttpResponse:
    """The mail's HTML under a policy that leaves it no privilege; shown in a sandboxed frame."""
    html = safe_html(raw)
    if html is None:
        raise Http404
    return HttpResponse(html, headers={"Content-Security-Policy": PREVIEW_POLICY, "Cache-Control": "private, no-store"})


def raw_download(raw: bytes, name: str) -> HttpResponse:
    # A type that no browser renders, and `attachment`: the octets are somebody's, not ours.
    return HttpResponse(
        raw,
        content_type="message/rfc822",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"},
    )


def mark_of(detail: MessageDetail) -> str:
    """What the page shows of a message's course, in short: changes exactly when there is something new to show."""
    events = sum(len(timeline.events) for timeline in detail.recipients)
    leased = sum(timeline.recipient.leased_by is not None for timeline in detail.recipients)
    return f"{events}.{leased}.{'-'.join(sorted({timeline.recipient.state for timeline in detail.recipients}))}"


def hash_of(rows: list[Any]) -> str:
    return "".join(row.state[:2] for row in rows)


def _timeline(recipient: Any, events: list[Event]) -> dict[str, Any]:
    """The last event's reason explains the state; each event's own stands beside it."""
    return {
        "recipient": recipient,
        "is_moving": recipient.state in MOVING,
        "is_trying": recipient.leased_by is not None,
        "waits": recipient.attempts > 0 and recipient.next_attempt_at is not None,
        "reason": REASONS.get(recipient.reason),
        "events": [{"event": event, "reason": REASONS.get(event.reason)} for event in events],
    }


def _credential(request: OrganizationRequest, message: Message) -> SmtpUser | ApiKey | None:
    if message.smtp_user_id:
        return SmtpUser.objects.of(request.organization).filter(pk=message.smtp_user_id).first()
    if message.api_key_id:
        return ApiKey.objects.of(request.organization).filter(pk=message.api_key_id).first()
    return None


def _smtp_user(request: OrganizationRequest) -> SmtpUser | None:
    usable = SmtpUser.objects.of(request.organization).filter(disabled_at__isnull=True)
    return usable.filter(domain__status=DomainStatus.VERIFIED).select_related("domain").order_by("-created_at").first()


def _content(request: OrganizationRequest, message_id: UUID) -> bytes:
    raw = message_content(request.organization, message_id)
    if raw is None:
        raise Http404
    return raw


def _uuid(text: str) -> UUID | None:
    """A page's key from the address bar; nonsense is the first page."""
    parse: Callable[[str], UUID] = UUID
    try:
        return parse(text)
    except ValueError:
        return None
