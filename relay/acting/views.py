"""Pages that act on mail in the queue: one recipient, one message, or all that match the message list's filter."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from relay.acting import actions
from relay.acting.actions import Acted, Action
from relay.acting.words import Notice, notice, recipients, words_for
from relay.finding.asked import Asked
from relay.finding.filters import RecipientFilter
from relay.finding.search import SEARCH_S, TookTooLong, within
from relay.models import Message, RecipientState
from relay.reading.message_views import render_live
from relay.reading.selectors import message_detail

TOO_LONG = "That search went through too much. Choose a state or a destination (@example.com), then try again."


@require_http_methods(["GET", "POST"])
@member_required(Permission.ACT_ON_MAIL)
def act_on_message(request: OrganizationRequest, message_id: UUID, action: Action) -> HttpResponse:
    """GET asks, POST does. `?recipient=<id>`: only that one."""
    if not Message.objects.of(request.organization).filter(pk=message_id).exists():
        raise Http404
    recipient_id = _uuid(request.GET["recipient"]) if "recipient" in request.GET else None
    chosen = actions.recipients_of(request.organization, message_id, recipient_id)
    scheduled = actions.are_scheduled(chosen)
    if request.method == "POST":
        acted = actions.act_on_message(
            action, request.organization, message_id, by=actor_of(request), recipient_id=recipient_id
        )
        told = notice(action, acted, scheduled=scheduled)
        if request.htmx:
            detail = message_detail(request.organization, message_id)
            assert detail is not None
            return render_live(request, detail, told)
        _tell(request, told)
        return redirect("message", message_id)
    first = chosen.first()
    if first is None:
        raise Http404
    whom = first.address if recipient_id else "all recipients"
    words = words_for(action, scheduled=scheduled)
    context = {
        "words": words,
        "title": f"{words.question} {whom}?",
        "back": reverse("message", args=[message_id]),
        "back_label": "Message",
        "count": actions.count(action, chosen),
    }
    return render(request, "messages/act.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.ACT_ON_MAIL)
def act_on_matching(request: OrganizationRequest, action: Action) -> HttpResponse:
    """GET counts and asks, POST does. A long work is done in steps, each a request: the page asks for the next itself."""
    asked = Asked.read(request.GET)
    wanted = asked.recipients
    back = f"{reverse('messages')}?{asked.query}"
    if not asked.is_of_recipients:
        messages.warning(
            request,
            "Choose a state, a reason or an address first, and nothing else: actions apply to the recipients that match.",
        )
        return redirect(back)
    try:
        if request.method == "POST":
            return _step(request, action, wanted, back)
        with within(SEARCH_S):
            counted = actions.count(action, actions.matching(request.organization, wanted))
    except TookTooLong:
        messages.warning(request, TOO_LONG)
        return redirect(back)
    words = words_for(action, scheduled=wanted.state == RecipientState.SCHEDULED)
    context = {
        "words": words,
        "title": f"{words.question} {recipients(counted.possible, is_cut=counted.is_cut)}?",
        "whom": wanted.words,
        "back": back,
        "back_label": "Messages",
        "count": counted,
        "started": timezone.now().isoformat(),
    }
    return render(request, "messages/act.html", context)


def _step(request: OrganizationRequest, action: Action, wanted: RecipientFilter, back: str) -> HttpResponse:
    started = _moment(request.POST.get("started", ""))
    scheduled = wanted.state == RecipientState.SCHEDULED
    acted = actions.act_on_matching(action, request.organization, wanted, by=actor_of(request), started=started)
    done = acted.changed + _number(request.POST.get("done", ""))
    if acted.more:
        context = {
            "words": words_for(action, scheduled=scheduled),
            "title": f"{recipients(done).capitalize()} so far",
            "back": back,
            "back_label": "Messages",
            "done": done,
            "started": started.isoformat(),
        }
        return render(request, "messages/acting_live.html" if request.htmx else "messages/acting.html", context)
    _tell(request, notice(action, Acted(done, busy=acted.busy), scheduled=scheduled))
    return HttpResponseClientRedirect(back) if request.htmx else redirect(back)


def _tell(request: HttpRequest, told: Notice) -> None:
    (messages.success if told.is_good else messages.warning)(request, told.text)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


def _moment(text: str) -> datetime:
    """What the form carries from step to step; nonsense begins anew."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    return moment if moment and moment.tzinfo else timezone.now()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
