"""Pages about webhooks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from hashlib import blake2b
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.http import OrganizationRequest, member_required
from accounts.ids import first_id_at
from accounts.permissions import Permission
from domains.models import SendingDomain
from relay.reading.list_views import page_key
from relay.webhooks import endpoints, replays
from relay.webhooks.forms import SPANS, EndpointForm, ReplayForm, RotateForm, initial_of
from relay.webhooks.models import DeliveryState, EndpointState, WebhookDelivery, WebhookEndpoint
from relay.webhooks.payload import NAMES, TEST, TYPES, meaning_of

PAGE_SIZE = 25
POLL_OFTEN_S, POLL_SELDOM_S = 2, 5
SOON_S = 20


@member_required(Permission.READ)
def webhook_list(request: OrganizationRequest) -> HttpResponse:
    found = WebhookEndpoint.objects.of(request.organization).order_by("id")
    domains = _domain_names(request)
    rows = [{"endpoint": one, "names": _names(one), "domain": domains.get(one.domain_id)} for one in found]
    mark = _mark(*((one.pk, *_standing(one)) for one in found))
    if request.htmx and request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    words = [(name, meaning_of(name)) for name in TYPES]
    context = {"rows": rows, "words": words, "mark": mark}
    return render(request, "webhooks/list_live.html" if request.htmx and rows else "webhooks/list.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_create(request: OrganizationRequest) -> HttpResponse:
    form = EndpointForm(request.organization, request.POST or None)
    if request.method == "POST" and form.is_valid():
        changes = form.changes()
        try:
            endpoint = endpoints.create_endpoint(
                request.organization, changes.pop("url"), **changes, by=actor_of(request)
            )
        except Refused as refused:
            _tell(form, refused)
        else:
            messages.success(request, "Events are sent there from now on. Its signing secret is on this page.")
            return redirect("webhook", endpoint.pk)
    return render(request, "webhooks/edit.html", {"form": form})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_change(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = _find(request, endpoint_id)
    form = EndpointForm(request.organization, request.POST or None, initial=initial_of(endpoint))
    if request.method == "POST" and form.is_valid():
        try:
            endpoints.change_endpoint(endpoint, form.changes(), by=actor_of(request))
        except Refused as refused:
            _tell(form, refused)
        else:
            messages.success(request, "Saved. It holds from now on, also for what is tried again.")
            return redirect("webhook", endpoint.pk)
    return render(request, "webhooks/edit.html", {"form": form, "endpoint": endpoint})


@never_cache
@require_http_methods(["GET", "POST"])
@member_required(Permission.READ, to_change=Permission.MANAGE_WEBHOOKS)
def webhook_page(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    """One endpoint with its deliveries, the newest first; POST shows its signing secret.

    The first page is polled by htmx, with a mark of what it shows: of the state, of how it fares, and of its deliveries.
    """
    endpoint = _find(request, endpoint_id)
    asked = _asked(request)
    rows = WebhookDelivery.objects.of(request.organization).filter(endpoint_id=endpoint.pk).defer("body", "log")
    if asked["state"]:
        rows = rows.filter(state=asked["state"])
    if asked["type"]:
        rows = rows.filter(type=asked["type"])
    if asked["hours"]:
        rows = rows.filter(id__gte=first_id_at(timezone.now() - timedelta(hours=int(asked["hours"]))))
    before = page_key(request.GET.get("before", ""))
    if before:
        rows = rows.filter(id__lt=before)
    page = list(rows.order_by("-id")[: PAGE_SIZE + 1])
    replay = endpoint.replays.order_by("-id").first()
    of_rows = [(one.pk, one.state, one.attempts, one.last_status, one.next_attempt_at) for one in page]
    marks = [
        _mark(endpoint.state),
        _mark(_standing(endpoint)),
        _mark(of_rows, replay and (replay.pk, replay.replayed, replay.ended_at)),
    ]
    mark = ".".join(marks)
    seen = request.GET.get("seen", "")
    if request.htmx and seen == mark:
        return HttpResponse(status=204)  # nothing to swap in: what the reader has focused stays
    seen_state, seen_standing, _ = [*seen.split("."), "", "", ""][:3]
    context = {
        "endpoint": endpoint,
        "mark": mark,
        "renews_acts": seen_state != marks[0],
        "renews_standing": seen_standing != marks[1],
        "poll_s": 0 if before else _poll_s(page, and_events=endpoint.collects),
        "names": _names(endpoint),
        "domain": _domain_names(request).get(endpoint.domain_id),
        "secret": endpoints.reveal_secret(endpoint, by=actor_of(request)) if request.method == "POST" else None,
        "former_signs": len(endpoints.secrets_of(endpoint)) > 1,
        "rows": page[:PAGE_SIZE],
        "next": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE else None,
        "before": before,
        "asked": asked,
        "query": urlencode({name: value for name, value in asked.items() if value}),
        "states": DeliveryState.choices,
        "spans": SPANS.items(),
        "types": [*sorted(TYPES), TEST],
        "replay": replay,
    }
    return render(request, "webhooks/webhook_live.html" if request.htmx else "webhooks/webhook.html", context)


@never_cache
@member_required(Permission.READ)
def webhook_delivery(request: OrganizationRequest, webhook_delivery_id: UUID) -> HttpResponse:
    """What was sent, and what each attempt was answered. Polled by htmx until it has ended; 204 says that nothing is new."""
    delivery = _find_delivery(request, webhook_delivery_id)
    endpoint = WebhookEndpoint.objects.of(request.organization).filter(pk=delivery.endpoint_id).first()
    mark = _mark(delivery.state, len(delivery.log), delivery.next_attempt_at, endpoint and endpoint.state)
    if request.htmx and request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    context = {
        "delivery": delivery,
        "endpoint": endpoint,
        "mark": mark,
        "poll_s": _poll_s([delivery]),
        "body": json.dumps(json.loads(delivery.body), indent=2, ensure_ascii=False),
        "log": list(reversed(delivery.log)),
    }
    return render(request, "webhooks/delivery_live.html" if request.htmx else "webhooks/delivery.html", context)


@require_POST
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_test(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = _find(request, endpoint_id)
    try:
        delivery = endpoints.send_test(endpoint, by=actor_of(request))
    except Refused as refused:
        messages.error(request, refused.detail)
        return redirect("webhook", endpoint.pk)
    messages.success(request, "A test is on its way. Its answer appears on this page.")
    return redirect("webhook_delivery", delivery.pk)


@require_POST
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_delivery_replay(request: OrganizationRequest, webhook_delivery_id: UUID) -> HttpResponse:
    delivery = _find_delivery(request, webhook_delivery_id)
    try:
        delivery = replays.replay(delivery, by=actor_of(request))
    except Refused as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, "It is sent again. Its answer appears on this page.")
    return redirect("webhook_delivery", delivery.pk)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_replay(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    """GET asks, and counts what the terms find; POST does."""
    endpoint = _find(request, endpoint_id)
    given = request.POST if request.method == "POST" else request.GET if "hours" in request.GET else None
    form = ReplayForm(given)
    number = None
    if form.is_bound and form.is_valid():
        terms = form.terms()
        if request.method == "POST":
            try:
                replays.request_replay(endpoint, **terms, by=actor_of(request))
            except Refused as refused:
                form.add_error(None, f"{refused.detail} {refused.refusal.advice}")
            else:
                messages.success(request, "They are being sent again, the oldest first.")
                return redirect("webhook", endpoint.pk)
        else:
            since, now = first_id_at(terms.pop("since")), first_id_at(timezone.now())
            found = replays.found_by(endpoint, since=since, until=now, **terms)
            number = found[: replays.REPLAYED_MOST + 1].count()
    context = {"endpoint": endpoint, "form": form, "number": number, "most": replays.REPLAYED_MOST}
    return render(request, "webhooks/replay.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_rotate(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = _find(request, endpoint_id)
    form = RotateForm(request.POST or None, initial={"keep": "24"})
    if request.method == "POST" and form.is_valid():
        endpoints.rotate_secret(endpoint, keep_former=form.keep_former(), by=actor_of(request))
        messages.success(request, "There is a new signing secret. Show it on this page, and give it to your program.")
        return redirect("webhook", endpoint.pk)
    return render(request, "webhooks/rotate.html", {"endpoint": endpoint, "form": form})


@require_POST
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_enable(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = _find(request, endpoint_id)
    was_paused = endpoint.state == EndpointState.PAUSED
    endpoints.enable(endpoint, by=actor_of(request))
    text = "Resumed: what was collected is sent now." if was_paused else "Enabled: events are sent from now on."
    messages.success(request, text)
    return redirect("webhook", endpoint.pk)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_disable(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    endpoint = _find(request, endpoint_id)
    if request.method == "POST":
        endpoints.disable(endpoint, by=actor_of(request))
        messages.success(request, "Disabled: nothing is sent there, and events are not collected.")
        return redirect("webhook", endpoint.pk)
    return render(request, "webhooks/disable.html", {"endpoint": endpoint})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_WEBHOOKS)
def webhook_remove(request: OrganizationRequest, endpoint_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    endpoint = _find(request, endpoint_id)
    if request.method == "POST":
        endpoints.remove_endpoint(endpoint, by=actor_of(request))
        messages.success(request, f"{endpoint.url} is removed.")
        return redirect("webhooks")
    return render(request, "webhooks/remove.html", {"endpoint": endpoint})


def _find(request: OrganizationRequest, endpoint_id: UUID) -> WebhookEndpoint:
    return get_object_or_404(WebhookEndpoint.objects.of(request.organization), pk=endpoint_id)


def _find_delivery(request: OrganizationRequest, delivery_id: UUID) -> WebhookDelivery:
    return get_object_or_404(WebhookDelivery.objects.of(request.organization), pk=delivery_id)


def _names(endpoint: WebhookEndpoint) -> list[str]:
    return [NAMES[one] for one in endpoint.event_types]


def _standing(endpoint: WebhookEndpoint) -> tuple[object, ...]:
    """What changes by itself of how an endpoint is shown."""
    return endpoint.state, endpoint.failures, endpoint.last_attempt_at, endpoint.last_result


def _mark(*shown: object) -> str:
    """Short, and another whenever something of it is."""
    return blake2b(repr(shown).encode(), digest_size=8).hexdigest()


def _poll_s(deliveries: Sequence[WebhookDelivery], *, and_events: bool = False) -> int:
    """How often to look: often while something is due within seconds, seldom while it waits, 0 when nothing can come."""
    soon = timezone.now() + timedelta(seconds=SOON_S)
    open_ = [one.next_attempt_at for one in deliveries if one.next_attempt_at]
    if open_ and min(open_) <= soon:
        return POLL_OFTEN_S
    return POLL_SELDOM_S if open_ or and_events else 0


def _domain_names(request: OrganizationRequest) -> dict[UUID | None, str]:
    return dict(SendingDomain.objects.of(request.organization).values_list("pk", "name"))


def _asked(request: OrganizationRequest) -> dict[str, str]:
    """The filter of the list of deliveries: what is not known is left out."""
    known = {"state": DeliveryState.values, "type": [*TYPES, TEST], "hours": list(SPANS)}
    return {
        name: request.GET.get(name, "") if request.GET.get(name) in values else "" for name, values in known.items()
    }


def _tell(form: EndpointForm, refused: Refused) -> None:
    field = "url" if refused.code == "webhook_url_invalid" else None
    form.add_error(field, f"{refused.detail} {refused.refusal.advice}")
