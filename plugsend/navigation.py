"""The pages that the sidebar and the command palette lead to: one table.

Who may not open a page is not led there: what it takes is read from its view (`accounts.http.member_required`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.urls import resolve, reverse

from accounts.models import Membership
from accounts.permissions import Permission

MAIL, SENDING, ORGANIZATION, SANDBOX, HELP, ACCOUNT = "Mail", "Sending", "Organization", "Sandbox", "Help", "Account"
DO = "Actions"


@dataclass(frozen=True, slots=True)
class Place:
    """`name`: of the address. `covers`: how names of the pages begin that belong to it. `words`: what else people call it.
    `args`: of the address."""

    name: str
    label: str
    icon: str
    group: str = ""
    covers: tuple[str, ...] = ()
    words: str = ""
    is_in_sidebar: bool = True
    args: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return reverse(self.name, args=self.args)

    def holds(self, view_name: str) -> bool:
        return view_name == self.name or any(view_name.startswith(beginning) for beginning in self.covers)


def _hidden(name: str, label: str, icon: str, group: str, words: str = "") -> Place:
    return Place(name, label, icon, group, words=words, is_in_sidebar=False)


PLACES = [
    Place("overview", "Overview", "layout-dashboard", words="home start dashboard checklist"),
    Place(
        "messages", "Messages", "mail", MAIL, ("message", "saved_filter", "timeline_"), "emails mail log queue search"
    ),
    Place(
        "statistics", "Statistics", "chart-column", MAIL, words="figures charts bounces rates deliverability analytics"
    ),
    Place(
        "suppressions", "Suppressions", "ban", MAIL, ("suppression", "soft_bounce"), "blocked addresses unsubscribed"
    ),
    Place("templates", "Templates", "file-text", SENDING, ("template",), "liquid layouts html"),
    Place("domains", "Domains", "globe", SENDING, ("domain", "dkim_"), "dns records dkim spf dmarc verification"),
    Place("smtp_users", "SMTP users", "at-sign", SENDING, ("smtp_user",), "credentials passwords login"),
    Place("api_keys", "API keys", "key-round", SENDING, ("api_key",), "tokens credentials secrets"),
    Place("webhooks", "Webhooks", "webhook", SENDING, ("webhook",), "events endpoints deliveries"),
    Place("members", "Members", "users-round", ORGANIZATION, ("member", "roles", "hand_over"), "team people roles"),
    Place("usage", "Usage", "gauge", ORGANIZATION, words="quota limits plan"),
    Place("audit_log", "Audit log", "scroll-text", ORGANIZATION, words="history changes who did"),
    Place(
        "settings", "Settings", "settings", ORGANIZATION, ("organization_delete", "require_second"), "organization name"
    ),
    Place("sandbox:inbox", "Inbox", "inbox", SANDBOX, ("sandbox:",), "sandbox mail arrived"),
    Place("docs", "Documentation", "book-open", HELP, ("docs", "error_"), "guides quick starts help"),
    Place("docs_page", "API reference", "braces", HELP, words="rest openapi", args=("api",)),
    Place("status", "Status", "activity", HELP, ("status_",), "health incidents uptime"),
    Place("error_index", "Error codes", "circle-question-mark", HELP, ("error_",), "refusals catalogue help"),
    _hidden("template_create", "Create a template", "plus", DO, "new"),
    _hidden("domain_add", "Add a domain", "plus", DO, "new sending domain verify"),
    _hidden("smtp_user_create", "Create an SMTP user", "plus", DO, "new password credentials"),
    _hidden("api_key_create", "Create an API key", "plus", DO, "new token"),
    _hidden("webhook_create", "Add a webhook", "plus", DO, "new endpoint"),
    _hidden("member_invite", "Invite a member", "user-round-plus", DO, "new person team"),
    _hidden("suppression_add", "Suppress an address", "plus", DO, "block"),
    _hidden("suppression_import", "Import suppressions", "upload", DO, "csv list"),
    _hidden("message_exports", "Exports", "download", MAIL, "csv download"),
    _hidden("timeline_links", "Shared timelines", "share-2", MAIL, "links"),
    _hidden("soft_bounce_rule", "Rule for soft bounces", "ban", MAIL, "suppress"),
    _hidden("roles", "Roles", "shield", ORGANIZATION, "permissions"),
    _hidden("organization_create", "New organization", "building-2", ORGANIZATION, "create"),
    _hidden("account_email", "Account", "user-round", ACCOUNT, "profile email address"),
    _hidden("account_change_password", "Password", "lock", ACCOUNT, "change"),
    _hidden("mfa_index", "Two-step verification", "shield-check", ACCOUNT, "2fa passkey authenticator recovery codes"),
    _hidden("usersessions_list", "Sessions", "monitor-smartphone", ACCOUNT, "devices signed in"),
]


def open_places(member: Membership | None) -> Iterator[Place]:
    """Those that the member may see."""
    for place in PLACES:
        if place.group == SANDBOX and not settings.SANDBOX:
            continue
        needed = _needed(place.url)
        if needed is None or (member is not None and member.may(needed)):
            yield place


@cache
def _needed(url: str) -> Permission | None:
    found = getattr(resolve(url).func, "permissions", None)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Entry:
    place: Place
    is_here: bool


def sidebar(member: Membership | None, view_name: str) -> dict[str, list[Entry]]:
    """By group, in order; of the page's own place it is told that its reader is there."""
    shown = [place for place in open_places(member) if place.is_in_sidebar]
    exactly = next((place for place in shown if place.name == view_name), None)
    here = exactly or next((place for place in shown if place.holds(view_name)), None)
    groups: dict[str, list[Entry]] = {}
    for place in shown:
        groups.setdefault(place.group, []).append(Entry(place, place is here))
    return groups
