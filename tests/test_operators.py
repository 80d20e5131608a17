"""What operators and support do in the admin beyond suspending: who may what, finding, content, settings, abuse, looking."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import feature_settings, impersonation
from accounts.api_keys import create_api_key
from accounts.audit import SYSTEM
from accounts.feature_settings import FEATURES
from accounts.first_days import FirstDays
from accounts.impersonation import MAY_ACT, MAY_SEE
from accounts.models import ApiKey, AuditEntry, FeatureSetting, Notice, OperatorNote, Organization, Plan, User
from accounts.operator_groups import OPERATORS, SUPPORT, ensure_groups
from accounts.permissions import Permission
from accounts.services import create_organization
from accounts.suspension import approve
from domains.models import SendingDomain
from relay.models import Message, Recipient, Suppression
from relay.operators import search as operators_search
from relay.operators.search import NotFound, message_condition, recipient_condition
from relay.quotas import messages_of
from relay.statistics.abuse import hold_by_rates
from relay.statistics.folding import COUNTERS
from relay.statistics.models import Rollup
from relay.submission.directory import _API_CREDENTIAL, _credential
from relay.suppressing.suppressions import suppress
from relay.usage import start_of
from tests.factories import PASSWORD, Tenant, make_domain, make_message, make_smtp_user, make_tenant
from tests.plans import indexes_of, indexes_of_query

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Tenant:
    return make_tenant()


@pytest.fixture
def platform_organization() -> Organization:
    return Organization.objects.create(name="PlugSend", is_system=True)


def staff(group: str = "") -> Client:
    """Signed in as a member of the group; without one: as a superuser."""
    ensure_groups()
    user = User.objects.create_user(
        f"{group or 'root'}@people.test".replace(":", "").replace(" ", "-"), PASSWORD, is_staff=True
    )
    user.is_superuser = not group
    user.save()
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    if group:
        user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def url_of(row: Any, what: str = "change") -> str:
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return url.replace("/change/", f"/{what}/")


# ---- Who may what ----------------------------------------------------------------------------------------------------

OF_PEOPLE = {"UserSession", "EmailAddress", "Authenticator", "SocialAccount"}  # of operators only superusers see them
SUPERUSERS_ONLY = {"Group", "ZoneRecord", "ZoneFault", "ReceivedMail"}


def test_support_sees_everything_and_changes_nothing(acme: Tenant, platform_organization: Organization) -> None:
    domain = make_domain(acme.organization)
    message = make_message(domain, state="deferred", smtp_user_id=make_smtp_user(domain).pk)
    client = staff(SUPPORT)
    for model, model_admin in admin.site._registry.items():
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert client.get(url).status_code == 200, model
        rows = model._default_manager.all()
        row = (rows.exclude(user__is_staff=True) if model.__name__ in OF_PEOPLE else rows).first()
        if row is None or model.__name__ in SUPERUSERS_ONLY | {"FeatureSetting", "PausedDestination"}:
            continue
        page = client.get(url_of(row))
        assert page.status_code == 200, model
        assert 'name="_save"' not in page.content.decode(), model
        assert client.post(url_of(row), {"name": "x"}).status_code == 403, model
        for action in model_admin.actions or []:
            name = action if isinstance(action, str) else action.__name__
            client.post(url, {"action": name, "_selected_action": [str(row.pk)], "confirmed": "yes", "post": "yes"})
    for what in ("suspend", "resume", "approve"):
        assert client.post(url_of(acme.organization, what), {"reason": "x"}).status_code == 403
    assert client.post(reverse("admin:relay_recipient_all", args=["hold"]) + f"?q={message.pk}").status_code == 403
    assert (
        client.post(reverse("admin:relay_pauseddestination_pause", args=["inbox.test"]), {"reason": "x"}).status_code
        == 403
    )
    client.post(reverse("admin:accounts_featuresetting_changelist"), {"maintenance_banner": "x"})
    assert not AuditEntry.objects.filter(actor_kind="operator").exclude(action="message.read").exists()
    assert Recipient.objects.get().state == "deferred"


def test_operators_may_what_their_work_takes_but_make_no_operators(acme: Tenant) -> None:
    root, client = User.objects.create_superuser("chief@people.test", PASSWORD), staff(OPERATORS)
    assert client.post(url_of(acme.organization, "suspend"), {"reason": "x"}).status_code == 302
    assert Organization.objects.get(pk=acme.organization.pk).is_suspended
    plan = Plan.objects.create(name="Larger")
    page = client.get(url_of(acme.organization)).content.decode()
    assert 'name="plan"' in page
    assert plan.name in page

    forged = {"email": acme.user.email, "is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": ["1"]}
    forged |= {f"memberships-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")}
    client.post(url_of(acme.user), forged)
    acme.user.refresh_from_db()
    assert (acme.user.is_staff, acme.user.is_superuser, acme.user.groups.count()) == (False, False, 0)
    for url in (url_of(root), reverse("admin:auth_user_password_change", args=[root.pk])):
        assert client.post(url, {"email": "x@people.test", "password1": "y", "password2": "y"}).status_code == 403
    address = EmailAddress.objects.create(user=root, email=root.email)
    for url in (url_of(address), url_of(address, "delete")):
        assert client.post(url, {"post": "yes"}).status_code == 302  # not there for them
    assert EmailAddress.objects.filter(pk=address.pk).exists()
    assert client.get(reverse("admin:account_emailaddress_add")).status_code == 403
    factor = Authenticator.objects.create(user=root, type="totp", data={})
    client.post(url_of(factor, "delete"), {"post": "yes"})
    assert Authenticator.objects.filter(pk=factor.pk).exists()


def test_groups_are_made_once_and_stay_as_superusers_edit_them() -> None:
    ensure_groups()
    Group.objects.get(name=SUPPORT).permissions.clear()
    ensure_groups()
    assert Group.objects.get(name=SUPPORT).permissions.count() == 0
    assert not Group.objects.get(name=OPERATORS).permissions.filter(codename="change_group").exists()


# ---- Content ---------------------------------------------------------------------------------------------------------


def test_content_is_shown_after_a_reason_that_the_organization_reads(acme: Tenant) -> None:
    message, client = make_message(make_domain(acme.organization)), staff(SUPPORT)
    url = url_of(message, "content")
    for answer in (client.get(url), client.post(url, {"reason": " "}), client.get(url_of(message))):
        assert answer.status_code == 200
        assert "Thank you for your order" not in answer.content.decode()
    assert not AuditEntry.objects.filter(action="message.content_read").exists()
    answer = client.post(url, {"reason": "They ask why it is taken for spam."})
    page = answer.content.decode()
    assert "Thank you for your order" in page
    assert "<script>alert(2)" not in page
    assert "no-store" in answer.headers["Cache-Control"]
    entry = AuditEntry.objects.of(acme.organization).get(action="message.content_read")
    assert entry.after == {"reason": "They ask why it is taken for spam."}
    assert "They ask why it is taken for spam." in acme.client.get("/settings/audit-log/").content.decode()
    Group.objects.get(name=SUPPORT).permissions.remove(
        *Group.objects.get(name=SUPPORT).permissions.filter(codename="read_content")
    )
    assert client.post(url, {"reason": "x"}).status_code == 403


# ---- Finding ---------------------------------------------------------------------------------------------------------


def test_messages_and_recipients_are_found_by_anything(acme: Tenant) -> None:
    acme.organization.name = "Acme Widgets"
    acme.organization.save()
    domain = make_domain(acme.organization)
    user = make_smtp_user(domain)
    mine = make_message(
        domain, to="Bob.Jones@inbox.test", smtp_user_id=user.pk, message_id_header="abc-1@elsewhere.test"
    )
    by_us = make_message(domain, to="eve@inbox.test", state="deferred")
    Message.objects.filter(pk=by_us.pk).update(message_id_header=f"{by_us.pk}@acme.test")
    other = make_domain(make_tenant("Other").organization, "other.test")
    theirs = make_message(other, to="bob.jones@inbox.test")
    recipient = Recipient.objects.get(message_id=mine.pk)
    tenants = {"Acme Widgets", str(acme.organization.pk), "acme.test", str(domain.pk)}
    expected: dict[str, set[Message]] = {
        str(mine.pk): {mine},
        str(recipient.pk): {mine},
        "abc-1@elsewhere.test": {mine},
        "<abc-1@elsewhere.test>": {mine},
        f"{by_us.pk}@acme.test": {by_us},
        user.address: {mine},
        str(user.pk): {mine},
        "bob.jones@inbox.test": {mine, theirs},
        "other.test": {theirs},
        "Other bob.jones@inbox.test": {theirs},
        f"{acme.organization.pk} eve@inbox.test": {by_us},
    } | {words: {mine, by_us} for words in tenants}
    for words, wanted in expected.items():
        assert set(Message.objects.filter(message_condition(words))) == wanted, words
    of_recipients = {
        words: wanted for words, wanted in expected.items() if words not in {"acme.test", "other.test", user.address}
    }
    for words in of_recipients:
        found = Recipient.objects.filter(recipient_condition(words)).values_list("message_id", flat=True)
        assert set(found) == {message.pk for message in expected[words]}, words
    assert Recipient.objects.filter(recipient_condition("inbox.test")).get().message_id == by_us.pk  # in the queue
    assert Recipient.objects.filter(recipient_condition("Other inbox.test")).get().message_id == theirs.pk
    for words in ("nobody-has-this-name", "no one at all"):
        with pytest.raises(NotFound):
            message_condition(words)
    client = staff()
    page = client.get(reverse("admin:relay_message_changelist"), {"q": "bob.jones@inbox.test"}).content.decode()
    assert str(mine.pk) in page
    assert str(theirs.pk) in page
    told = client.get(reverse("admin:relay_message_changelist"), {"q": "nobody-has-this-name"}).content.decode()
    assert "Nothing goes by" in told


def test_lists_page_by_key_without_counting(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    ids = [str(make_message(domain, to=f"r{n}@inbox.test").pk) for n in range(60)]
    client, url, seen = staff(), reverse("admin:relay_message_changelist"), []
    asked: list[str] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    query = ""
    with connection.execute_wrapper(watch):
        for _ in range(3):
            page = client.get(url + query).content.decode()
            seen += [found for found in re.findall(r"/message/([0-9a-f-]{36})/change", page) if found in ids]
            older = re.search(r'href="(\?before=[^"]+)">Older', page)
            query = older[1] if older else ""
    assert list(dict.fromkeys(seen)) == ids[::-1]
    assert query == ""
    assert not [sql for sql in asked if "count(" in sql.lower() and "relay_message" in sql]
    assert not [sql for sql in asked if "OFFSET" in sql]


def test_lists_are_answered_by_indexes(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    make_message(domain, state="deferred", smtp_user_id=make_smtp_user(domain).pk, message_id_header="x@elsewhere.test")
    newest = Message.objects.order_by("-id")
    expected = {
        str(acme.organization.pk): "message_by_organization",
        "acme.test": "message_by_domain",
        str(SendingDomain.objects.get().pk): "message_by_domain",
    }
    for words, index in expected.items():
        assert index in indexes_of_query(newest.filter(message_condition(words))[:26]), words
    user = Message.objects.get().smtp_user_id
    assert "message_by_smtp_user" in indexes_of_query(newest.filter(message_condition(str(user)))[:26])
    whole = Recipient.objects.filter(recipient_condition(f"{acme.organization.pk} bob@inbox.test"))
    assert "recipient_by_address" in indexes_of_query(whole)
    # Which of the two is chosen hangs on what is known of the tables, which are small here.
    at_destination = indexes_of_query(Recipient.objects.filter(recipient_condition("inbox.test")))
    assert at_destination & {"recipient_lane", "recipient_by_address"}
    low, high = Message.objects.get().pk, Recipient.objects.get().pk
    terms = {"destination": "inbox.test", "address": "bob@inbox.test", "low": low, "high": high, "most": 10}
    with connection.cursor() as cursor:
        assert "recipient_by_address" in indexes_of(cursor, operators_search._BY_ADDRESS, terms)


def test_all_that_match_a_search_are_acted_on_after_a_question(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    for n in range(30):
        make_message(domain, to=f"r{n}@inbox.test", state="deferred")
    make_message(domain, to="well@well.test", state="deferred")
    client = staff(OPERATORS)
    url = reverse("admin:relay_recipient_all", args=["hold"])
    assert client.post(url).status_code == 302  # everybody's mail: not without a filter
    assert set(Recipient.objects.values_list("state", flat=True)) == {"deferred"}
    assert "Hold 30 recipients?" in client.get(f"{url}?q=inbox.test").content.decode()
    assert set(Recipient.objects.values_list("state", flat=True)) == {"deferred"}
    client.post(f"{url}?q=inbox.test")
    assert set(Recipient.objects.filter(destination="inbox.test").values_list("state", flat=True)) == {"held"}
    assert Recipient.objects.get(destination="well.test").state == "deferred"


def test_suppressions_of_all_organizations_are_found(acme: Tenant) -> None:
    other = make_tenant("Other")
    for organization in (acme.organization, other.organization):
        suppress(organization, "gone@inbox.test")
    suppress(acme.organization, "more@inbox.test")
    url = reverse("admin:relay_suppression_changelist")
    for words, number in (("Gone@inbox.test", 2), ("acme", 2), (str(other.organization.pk), 1)):
        page = staff_page(url, words)
        assert page.count("field-address") == number, words
    assert Suppression.objects.count() == 3


def staff_page(url: str, words: str) -> str:
    client = Client()
    client.force_login(
        User.objects.filter(is_superuser=True).first() or User.objects.create_superuser("r@people.test", "x")
    )
    return client.get(url, {"q": words}).content.decode()


# ---- Settings, first days, automatic hold ----------------------------------------------------------------------------


def test_settings_are_changed_with_an_entry_and_hold_at_once(acme: Tenant, platform_organization: Organization) -> None:
    client = staff(OPERATORS)
    url = reverse("admin:accounts_featuresetting_changelist")
    sent = {name: value for name, value in feature_settings.all_values().items() if value is not False}
    sent |= {"maintenance_banner": "We move house at noon.", "first_days": "3"}
    del sent["sign_ups_open"]
    assert client.post(url, sent | {"first_days": "-1"}).status_code == 200
    assert client.post(url, sent).status_code == 302
    assert feature_settings.value_of("first_days") == 3
    entry = AuditEntry.objects.of(platform_organization).get(action="feature_settings.changed")
    assert entry.before == {"sign_ups_open": True, "first_days": 7, "maintenance_banner": ""}
    assert "We move house at noon." in acme.client.get("/overview/").content.decode()
    assert "We move house at noon." in Client().get("/").content.decode()
    assert "Sign-up is closed" in Client().get("/accounts/signup/").content.decode()
    assert User.objects.count() == 2
    Client().post("/accounts/signup/", {"email": "new@people.test", "password1": PASSWORD, "organization_name": "New"})
    assert User.objects.count() == 2


def test_every_setting_keeps_its_type(platform_organization: Organization) -> None:
    assert feature_settings.change({"hold_bounces_percent": 5}, by=SYSTEM) == ["hold_bounces_percent"]
    assert isinstance(feature_settings.value_of("hold_bounces_percent"), float)
    for name, nonsense in (("first_days", "x"), ("hold_judged_from", 0), ("maintenance_banner", "x" * 301)):
        with pytest.raises(ValueError, match=r".*"):
            feature_settings.change({name: nonsense}, by=SYSTEM)
    with connection.cursor() as cursor:
        for name in ("first_days", "hold_bounces_percent"):
            cursor.execute(f"SELECT {FEATURES[name].sql}")
            assert float(cursor.fetchone()[0]) == feature_settings.value_of(name)


@pytest.mark.parametrize("planned", [None, 3, 100])
def test_a_new_organization_sends_less_until_it_is_reviewed(
    acme: Tenant, platform_organization: Organization, planned: int | None
) -> None:
    organization = acme.organization
    if planned is not None:
        Organization.objects.filter(pk=organization.pk).update(
            plan=Plan.objects.create(name="P", messages_per_day=planned)
        )
    key = ApiKey.objects.filter(organization=organization).first() or _key(organization)
    feature_settings.change({"first_days_messages": 10}, by=SYSTEM)

    def allowed() -> tuple[int | None, str]:
        with connection.cursor() as cursor:
            cursor.execute(_API_CREDENTIAL, [key.digest])
            stored = dict(FeatureSetting.objects.values_list("name", "value"))
            limit = _credential(cursor.fetchone(), FirstDays.of(stored)).allowances[-1].short
        organization.refresh_from_db()
        assert messages_of(organization)[0].most == limit.most  # pages tell the same
        return limit.most, limit.code

    limited = (10, "first_days_limit_reached") if planned in (None, 100) else (3, "quota_day_reached")
    assert allowed() == limited
    Organization.objects.filter(pk=organization.pk).update(created_at=timezone.now() - timedelta(days=8))
    assert allowed() == (planned, "quota_day_reached")
    Organization.objects.filter(pk=organization.pk).update(created_at=timezone.now())
    assert allowed() == limited
    assert approve(organization, by=SYSTEM)
    assert allowed() == (planned, "quota_day_reached")


def _key(organization: Organization) -> ApiKey:
    return create_api_key(organization, "App", ["full"]).api_key


def counted(organization: Organization, **figures: int) -> None:
    values: dict[str, Any] = dict.fromkeys(COUNTERS, 0) | {"latency": []} | figures
    Rollup.objects.create(
        organization=organization,
        dimension="all",
        step="hour",
        starts_at=start_of("hour", timezone.now()),
        value="",
        **values,
    )


@pytest.mark.parametrize(
    ("figures", "is_held"),
    [
        ({"delivered": 900, "bounced_hard": 100}, True),
        ({"delivered": 901, "bounced_hard": 99}, False),
        ({"delivered": 1000, "complained": 5}, True),
        ({"delivered": 1000, "complained": 4}, False),
        ({"bounced_hard": 199}, False),
        ({"delivered": 500, "bounced_soft": 500}, False),
    ],
)
def test_who_bounces_or_is_reported_too_often_is_held_until_somebody_has_looked(
    acme: Tenant, platform_organization: Organization, figures: dict[str, int], is_held: bool
) -> None:
    counted(acme.organization, **figures)
    assert hold_by_rates() == 0  # switched off in the sandbox
    feature_settings.change({"hold_bounces_percent": 10, "hold_complaints_percent": 0.5}, by=SYSTEM)
    assert hold_by_rates() == is_held
    assert hold_by_rates() == 0
    organization = Organization.objects.get(pk=acme.organization.pk)
    assert organization.is_held_for_rates == is_held
    if not is_held:
        return
    assert Notice.objects.of(organization).get().template == "organization_held"
    client, queue = staff(OPERATORS), reverse("admin:accounts_organization_changelist") + "?review=waiting"
    page = client.get(queue).content.decode()
    assert "In the last 24 hours" in page
    assert acme.user.email in page
    client.post(queue, {"action": "approve_chosen", "_selected_action": [str(organization.pk)]})
    organization.refresh_from_db()
    assert (organization.is_suspended, organization.review_since) == (False, None)
    assert hold_by_rates() == 0  # what somebody has looked at does not hold it again


def test_new_organizations_wait_for_a_look_where_that_is_wished(platform_organization: Organization) -> None:
    person = User.objects.create_user("ada@people.test")
    assert create_organization("First", person).review_cause == "new"
    feature_settings.change({"review_new": False}, by=SYSTEM)
    assert create_organization("Second", person).review_since is None


# ---- The organization's page -----------------------------------------------------------------------------------------


def test_an_organizations_page_tells_what_it_is_about_and_keeps_notes(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    make_message(domain, to="bob@inbox.test", state="bounced", reason="no_such_address")
    suppress(acme.organization, "gone@inbox.test")
    client = staff(OPERATORS)
    client.post(url_of(acme.organization, "note"), {"note": "Pays by invoice."})
    page = client.get(url_of(acme.organization)).content.decode()
    for told in ("Pays by invoice.", "acme.test", "bob@inbox.test: bounced, the address does not exist", "gone@inbox.test",
                 acme.user.email, "Messages today"):  # fmt: skip
        assert told in page, told
    note = OperatorNote.objects.get()
    assert note.author == "Operators@people.test".lower()
    assert "Pays by invoice." not in acme.client.get("/settings/audit-log/").content.decode()


# ---- Looking as an organization --------------------------------------------------------------------------------------


def look(client: Client, organization: Organization, **sent: str) -> Any:
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client.post(url_of(organization, "look"), {"reason": "They asked for help.", **sent})


@pytest.mark.parametrize("may_change", [False, True])
def test_a_look_shows_pages_and_reaches_no_secret_and_no_account(acme: Tenant, may_change: bool) -> None:
    domain = make_domain(acme.organization)
    message = make_message(domain, state="deferred")
    client = staff(OPERATORS)
    assert look(client, acme.organization, **({"may_change": "on"} if may_change else {})).status_code == 302
    page = client.get("/overview/").content.decode()
    assert "You look as" in page
    assert "Acme" in page
    told = client.get(reverse("message", args=[message.pk])).content.decode()
    assert "You look as" in told
    assert "Thank you for your order" not in told
    for path in ("/api-keys/new/", "/settings/delete/", "/settings/members/invite/", "/webhooks/new/"):
        assert client.get(path).status_code in (403, 404), path
    for path in (
        "/account/data/",
        "/accounts/email/",
        "/accounts/2fa/",
        "/admin/",
        "/organizations/new/",
        "/account/delete/",
    ):
        answer = client.get(path)
        assert answer.status_code == 403, path
        assert "End the look first" in answer.content.decode(), path
    answer = client.post(reverse("message_act", args=[message.pk, "hold"]))
    assert answer.status_code == (302 if may_change else 403)
    assert Recipient.objects.get().state == ("held" if may_change else "deferred")
    if not may_change:  # also what whoever reads may do
        assert client.post("/settings/audit-log/export/", {"format": "csv"}).status_code == 403
    assert not acme.organization.memberships.exclude(user=acme.user).exists()

    assert client.post("/look/end/").status_code == 302
    assert client.get("/admin/").status_code == 200
    entries = AuditEntry.objects.of(acme.organization).filter(actor_kind="operator").order_by("id")
    acts = [entry.action for entry in entries]
    assert acts == ["organization.look_begun", *["message.held"] * may_change, "organization.look_ended"]
    first = entries[0]
    assert first.after is not None
    assert first.after["reason"] == "They asked for help."
    assert not MAY_ACT & {Permission.READ_CONTENT, Permission.MANAGE_CREDENTIALS, Permission.MANAGE_WEBHOOKS,
                          Permission.EXPORT_MAIL, Permission.SHARE_TIMELINES, Permission.MANAGE_MEMBERS}  # fmt: skip
    assert MAY_SEE < MAY_ACT


def test_a_look_ends_by_itself_and_with_the_permission(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    client = staff(SUPPORT)
    look(client, acme.organization, may_change="on")
    assert client.session[impersonation.SESSION_KEY][2] is False  # support only sees
    assert "You look as" in client.get("/overview/").content.decode()
    Group.objects.get(name=SUPPORT).permissions.clear()
    assert client.get("/overview/").status_code == 302  # the operator has no organization
    assert impersonation.SESSION_KEY not in client.session
    ended = staff(OPERATORS)
    look(ended, acme.organization)
    assert "You look as" in ended.get("/overview/").content.decode()
    later = timezone.now() + timedelta(minutes=31)
    monkeypatch.setattr("accounts.impersonation.timezone.now", lambda: later)
    assert ended.get("/domains/").status_code == 302
    assert acme.client.get("/overview/").status_code == 200


def test_a_look_takes_a_fresh_proof_and_a_second_factor(acme: Tenant, settings: Settings) -> None:
    client = staff(SUPPORT)
    url = url_of(acme.organization, "look")
    assert client.post(url, {"reason": "x"})["Location"].startswith("/accounts/reauthenticate/")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    settings.SANDBOX = False
    assert client.post(url, {"reason": "x"})["Location"] == reverse("mfa_index")
    user = User.objects.get(email="support-see@people.test")
    Authenticator.objects.create(user=user, type="totp", data={})
    answer = client.post(url, {"reason": "x"})  # the password alone will not do
    assert answer["Location"].startswith(reverse("mfa_reauthenticate"))
    assert impersonation.SESSION_KEY not in client.session
    assert not AuditEntry.objects.filter(action="organization.look_begun").exists()
    assert acme.client.get(url).status_code in (302, 403)
