"""The web shell: the overview with its checklist, and what probes ask for."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import RequestDataTooBig
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse

from accounts.http import OrganizationRequest, member_required
from accounts.models import Membership, Organization
from accounts.permissions import Permission
from domains.models import DomainStatus, SendingDomain, SmtpUser
from domains.trouble import troubles_of
from events.models import Event, EventType
from relay.models import Message
from relay.quotas import nearly_full
from relay.selectors import messages_page
from relay.statistics.alerts import open_alerts
from relay.statistics.reading import has_delivered

RECENT = 6
NEWEST_EVENTS = 100


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the checklist that leads from sign-up to the first delivered message."""

    title: str
    text: str
    url: str
    action: str  # empty where the reader's role does not permit it
    is_done: bool
    is_next: bool = False


@member_required(Permission.READ)
def overview(request: OrganizationRequest) -> HttpResponse:
    organization = request.organization
    smtp_user = (
        SmtpUser.objects.of(organization)
        .filter(disabled_at__isnull=True, domain__status=DomainStatus.VERIFIED)
        .select_related("domain")
        .order_by("-created_at")
        .first()
    )
    steps = checklist(organization, smtp_user, request.membership)
    done = sum(step.is_done for step in steps)
    page = messages_page(organization, limit=RECENT)
    troubles = troubles_of(organization)
    quotas_nearly_full = nearly_full(organization)
    alerts = open_alerts(organization)
    mark = f"{done}.{smtp_user is not None}.{len(troubles)}.{len(quotas_nearly_full)}.{len(alerts)}." + ".".join(
        f"{str(row.message.pk)[-6:]}{row.state}" for row in page.rows
    )
    if request.htmx and request.GET.get("seen") == mark:
        return HttpResponse(status=204)  # nothing to swap in: what the reader has focused stays
    context = {
        "mark": mark,
        "troubles": troubles,
        "quotas_nearly_full": quotas_nearly_full,
        "alerts": alerts,
        "steps": steps,
        "done": done,
        "all_done": done == len(steps),
        "smtp_user": smtp_user,
        "rows": page.rows,
        "moving": any(row.is_moving for row in page.rows),
        "domains": SendingDomain.objects.of(organization).order_by("name")[:5],
    }
    return render(request, "overview_live.html" if request.htmx else "overview.html", context)


def checklist(organization: Organization, smtp_user: SmtpUser | None, member: Membership) -> list[Step]:
    """What is done is read from the rows themselves, so the list cannot be out of step with them."""
    domains = SendingDomain.objects.of(organization)
    domain = domains.order_by("-status", "created_at").first()  # a verified one before one that waits
    verified = domain is not None and domain.is_verified
    message = Message.objects.of(organization).order_by("-id").first()
    steps = [
        Step(
            "Verify a domain",
            f"Publish the DNS records of {domain.display_name}." if domain and not verified
            else "Prove with DNS records that you may send from it.",
            reverse("domain", args=[domain.pk]) if domain else reverse("domain_add"),
            "Show DNS records" if domain else "Add domain" if member.may(Permission.MANAGE_DOMAINS) else "",
            verified,
        ),
        Step(
            "Create an SMTP user",
            "An address on your domain; its password is an API key.",
            reverse("smtp_user_create"),
            "Create SMTP user" if member.may(Permission.MANAGE_CREDENTIALS) else "",
            smtp_user is not None,
        ),
        Step(
            "Send your first message",
            "Over SMTP or REST: both doors lead to the same place.",
            reverse("smtp_user", args=[smtp_user.pk]) if smtp_user else reverse("smtp_user_create"),
            "Show settings and examples" if smtp_user or member.may(Permission.MANAGE_CREDENTIALS) else "",
            message is not None,
        ),
        Step(
            "See it delivered",
            "Its timeline shows every step up to the receiver's reply.",
            reverse("message", args=[message.pk]) if message else reverse("messages"),
            "Open the message" if message else "Open messages",
            _has_delivered(organization),
        ),
    ]  # fmt: skip
    first_open = next((index for index, step in enumerate(steps) if not step.is_done), None)
    if first_open is not None:
        step = steps[first_open]
        steps[first_open] = Step(step.title, step.text, step.url, step.action, step.is_done, is_next=True)
    return steps


def _has_delivered(organization: Organization) -> bool:
    """The log's end tells it at once, and what was counted tells of all before, however long that is."""
    newest = Event.objects.of(organization).order_by("-id").values_list("type", flat=True)[:NEWEST_EVENTS]
    return EventType.DELIVERED in newest or has_delivered(organization)


def favicon(request: HttpRequest) -> HttpResponse:
    """Where browsers look by themselves, such as from a preview."""
    return redirect(static("logo.svg"), permanent=False)


def not_understood(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to what Django finds suspicious: of what kind it is, and no more."""
    status = 413 if isinstance(exception, RequestDataTooBig) else 400
    return HttpResponse(render_to_string(f"{status}.html"), status=status)


def healthz(request: HttpRequest) -> HttpResponse:
    """Whether this process answers; touches nothing else."""
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """Whether the web door can do its work: the database answers and is migrated. The broker may come and go."""
    problems = {}
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            problems["database"] = "migrations are waiting"
    except Exception:
        problems["database"] = "does not answer"
    notes = {}
    try:
        cache.get("readyz")
    except Exception:
        notes["broker"] = "does not answer; mail is accepted and flows again when it does"
    body = {"status": "not ready" if problems else "ready", "mode": settings.MODE, "problems": problems, "notes": notes}
    return JsonResponse(body, status=503 if problems else 200)
