"""Whatever changes something leaves an entry in the audit log: each page, REST operation, and act in the operators' admin.

What there is to try is read from the addresses, the OpenAPI document and the admin's registry. A new page, operation or admin
fails here until it has a line that tries it, or one that says why it leaves no entry.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.forms import MultiWidget
from django.http import HttpRequest
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from accounts.admin_audit import AuditedAdmin
from accounts.api_keys import create_api_key
from accounts.deletion import request_deletion
from accounts.models import ApiKey, AuditEntry, Membership, Organization, Plan, User
from domains import looking, smtp_users
from domains.dkim import requests as dkim_requests
from domains.models import DkimKeyState, RecordStatus, SendingDomain, SmtpUser
from plugsend.api_docs import document
from relay import templates
from relay.finding.asked import Asked
from relay.finding.exporting import request_export, work_on_exports
from relay.finding.saved_filters import save_filter
from relay.models import (
    ExchangerGroup,
    IpPool,
    Message,
    MessageExport,
    PoolAssignment,
    Recipient,
    SavedFilter,
    Suppression,
    SuppressionImport,
    Template,
    TimelineLink,
)
from relay.reading.timeline_links import share
from relay.sandbox.models import ZoneFault, ZoneRecord
from relay.suppressing.importing import request_import
from relay.suppressing.suppressions import suppress
from relay.templates import TemplateContent
from relay.webhooks import endpoints
from relay.webhooks.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from tests.factories import PASSWORD, Tenant, make_domain, make_message, make_smtp_user, make_tenant
from tests.rest import Api

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """An organization with one of everything."""

    tenant: Tenant
    api: Api
    domain: SendingDomain
    smtp_user: SmtpUser
    key: ApiKey  # the SMTP user's second one
    api_key: ApiKey
    suppression: Suppression
    message: Message  # waits for its next try
    held: Message
    scheduled: Message
    template: Template
    link: TimelineLink
    saved_filter: SavedFilter
    export: MessageExport
    suppression_import: SuppressionImport
    webhook: WebhookEndpoint
    webhook_delivery: WebhookDelivery

    def ids(self) -> dict[str, Any]:
        """By the name that an address has for it."""
        return {
            "domain_id": self.domain.pk, "smtp_user_id": self.smtp_user.pk, "key_id": self.key.pk, "number": 1,
            "suppression_id": self.suppression.pk, "which": self.suppression.pk, "message_id": self.message.pk,
            "api_key_id": self.api_key.pk, "reference": self.template.pk, "code": "not_found", "action": "hold",
            "mail_id": UUID(int=1), "member_id": UUID(int=1), "invitation_id": UUID(int=1), "secret": "x",
            "saved_filter_id": self.saved_filter.pk, "message_export_id": self.export.pk,
            "organization_id": self.tenant.organization.pk, "zone": "acme.test", "provider_id": "plugsend.test",
            "service_id": "sending", "timeline_link_id": self.link.pk, "attachment_id": UUID(int=1),
            "incident_id": UUID(int=1),
            "suppression_import_id": self.suppression_import.pk, "token": "x",
            "path": "images/message.png", "slug": "smtp", "tag": "emails",
            "endpoint_id": self.webhook.pk, "webhook_delivery_id": self.webhook_delivery.pk,
            "event_id": self.webhook_delivery.pk, "template_id": self.template.pk,
        }  # fmt: skip


@pytest.fixture
def world() -> World:
    tenant = make_tenant()
    organization = tenant.organization
    domain = make_domain(organization)
    domain.records.filter(dkim_key__state=DkimKeyState.WAITING).update(status=RecordStatus.FOUND)
    domain.dkim_keys.update(seen_at=timezone.now())
    smtp_user = make_smtp_user(domain)
    message = make_message(domain, state="deferred")
    webhook = endpoints.create_endpoint(organization, "https://hooks.example/")
    return World(
        tenant=tenant,
        api=Api(create_api_key(organization, "Tests", ["full"], created_by=tenant.user).api_key),
        domain=domain,
        smtp_user=smtp_user,
        key=smtp_users.add_key(smtp_user, "Second").api_key,
        api_key=create_api_key(organization, "Shop").api_key,
        suppression=suppress(organization, "gone@inbox.test")[0],
        message=message,
        held=make_message(domain, to="held@inbox.test", state="held"),
        scheduled=make_message(domain, to="later@inbox.test", state="scheduled"),
        template=templates.create_template(organization, "Receipt", TemplateContent(subject="Hello", text="Hello")),
        link=share(Recipient.objects.get(message_id=message.pk), timedelta(days=1)).link,
        saved_filter=save_filter(organization, "Deferred", Asked.parse("state=deferred")),
        export=request_export(organization, Asked(), "csv"),
        suppression_import=request_import(organization, "list.csv", [b"ada@inbox.test\n"]),
        webhook=webhook,
        webhook_delivery=endpoints.send_test(webhook),
    )


class Noted:
    """The entries that are written within the block; they are the organization's."""

    def __enter__(self) -> Noted:
        self._there = set(AuditEntry.objects.values_list("pk", flat=True))
        return self

    def __exit__(self, *_: object) -> None:
        self.entries = list(AuditEntry.objects.exclude(pk__in=self._there).order_by("id"))

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in self.entries]


# ---- Pages -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """What to send, what stands in the log after it, and what must be so before."""

    sent: dict[str, Any] | Callable[[World], dict[str, Any]]
    action: str
    before: Callable[[World], object] = lambda world: None
    ids: Callable[[World], dict[str, Any]] = lambda world: {}
    query: str = ""


def _wait_for_rotation(world: World) -> None:
    world.domain.dkim_keys.update(seen_at=None)
    world.domain.records.filter(dkim_key__state=DkimKeyState.WAITING).update(status=RecordStatus.MISSING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looking, "check_again", lambda domain, **_: domain)
        dkim_requests.rotate(world.domain)


def _export_to_the_end(world: World) -> None:
    assert not work_on_exports(30)


def _settings(world: World) -> dict[str, Any]:
    form = world.tenant.client.get("/settings/").context["form"]
    return {name: value for name in form.fields if (value := form[name].value())} | {"name": "Acme Ltd"}


def _api_key(world: World) -> dict[str, Any]:
    return {"key_id": world.api_key.pk}


def _webhook_failed(world: World) -> None:
    ended = {"state": DeliveryState.FAILED, "next_attempt_at": None, "cause": "event"}
    WebhookDelivery.objects.filter(pk=world.webhook_delivery.pk).update(**ended)


def _show_who_it_is(world: World) -> None:
    world.tenant.client.post("/accounts/reauthenticate/", {"password": PASSWORD})


MEMBERS = "has entries, which tests/test_members.py reads"
PAGES = {
    "settings": Act(_settings, "organization.changed"),
    "audit_log_export": Act({"format": "csv"}, "audit_log.exported"),
    "organization_create": Act({"name": "Second"}, "organization.created"),
    "organization_delete": Act({"name": "Acme"}, "organization.deletion_requested", before=_show_who_it_is),
    "organization_delete_undo": Act(
        {}, "organization.deletion_undone", before=lambda world: request_deletion(world.tenant.organization)
    ),
    "domain_add": Act({"name": "new.test"}, "domain.added"),
    "domain_subdomains": Act({"allow": "on"}, "domain.changed"),
    "domain_remove": Act({}, "domain.removed"),
    "dkim_rotate": Act({}, "domain.dkim_rotated"),
    "dkim_withdraw": Act({}, "domain.dkim_rotation_withdrawn", before=_wait_for_rotation),
    "dkim_schedule": Act({"days": "180"}, "domain.dkim_schedule_changed"),
    "smtp_user_create": Act(
        lambda world: {"domain": world.domain.pk, "local_part": "shop"}, "smtp_user.created"
    ),
    "smtp_user_password": Act({"keep_old_hours": "0"}, "smtp_user.password_replaced"),
    "smtp_user_limits": Act({"hourly_limit": "7"}, "smtp_user.changed"),
    "smtp_user_key_add": Act({"name": "Third"}, "smtp_user.key_added"),
    "smtp_user_key_revoke": Act({}, "smtp_user.key_revoked"),
    "smtp_user_disable": Act({}, "smtp_user.disabled"),
    "smtp_user_enable": Act(
        {}, "smtp_user.enabled", before=lambda world: smtp_users.disable_smtp_user(world.smtp_user)
    ),
    "smtp_user_remove": Act({}, "smtp_user.removed"),
    "saved_filter_save": Act({"name": "Bounces", "query": "state=bounced"}, "saved_filter.added"),
    "saved_filter_remove": Act({}, "saved_filter.removed"),
    "message_export_start": Act(
        {"format": "csv"}, "message_export.requested", before=lambda world: world.export.delete()
    ),
    "message_export_download": Act({}, "message_export.downloaded", before=_export_to_the_end),
    "message_export_end": Act({}, "message_export.cancelled"),
    "messages_act": Act({}, "message.held", query="?state=deferred"),
    "message_act": Act({}, "message.held"),
    "timeline_share": Act({"good_for": "1d"}, "timeline_link.created"),
    "timeline_link_revoke": Act({}, "timeline_link.revoked"),
    "suppression_add": Act({"address": "ada@inbox.test"}, "suppression.added"),
    "suppression_remove": Act({}, "suppression.removed"),
    "suppression_export": Act(
        {"format": "csv"}, "message_export.requested", before=lambda world: world.export.delete()
    ),
    "suppression_import": Act(
        lambda world: {"file": SimpleUploadedFile("list.csv", b"ada@inbox.test")}, "suppression_import.requested",
        before=lambda world: world.suppression_import.delete(),
    ),
    "suppression_import_cancel": Act({}, "suppression_import.cancelled"),
    "soft_bounce_rule": Act({"messages": "3", "days": "1"}, "soft_bounce_rule.changed"),
    "template_create": Act({"start": "receipt", "name": "Receipt for shops"}, "template.created"),
    "template": Act({"name": "Bill", "subject": "Hello", "text": "Hello"}, "template.changed"),
    "template_duplicate": Act({}, "template.created"),
    "template_remove": Act({}, "template.deleted"),
    "template_version": Act({}, "template.changed"),
    "api_key_create": Act({"name": "Kiosk", "scopes": ["send"], "expiry": "never"}, "api_key.created"),
    "api_key_change": Act({"name": "Kiosk"}, "api_key.renamed", ids=_api_key),
    "api_key_rotate": Act({"keep_old_hours": "0", "ends": "never"}, "api_key.rotated", ids=_api_key),
    "api_key_revoke": Act({}, "api_key.revoked", ids=_api_key),
    "webhook_create": Act({"url": "https://other.example/"}, "webhook.created"),
    "webhook": Act({}, "webhook.secret_revealed"),
    "webhook_change": Act({"url": "https://other.example/"}, "webhook.changed"),
    "webhook_test": Act({}, "webhook.tested"),
    "webhook_rotate": Act({"keep": "24"}, "webhook.secret_rotated"),
    "webhook_enable": Act({}, "webhook.enabled", before=lambda world: endpoints.disable(world.webhook)),
    "webhook_disable": Act({}, "webhook.disabled"),
    "webhook_remove": Act({}, "webhook.removed"),
    "webhook_replay": Act({"hours": "1", "state": "failed"}, "webhook.replay_requested", before=_webhook_failed),
    "webhook_delivery_replay": Act({}, "webhook.replayed"),
}  # fmt: skip
PAGES_WITHOUT_ENTRY = {
    "member_invite": MEMBERS,
    "member_leave": MEMBERS,
    "member_role": MEMBERS,
    "member_remove": MEMBERS,
    "hand_over": MEMBERS,
    "invitation": MEMBERS,
    "invitation_resend": MEMBERS,
    "invitation_revoke": MEMBERS,
    "require_second_factor": MEMBERS,
    "account_delete": "leaves an entry in each organization, which tests/test_deletion.py reads",
    "try_send": "mail has its own log: the events",
    "unsubscribe": "a recipient's act, which leaves the entries that tests/test_unsubscribing.py reads",
    "look_end": "of operators who look as an organization; tried with the admin",
    "template_preview": "changes nothing",
    "template_test": "a mail, which the log of events tells of; its entry is read in tests/test_template_pages.py",
    "organization_open": "changes nothing but the session",
    "appearance": "changes nothing but a cookie",
    "checklist_put_away": "how a member's own overview looks",
    "docs_reader": "changes nothing but the session",
    "domain_check": "a look at DNS; what follows from it is noted by the look",
    "publish": "changes the sandbox's DNS, which is nobody's",
    "withdraw": "changes the sandbox's DNS, which is nobody's",
    "dns_host_apply": "changes the sandbox's DNS, which is nobody's",
}
NO_CONCERN = {
    "django_session", "accounts_idempotentanswer", "usersessions_usersession",
    "accounts_membership",  # when its member was last seen; what else changes it is in PAGES
}  # fmt: skip


def _pages(patterns: list[Any], route: str = "") -> Iterator[tuple[str, Any]]:
    """(name, view) of everything but REST, the admin and sign-in, whose entries are of people without an organization."""
    for pattern in patterns:
        here = route + str(pattern.pattern)
        if here.startswith(("admin/", "api/v1/", "accounts/")):
            continue
        if hasattr(pattern, "url_patterns"):
            yield from _pages(pattern.url_patterns, here)
        elif pattern.name:
            yield pattern.name, pattern


EVERY_PAGE = dict(_pages(get_resolver().url_patterns))


def _address(name: str, ids: dict[str, Any]) -> str:
    wanted = EVERY_PAGE[name].pattern.converters
    space = "sandbox:" if name in {"inbox", "mail", "mail_html", "mail_raw", "publish", "withdraw"} else ""
    space = "sandbox:" if name.startswith("dns_host") else space
    return reverse(space + name, kwargs={key: ids[key] for key in wanted})


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_does_is_noted(name: str, world: World) -> None:
    act = PAGES[name]
    act.before(world)
    sent = act.sent(world) if callable(act.sent) else act.sent
    with Noted() as noted:
        answer = world.tenant.client.post(_address(name, world.ids() | act.ids(world)) + act.query, sent)
    assert answer.status_code in {200, 302}
    assert act.action in noted.actions
    assert {(entry.actor_kind, entry.actor_id) for entry in noted.entries} == {("user", world.tenant.user.pk)}


def test_each_page_that_takes_a_form_is_tried_here() -> None:
    taking = {
        name for name, pattern in EVERY_PAGE.items() if "POST" in inspect.getsource(inspect.unwrap(pattern.callback))
    }
    assert taking == PAGES.keys() | PAGES_WITHOUT_ENTRY.keys()


def test_no_other_page_writes_anything(world: World, settings: Any) -> None:
    settings.SANDBOX = True
    for name in EVERY_PAGE.keys() - PAGES.keys() - PAGES_WITHOUT_ENTRY.keys():
        for method in ("get", "post"):
            before = _written()
            getattr(world.tenant.client, method)(_address(name, world.ids()), {"name": "x"})
            assert _written() == before, (method, name)


def _written() -> dict[str, int]:
    """Rows written in this test's transaction, by table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables")
        return {table: rows for table, rows in cursor.fetchall() if rows and table not in NO_CONCERN}


# ---- REST ------------------------------------------------------------------------------------------------------------

_CONTENT = {"name": "Other", "subject": "Hello", "text": "Hello"}
OPERATIONS = {
    "domains_create": Act({"name": "new.test"}, "domain.added"),
    "domains_update": Act({"allow_subdomains": True}, "domain.changed"),
    "domains_delete": Act({}, "domain.removed"),
    "domains_rotate_dkim": Act({}, "domain.dkim_rotated"),
    "domains_withdraw_dkim_rotation": Act({}, "domain.dkim_rotation_withdrawn", before=_wait_for_rotation),
    "emails_reschedule": Act(
        {"scheduled_at": "in 2 hours"}, "message.rescheduled", ids=lambda world: {"message_id": world.scheduled.pk}
    ),
    "emails_cancel": Act({}, "message.cancelled"),
    "emails_hold": Act({}, "message.held"),
    "emails_release": Act({}, "message.released", ids=lambda world: {"message_id": world.held.pk}),
    "emails_retry": Act({}, "message.retried"),
    "email_timeline_links_create": Act({"good_for": "7d"}, "timeline_link.created"),
    "email_timeline_links_revoke": Act({}, "timeline_link.revoked"),
    "smtp_users_create": Act({"address": "shop@acme.test"}, "smtp_user.created"),
    "smtp_users_update": Act({"hourly_limit": 7}, "smtp_user.changed"),
    "smtp_users_delete": Act({}, "smtp_user.removed"),
    "smtp_users_disable": Act({}, "smtp_user.disabled"),
    "smtp_users_enable": PAGES["smtp_user_enable"],
    "smtp_users_add_key": Act({"name": "Third"}, "smtp_user.key_added"),
    "smtp_users_revoke_key": Act({}, "smtp_user.key_revoked"),
    "smtp_users_replace_password": Act({}, "smtp_user.password_replaced"),
    "suppressions_add": Act({"email": "ada@inbox.test"}, "suppression.added"),
    "suppressions_remove": Act({}, "suppression.removed"),
    "suppressions_batch_add": Act({"emails": ["a@inbox.test", "b@inbox.test"]}, "suppression.added"),
    "suppressions_batch_remove": Act({"emails": ["gone@inbox.test"]}, "suppression.removed"),
    "templates_create": Act(_CONTENT, "template.created"),
    "templates_update": Act({"subject": "Good day"}, "template.changed"),
    "templates_remove": Act({}, "template.deleted"),
    "templates_duplicate": Act({}, "template.created"),
    "templates_publish": Act({}, "template.published"),
    "api_keys_create": Act({"name": "Kiosk"}, "api_key.created"),
    "api_keys_update": Act({"name": "Kiosk"}, "api_key.renamed"),
    "api_keys_rotate": Act({"keep_old_hours": 1}, "api_key.rotated"),
    "api_keys_delete": Act({}, "api_key.revoked"),
    "webhooks_create": Act({"endpoint": "https://other.example/"}, "webhook.created"),
    "webhooks_update": Act({"status": "disabled"}, "webhook.disabled"),
    "webhooks_delete": Act({}, "webhook.removed"),
    "webhooks_rotate": Act({}, "webhook.secret_rotated"),
    "webhooks_test": Act({}, "webhook.tested"),
    "webhooks_replay": Act({"since": "2026-01-01T00:00:00Z"}, "webhook.replay_requested", before=_webhook_failed),
    "webhooks_events_replay": Act({}, "webhook.replayed"),
}
OPERATIONS_WITHOUT_ENTRY = {
    "emails_send": "mail has its own log: the events",
    "emails_batch": "mail has its own log: the events",
    "domains_verify": "a look at DNS; what follows from it is noted by the look",
    "templates_render": "changes nothing",
    "api_keys_report_leak": "a stranger's; its entry is read in tests/test_api_keys.py",
}
EVERY_OPERATION = {
    operation["operationId"]: (method, path.removeprefix("/api/v1/"))
    for path, operations in json.loads(document())["paths"].items()
    for method, operation in operations.items()
    if method in {"post", "put", "patch", "delete"}
}


def test_each_operation_that_changes_something_is_tried_here() -> None:
    assert EVERY_OPERATION.keys() == OPERATIONS.keys() | OPERATIONS_WITHOUT_ENTRY.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_an_operation_does_is_noted(name: str, world: World) -> None:
    act = OPERATIONS[name]
    act.before(world)
    method, path = EVERY_OPERATION[name]
    with Noted() as noted:
        answer = world.api.call(method, path.format_map(world.ids() | act.ids(world)), act.sent or None)
    assert answer.status_code < 300, answer.content
    assert act.action in noted.actions
    actors = {(entry.actor_kind, entry.actor_id, entry.actor_name) for entry in noted.entries}
    assert actors == {("api_key", world.api.api_key.pk, "Tests")}


# ---- The operators' admin --------------------------------------------------------------------------------------------

# Of no organization: Django's own log has what is done to them.
WITHOUT_ORGANIZATION = {Group, IpPool, ExchangerGroup, ZoneFault, ZoneRecord}


@pytest.fixture
def operator() -> Client:
    client = Client(REMOTE_ADDR="192.0.2.99")
    client.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    return client


def _url(row: Any, view: str, *args: object) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{view}", args=args)


def _save(operator: Client, row: Any, **changes: Any) -> None:
    """The change form as it is, but for these fields."""
    url = _url(row, "change", row.pk)
    page = operator.get(url)
    sent: dict[str, Any] = {}
    forms = [page.context["adminform"].form]
    for inline in page.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for field in form:
            value = field.value()
            if value not in (None, False) and not isinstance(field.field.widget, MultiWidget):
                sent[field.html_name] = value
    answer = operator.post(url, sent | changes)
    assert answer.status_code == 302, answer.context["errors"]


def _on_page(operator: Client, row: Any, what: str, **sent: Any) -> None:
    """On a page of the row's own that asks."""
    url = _url(row, "change", row.pk).replace("/change/", f"/{what}/")
    assert operator.get(url).status_code == 200
    assert operator.post(url, sent).status_code in (200, 302)


def _suspend(operator: Client, world: World) -> None:
    _on_page(operator, world.tenant.organization, "suspend", reason="A bought list.")


def _look(operator: Client, world: World) -> None:
    operator.post("/accounts/reauthenticate/", {"password": "correct-horse-battery"})
    _on_page(operator, world.tenant.organization, "look", reason="They asked for help.")


def _delete(operator: Client, row: Any) -> None:
    assert operator.post(_url(row, "delete", row.pk), {"post": "yes"}).status_code == 302


def _apply(operator: Client, action: str, row: Any, **more: Any) -> None:
    sent = {"action": action, ACTION_CHECKBOX_NAME: [str(row.pk)], "post": "yes", "confirmed": "yes", **more}
    assert operator.post(_url(row, "changelist"), sent).status_code == 302


def _pinned(world: World, **whom: Any) -> PoolAssignment:
    pool = IpPool.objects.create(name="Fast")
    return PoolAssignment.objects.create(pool=pool, **(whom or {"organization": world.tenant.organization}))


def _plan(world: World) -> Plan:
    plan = Plan.objects.create(name="Larger")
    Organization.objects.filter(pk=world.tenant.organization.pk).update(plan=plan)
    return plan


def _add_assignment(operator: Client, world: World) -> None:
    pool = IpPool.objects.create(name="Fast")
    answer = operator.post(
        reverse("admin:relay_poolassignment_add"), {"pool": pool.pk, "organization": "", "domain": world.domain.pk}
    )
    assert answer.status_code == 302


def _email(world: World, **values: Any) -> EmailAddress:
    return EmailAddress.objects.create(user=world.tenant.user, email="ada2@people.test", **values)


def _bring_back(world: World) -> None:
    """For a look at its log."""
    Organization.objects.filter(pk=world.tenant.organization.pk).update(deletion_requested_at=None, erase_at=None)


def _join(world: World) -> Membership:
    other = User.objects.create_user("bob@people.test", "correct-horse-battery")
    return Membership.objects.create(organization=world.tenant.organization, user=other, role="viewer")


def _recipient(message: Message) -> Recipient:
    return Recipient.objects.get(message_id=message.pk)


def _session(world: World) -> UserSession:
    facts = {"ip": "192.0.2.1", "user_agent": "Firefox"}
    return UserSession.objects.create(user=world.tenant.user, session_key="of-another-browser", **facts)


ADMIN: dict[str, tuple[str, Callable[[Client, World], object]]] = {
    "organization saved": ("organization.changed", lambda o, w: _save(o, w.tenant.organization, delivery_weight=7)),
    "organization suspended": ("organization.suspended", lambda o, w: _suspend(o, w)),
    "organization resumed": (
        "organization.resumed", lambda o, w: (_suspend(o, w), _on_page(o, w.tenant.organization, "resume")),
    ),
    "organization approved": ("organization.approved", lambda o, w: _on_page(o, w.tenant.organization, "approve")),
    "Organization approve_chosen": (
        "organization.approved", lambda o, w: _apply(o, "approve_chosen", w.tenant.organization),
    ),
    "organization looked at": ("organization.look_begun", lambda o, w: _look(o, w)),
    "look ended": ("organization.look_ended", lambda o, w: (_look(o, w), o.post("/look/end/"))),
    "content read": (
        "message.content_read", lambda o, w: _on_page(o, w.message, "content", reason="They asked what it says."),
    ),
    "all that match held": (
        "message.held",
        lambda o, w: o.post(reverse("admin:relay_recipient_all", args=["hold"]) + f"?q={w.message.pk}"),
    ),
    "webhook paused": (
        "webhook.paused_by_operator", lambda o, w: _on_page(o, w.webhook, "pause", reason="It loops."),
    ),
    "webhook enabled": (
        "webhook.enabled", lambda o, w: (endpoints.disable(w.webhook), _on_page(o, w.webhook, "enable")),
    ),
    "Organization undo_deletion": (
        "organization.deletion_undone",
        lambda o, w: (request_deletion(w.tenant.organization), _apply(o, "undo_deletion", w.tenant.organization)),
    ),
    "Organization erase_at_once": (
        "organization.erasure_hastened",
        lambda o, w: (
            request_deletion(w.tenant.organization), _apply(o, "erase_at_once", w.tenant.organization), _bring_back(w),
        ),
    ),
    "member changed": (
        "member.changed",
        lambda o, w: (_join(w), _save(o, w.tenant.organization, **{"memberships-1-role": "admin"})),
    ),
    "member removed": (
        "member.removed",
        lambda o, w: (_join(w), _save(o, w.tenant.organization, **{"memberships-1-DELETE": "on"})),
    ),
    "person saved": ("user.changed", lambda o, w: _save(o, w.tenant.user, name="Ada")),
    "password set": (
        "user.changed",
        lambda o, w: o.post(
            reverse("admin:auth_user_password_change", args=[w.tenant.user.pk]),
            {"usable_password": "true", "password1": "staple-battery-horse", "password2": "staple-battery-horse"},
        ),
    ),
    "address saved": ("email_address.changed", lambda o, w: _save(o, _email(w), verified="on")),
    "address deleted": ("email_address.removed", lambda o, w: _delete(o, _email(w))),
    "EmailAddress make_verified": (
        "email_address.changed", lambda o, w: _apply(o, "make_verified", _email(w, verified=False)),
    ),
    "suppression deleted": ("suppression.removed", lambda o, w: _delete(o, w.suppression)),
    "Suppression delete_selected": ("suppression.removed", lambda o, w: _apply(o, "delete_selected", w.suppression)),
    "plan saved": ("plan.changed", lambda o, w: _save(o, _plan(w), messages_per_day=7)),
    "assignment added": ("pool_assignment.added", _add_assignment),
    "assignment saved": (
        "pool_assignment.changed",
        lambda o, w: _save(o, _pinned(w, domain=w.domain), domain="", organization=w.tenant.organization.pk),
    ),
    "assignment deleted": ("pool_assignment.removed", lambda o, w: _delete(o, _pinned(w))),
    "PoolAssignment delete_selected": (
        "pool_assignment.removed", lambda o, w: _apply(o, "delete_selected", _pinned(w)),
    ),
    "EmailAddress delete_selected": ("email_address.removed", lambda o, w: _apply(o, "delete_selected", _email(w))),
    "message opened": ("message.read", lambda o, w: o.get(_url(w.message, "change", w.message.pk))),
    "Authenticator delete_selected": (
        "authenticator.removed",
        lambda o, w: _apply(o, "delete_selected", Authenticator.objects.create(user=w.tenant.user, type="totp", data={})),
    ),
    "SocialAccount delete_selected": (
        "social_account.removed",
        lambda o, w: _apply(o, "delete_selected", SocialAccount.objects.create(user=w.tenant.user, provider="google", uid="1")),
    ),
    "UserSession delete_selected": ("user_session.removed", lambda o, w: _apply(o, "delete_selected", _session(w))),
    "ApiKey revoke": ("api_key.revoked", lambda o, w: _apply(o, "revoke", w.api_key)),
    "Recipient retry": ("message.retried", lambda o, w: _apply(o, "retry", _recipient(w.message))),
    "Recipient hold": ("message.held", lambda o, w: _apply(o, "hold", _recipient(w.message))),
    "Recipient release": ("message.released", lambda o, w: _apply(o, "release", _recipient(w.held))),
    "Recipient cancel": ("message.cancelled", lambda o, w: _apply(o, "cancel", _recipient(w.message))),
}  # fmt: skip
ACTIONS_WITHOUT_ENTRY = {
    "Plan delete_selected": "one that an organization is on cannot be deleted; in the platform's own log (test_quotas)",
    "Incident delete_selected": "everybody's; in the platform's own log (test_status)",
    "SendingDomain check_now": "a look at DNS; what follows from it is noted by the look",
}


@pytest.mark.parametrize("name", ADMIN)
def test_what_operators_do_is_noted_without_their_names(name: str, operator: Client, world: World) -> None:
    action, act = ADMIN[name]
    with Noted() as noted:
        act(operator, world)
    mine = [entry for entry in noted.entries if entry.action == action]
    assert mine, noted.actions
    for own in LogEntry.objects.all():  # it outlives what it tells of
        told = own.object_repr + own.change_message
        names = (world.tenant.user.email, world.tenant.organization.name, world.domain.name, world.suppression.address)
        assert not [name for name in names if name in told], told
    assert {entry.organization_id for entry in mine} == {world.tenant.organization.pk}
    assert {(entry.actor_kind, entry.actor_name) for entry in mine} == {("operator", "operator@people.test")}

    world.tenant.client.force_login(User.objects.get(pk=world.tenant.user.pk))  # a new password has ended the session
    page = world.tenant.client.get("/settings/audit-log/").content.decode()
    listed = json.dumps(world.api.get("audit-log").json())
    export = b"".join(world.tenant.client.post("/settings/audit-log/export/", {"format": "csv"}))  # type: ignore[arg-type]
    for told in (page, listed, export.decode()):
        assert "PlugSend operator" in told
        assert not [secret for secret in ("operator@people.test", "192.0.2.99", "staple-battery") if secret in told]
    assert "operator@people.test" in operator.get("/admin/accounts/auditentry/").content.decode()


def test_each_admin_that_changes_a_tenants_rows_is_audited(operator: Client) -> None:
    request = HttpRequest()
    request.user = User.objects.get(email="operator@people.test")
    request.GET = request.GET.copy()
    for model, model_admin in admin.site._registry.items():
        may = (
            model_admin.has_add_permission(request),
            model_admin.has_change_permission(request),
            model_admin.has_delete_permission(request),
        )
        if model in WITHOUT_ORGANIZATION:
            continue
        # API keys are looked at there, domains checked; nothing of either is saved.
        changes = any(may) and model not in {ApiKey, SendingDomain}
        assert isinstance(model_admin, AuditedAdmin) == changes, model
        for action in model_admin.get_actions(request):
            assert f"{model.__name__} {action}" in ADMIN.keys() | ACTIONS_WITHOUT_ENTRY.keys()
    assert admin.site._registry[Organization].has_delete_permission(request) is False


def test_that_somebody_works_for_the_platform_is_nobodys_business(operator: Client, world: World) -> None:
    with Noted() as noted:
        _save(operator, world.tenant.user, is_staff="on")
    assert noted.actions == []
