"""The operators' sidebar, in the order of a day's work."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import Organization

Entry = tuple[str, str, str]  # title, icon, model as in app.model, or app.model?query
SANDBOX = "Sandbox"  # the group that is there in sandbox mode only


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    first = {"title": "", "items": [{"title": "Dashboard", "icon": "monitoring", "link": reverse("admin:index")}]}
    return [first] + [
        {"title": title, "separator": True, "collapsible": False, "items": [_item(entry) for entry in entries]}
        for title, entries in _GROUPS
        if title != SANDBOX or settings.SANDBOX
    ]


@cache
def place_of(model: str) -> tuple[str, str] | None:
    """(group, title) of a model's list, as in `app.model`."""
    return next(((group, title) for group, entries in _GROUPS for title, _, where in entries if where == model), None)


_GROUPS: list[tuple[str, list[Entry]]] = [
    ("Customers", [
        ("Organizations", "apartment", "accounts.organization"),
        ("Review queue", "rule", "accounts.organization?review=waiting"),
        ("People", "person", "accounts.user"),
        ("Plans", "sell", "accounts.plan"),
        ("Audit log", "history", "accounts.auditentry"),
    ]),
    ("Mail", [
        ("Messages", "mail", "relay.message"),
        ("Recipients", "alternate_email", "relay.recipient"),
        ("Events", "timeline", "events.event"),
        ("What came back", "reply", "relay.returnedmessage"),
        ("Returns by day", "calendar_month", "relay.returncount"),
        ("Suppressions", "block", "relay.suppression"),
        ("Contents kept", "draft", "relay.content"),
    ]),
    ("Delivery", [
        ("Destinations", "alt_route", "relay.pauseddestination"),
        ("Exchangers in trouble", "warning", "relay.exchangergroup"),
        ("IP pools", "lan", "relay.ippool"),
        ("Pool assignments", "push_pin", "relay.poolassignment"),
        ("MTA-STS policies", "policy", "relay.mtastspolicy"),
    ]),
    ("Sending", [
        ("Domains", "dns", "domains.sendingdomain"),
        ("SMTP users", "badge", "domains.smtpuser"),
        ("API keys", "key", "accounts.apikey"),
        ("Webhooks", "webhook", "webhooks.webhookendpoint"),
        ("Webhook deliveries", "outbox", "webhooks.webhookdelivery"),
    ]),
    ("Platform", [
        ("Incidents", "campaign", "status.incident"),
        ("Components", "monitor_heart", "status.componentstate"),
        ("Feature settings", "toggle_on", "accounts.featuresetting"),
        ("Operators’ groups", "group", "auth.group"),
        ("Sessions", "devices", "usersessions.usersession"),
        ("Second factors", "lock", "mfa.authenticator"),
        ("Other sign-ins", "login", "socialaccount.socialaccount"),
        ("Email addresses", "contact_mail", "account.emailaddress"),
        ("Erasures", "delete_forever", "accounts.erasure"),
    ]),
    (SANDBOX, [
        ("DNS zone", "dns", "sandbox.zonerecord"),
        ("DNS faults", "bug_report", "sandbox.zonefault"),
        ("Inbox", "inbox", "sandbox.receivedmail"),
    ]),
]  # fmt: skip


_QUERIES = [where.partition("?")[2] for _, entries in _GROUPS for _, _, where in entries if "?" in where]


def _item(entry: Entry) -> dict[str, Any]:
    title, icon, where = entry
    model, _, query = where.partition("?")
    app, _, name = model.partition(".")
    url = reverse(f"admin:{app}_{name}_changelist")
    item: dict[str, Any] = {
        "title": title,
        "icon": icon,
        "link": f"{url}?{query}" if query else url,
        "permission": _may_see(app, name),
        "active": _is_here(url, query),
    }
    if query:
        item["badge"] = waiting_for_review
    return item


def _is_here(url: str, query: str) -> Callable[[HttpRequest], bool]:
    """The list with its query, or without one the list and its rows."""

    def is_here(request: HttpRequest) -> bool:
        asked = request.META.get("QUERY_STRING", "")
        if query:
            return request.path == url and query in asked
        return request.path.startswith(url) and not any(other in asked for other in _QUERIES)

    return is_here


def _may_see(app: str, name: str) -> Callable[[HttpRequest], bool]:
    return lambda request: bool(
        request.user.has_perm(f"{app}.view_{name}") or request.user.has_perm(f"{app}.change_{name}")
    )


def waiting_for_review(request: HttpRequest) -> str:
    """How many; by a partial index, and not beyond 99."""
    waiting = Organization.objects.filter(review_since__isnull=False).order_by()[:100].count()
    return "99+" if waiting > 99 else str(waiting or "")
