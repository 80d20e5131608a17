"""The page that members start at: what wants action, the way to the first delivered message, and today's mail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.db.models import F, Max
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.api_keys import is_live
from accounts.http import OrganizationRequest, member_required
from accounts.models import EXPIRY_WARNING, ApiKey, Membership, Organization
from accounts.permissions import Permission
from domains.models import DomainStatus, SendingDomain, SmtpUser
from domains.trouble import troubles_of
from events.models import Event, EventType
from relay.models import Message
from relay.quotas import nearly_full
from relay.reading.selectors import messages_page
from relay.statistics.alerts import open_alerts
from relay.statistics.charts import Chart, Series, bar_chart
from relay.statistics.reading import RANGES, Statistics, has_delivered, statistics
from relay.webhooks.models import EndpointState, WebhookEndpoint

RECENT = 6
NEWEST_EVENTS = 100
TROUBLES_MOST = 5


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the checklist. `form`: the template of what can be filled in on the spot."""

    title: str
    text: str
    is_done: bool
    url: str = ""
    action: str = ""  # empty where the reader's role does not permit it
    form: str = ""
    is_next: bool = False


@member_required(Permission.READ)
def overview(request: OrganizationRequest) -> HttpResponse:
    """Polled by htmx while something can come to pass; 204 says that nothing has."""
    organization, member = request.organization, request.membership
    smtp_user = (
        SmtpUser.objects.of(organization)
        .filter(disabled_at__isnull=True, domain__status=DomainStatus.VERIFIED)
        .select_related("domain")
        .annotate(used_at=Max("keys__api_key__last_used_at"))
        .order_by(F("used_at").desc(nulls_last=True), "-created_at")
        .first()
    )
    domains = list(SendingDomain.objects.of(organization).order_by("name")[:TROUBLES_MOST])
    steps = [] if member.checklist_put_away_at else checklist(organization, smtp_user, member)
    done = sum(step.is_done for step in steps)
    page = messages_page(organization, limit=RECENT)
    figures = statistics(organization, RANGES["24h"])
    context: dict[str, Any] = {
        "troubles": troubles_of(organization),
        "quotas_nearly_full": nearly_full(organization),
        "alerts": open_alerts(organization),
        "endpoints": _endpoints_in_trouble(organization),
        "keys": _keys_that_end(organization),
        "steps": steps,
        "done": done,
        "put_away": member.checklist_put_away_at is not None,
        "is_open": done < len(steps),
        "smtp_user": smtp_user,
        "rows": page.rows,
        "figures": figures.totals,
        "chart": _chart(figures),
        "domains": domains,
    }
    wanting = ("troubles", "quotas_nearly_full", "alerts", "endpoints", "keys")
    mark = ".".join(
        [
            str(done),
            str(smtp_user is not None),
            *(str(len(context[name])) for name in wanting),
            f"{figures.totals.submitted}-{figures.totals.ended}",
            *(f"{str(row.message.pk)[-6:]}{row.state}" for row in page.rows),
            *(f"{domain.status}" for domain in domains),
        ]
    )
    if request.htmx and request.GET.get("seen") == mark:
        return HttpResponse(status=204)  # nothing to swap in: what the reader has focused stays
    is_moving = any(row.is_moving for row in page.rows)
    context |= {"mark": mark, "every_s": 2 if is_moving or (steps and not page.rows) else 10}
    return render(request, "overview_live.html" if request.htmx else "overview.html", context)


@require_POST
@member_required(Permission.READ)
def put_checklist_away(request: OrganizationRequest) -> HttpResponse:
    """For this member; with `again` it comes back."""
    moment = None if "again" in request.POST else timezone.now()
    Membership.objects.of(request.organization).filter(pk=request.membership.pk).update(checklist_put_away_at=moment)
    return redirect("overview")


# ---- What wants action -----------------------------------------------------------------------------------------------


def _endpoints_in_trouble(organization: Organization) -> list[WebhookEndpoint]:
    endpoints = WebhookEndpoint.objects.of(organization).filter(state__in=[EndpointState.PAUSED, EndpointState.GONE])
    return list(endpoints.order_by("id")[:TROUBLES_MOST])


def _keys_that_end(organization: Organization) -> list[ApiKey]:
    """As `ApiKey.expires_soon` has it."""
    soon = timezone.now() + EXPIRY_WARNING
    keys = ApiKey.objects.of(organization).filter(is_live(), expires_at__lte=soon, replaced_by__isnull=True)
    return list(keys.order_by("expires_at")[:TROUBLES_MOST])


def _chart(told: Statistics) -> Chart:
    labels = [f"{point.starts_at:%H:%M}" for point in told.points]
    series = [
        Series("Delivered", "ok", [point.figures.delivered for point in told.points]),
        Series("Bounced", "bad", [point.figures.bounced for point in told.points]),
    ]
    return bar_chart("today", "Delivered and bounced", labels, series, lambda count: f"{count:,.0f}")


# ---- The checklist ---------------------------------------------------------------------------------------------------


def checklist(organization: Organization, smtp_user: SmtpUser | None, member: Membership) -> list[Step]:
    """What is done is read from the rows themselves, so the list cannot be out of step with them."""
    steps = [
        _domain_step(organization, member),
        _smtp_user_step(smtp_user, member),
        _message_step(organization, smtp_user, member),
        _webhook_step(organization, member),
    ]
    first_open = next((index for index, step in enumerate(steps) if not step.is_done), None)
    if first_open is not None:
        steps[first_open] = replace(steps[first_open], is_next=True)
    return steps


def _domain_step(organization: Organization, member: Membership) -> Step:
    title = "Verify a domain"
    domains = SendingDomain.objects.of(organization)
    domain = domains.order_by("-status", "created_at").first()  # a verified one before one that waits
    if domain:
        text = f"Publish the DNS records of {domain.display_name}; this list follows by itself."
        return Step(title, text, domain.is_verified, reverse("domain", args=[domain.pk]), "Show DNS records")
    form = "overview/add_domain.html" if member.may(Permission.MANAGE_DOMAINS) else ""
    return Step(title, "Prove with DNS records that you may send from it.", False, form=form)


def _smtp_user_step(smtp_user: SmtpUser | None, member: Membership) -> Step:
    form = "overview/create_smtp_user.html" if member.may(Permission.MANAGE_CREDENTIALS) else ""
    text = "An address on your domain; its password is an API key."
    return Step("Create an SMTP user", text, smtp_user is not None, form=form)


def _message_step(organization: Organization, smtp_user: SmtpUser | None, member: Membership) -> Step:
    title = "Deliver your first message"
    message = Message.objects.of(organization).order_by("-id").first()
    if message:
        text = "It is with us. Its timeline shows every step up to the receiver’s reply."
        done = _has_delivered(organization)
        return Step(title, text, done, reverse("message", args=[message.pk]), "Open the message")
    text = "Over SMTP or REST: both doors lead to the same place."
    if smtp_user:
        return Step(title, text, False, "#send", "Show examples")
    return Step(title, text, False)


def _webhook_step(organization: Organization, member: Membership) -> Step:
    form = "overview/add_webhook.html" if member.may(Permission.MANAGE_WEBHOOKS) else ""
    has_one = WebhookEndpoint.objects.of(organization).exists()
    return Step("Hear of events by a webhook", "Your program learns of each delivery and bounce.", has_one, form=form)


def _has_delivered(organization: Organization) -> bool:
    """The log's end tells it at once, and what was counted tells of all before, however long that is."""
    newest = Event.objects.of(organization).order_by("-id").values_list("type", flat=True)[:NEWEST_EVENTS]
    return EventType.DELIVERED in newest or has_delivered(organization)
