"""Plans: what they limit at the doors and in the organization, what pages, REST and mails tell of it, and who changes them.

How messages are counted: `test_metering`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from accounts import invitations, notices, suspension
from accounts.api_keys import create_api_key
from accounts.audit import SYSTEM
from accounts.catalogue import Refused
from accounts.ids import uuid7
from accounts.members import MembersRefused
from accounts.models import AuditEntry, FeatureSetting, Invitation, Organization, Plan, QuotaNotice, Role, User
from accounts.quotas import ensure_default_plan
from accounts.services import create_organization
from domains.models import SendingDomain
from domains.services import add_domain
from relay.models import UsageCounter, UsageShare
from relay.quotas import warn_owners
from relay.submission.desk import shared_desk
from relay.usage import start_of
from tests.factories import Tenant, make_domain, make_tenant
from tests.platform import wait_for
from tests.rest import make_api

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield
    shared_desk().close()


def put_on(organization: Organization, **limits: int) -> Plan:
    plan = Plan.objects.create(name=f"Plan {uuid7()}", **limits)
    Organization.objects.filter(pk=organization.pk).update(plan=plan)
    organization.refresh_from_db()
    return plan


def count(organization: Organization, period: str, used: int, *, reserved: int = 0, days_ago: int = 0) -> None:
    starts_at = start_of(period, timezone.now() - timedelta(days=days_ago))
    UsageCounter.objects.create(subject_id=organization.pk, period=period, starts_at=starts_at, count=used + reserved)
    if reserved and period == "day":
        UsageShare.objects.create(
            holder_id=uuid7(),
            subject_id=organization.pk,
            period="day",
            starts_at=starts_at,
            granted=reserved + 1,
            used=1,
        )


# ---- At the doors ----------------------------------------------------------------------------------------------------


def letter(recipients: int = 1) -> dict[str, Any]:
    to = [f"r{number}@example.net" for number in range(recipients)]
    return {"from": "ada@acme.test", "to": to, "subject": "Hi", "text": "Hello"}


@pytest.mark.parametrize(
    ("limits", "bodies", "answers"),
    [
        ({"messages_per_day": 2}, [letter()] * 3, [202, 202, "quota_day_reached"]),
        ({"messages_per_month": 3}, [[letter()] * 2, [letter()] * 2, letter()], [200, "quota_month_reached", 202]),
        ({"messages_per_day": 0}, [letter()], ["quota_day_reached"]),
        ({"recipients_per_message": 2}, [letter(2), letter(3)], [202, "too_many_recipients"]),
        ({"messages_per_second": 1}, [[letter()] * 60, letter()], [200, "rate_of_messages_exceeded"]),
        ({}, [letter(3)] * 3, [202] * 3),
    ],
)
def test_each_limit_of_a_plan_is_kept_at_the_rest_door(
    tenant: Tenant, desk: None, limits: dict[str, int], bodies: list[Any], answers: list[Any]
) -> None:
    put_on(tenant.organization, **limits)
    make_domain(tenant.organization)
    secret = create_api_key(tenant.organization, "Tests", ["send"]).secret
    got = []
    for body in bodies:
        path = "/api/v1/emails/batch" if isinstance(body, list) else "/api/v1/emails"
        headers = {"Authorization": f"Bearer {secret}"}
        answer = Client(headers=headers).post(path, body, content_type="application/json")
        got.append(answer.json().get("code") or answer.status_code)
        if answer.status_code == 429:
            assert int(answer["Retry-After"]) >= 1
    assert got == answers


def test_a_new_organization_sends_less_until_it_is_approved_and_nothing_while_it_is_held(
    tenant: Tenant, desk: None
) -> None:
    FeatureSetting.objects.create(pk="first_days_messages", value=2, changed_by="op@people.test")
    make_domain(tenant.organization)
    secret = create_api_key(tenant.organization, "Tests", ["send"]).secret

    def answer() -> str:
        client = Client(headers={"Authorization": f"Bearer {secret}"})
        got = client.post("/api/v1/emails", letter(), content_type="application/json")
        return str(got.json().get("code") or got.status_code)

    assert [answer() for _ in range(3)] == ["202", "202", "first_days_limit_reached"]
    suspension.approve(tenant.organization, by=SYSTEM)
    wait_for(lambda: answer() == "202", "it sends as its plan says", 5)
    suspension.hold_for_rates(tenant.organization, "10 % of its recipients bounced hard.")
    wait_for(lambda: answer() == "organization_on_hold", "it is held", 5)


# ---- Domains and members ---------------------------------------------------------------------------------------------


def at_once(work: Callable[[int], object], number: int = 4) -> list[str]:
    """What each of so many threads got: nothing, or the code of a refusal."""
    answers: list[str] = []

    def run(turn: int) -> None:
        try:
            work(turn)
            answers.append("")
        except Refused as refused:
            answers.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(turn,)) for turn in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)


def test_the_last_place_for_a_domain_is_taken_once(tenant: Tenant) -> None:
    put_on(tenant.organization, domains=2)
    make_domain(tenant.organization)
    answers = at_once(lambda turn: add_domain(tenant.organization, f"d{turn}.example.com"))
    assert answers == ["", *["quota_domains_reached"] * 3]
    assert SendingDomain.objects.of(tenant.organization).count() == 2
    page = tenant.client.post("/domains/add/", {"name": "one-more.com"}).content.decode()
    assert "plan allows 2 domains, and it has 2" in page
    answer = make_api(tenant.organization, "full").post("domains", {"name": "one-more.com"})
    assert (answer.status_code, answer.json()["code"]) == (403, "quota_domains_reached")


def test_the_last_place_for_a_member_is_taken_once_and_open_invitations_hold_one(tenant: Tenant) -> None:
    organization = tenant.organization
    owner = organization.memberships.select_related("organization", "user").get()
    plan = put_on(organization, members=3)

    invitations.invite(owner, ["p0@people.test"], Role.VIEWER, by=SYSTEM)
    Invitation.objects.update(expires_at=timezone.now())  # holds no place any more
    invitations.invite(owner, ["p1@people.test"], Role.VIEWER, by=SYSTEM)
    invitations.invite(owner, ["p1@people.test"], Role.ADMIN, by=SYSTEM)  # again: no further place
    invitations.invite(owner, ["p2@people.test"], Role.VIEWER, by=SYSTEM)
    page = tenant.client.post(
        reverse("member_invite"), {"addresses": "p3@people.test", "role": "viewer"}
    ).content.decode()
    assert "plan allows 3 members, and it has 3, open invitations included" in page
    expired = Invitation.objects.get(email="p0@people.test")
    with pytest.raises(MembersRefused, match="it has 3"):
        invitations.resend(owner, expired.pk, by=SYSTEM)

    Plan.objects.filter(pk=plan.pk).update(members=2)  # of those who are invited, one has a place
    people = {email: User.objects.create_user(email) for email in ("p1@people.test", "p2@people.test")}
    for user in people.values():
        EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    is_open = Invitation.objects.filter(revoked_at=None, expires_at__gt=timezone.now())
    waiting = {one.email: one for one in is_open}

    def join(turn: int) -> None:
        email = f"p{turn + 1}@people.test"
        try:
            invitations.accept(waiting[email], people[email], by=SYSTEM)
        except MembersRefused:
            raise Refused("quota_members_reached", most=2, used=2) from None

    assert at_once(join, 2) == ["", "quota_members_reached"]
    late = is_open.get(accepted_at=None)
    client = Client()
    client.force_login(people[late.email])
    link = f"/invitations/{invitations.secret_of(late.pk, late.expires_at)}/"
    assert "has no place for another member now" in client.post(link, follow=True).content.decode()
    Plan.objects.filter(pk=plan.pk).update(members=3)
    assert "You are a member of" in client.post(link, follow=True).content.decode()


# ---- What is told ----------------------------------------------------------------------------------------------------


def test_page_and_rest_tell_what_is_used(tenant: Tenant) -> None:
    put_on(tenant.organization, messages_per_day=1000, messages_per_second=25, recipients_per_message=50)
    count(tenant.organization, "day", 851, reserved=99)
    count(tenant.organization, "day", 4321, days_ago=3)
    count(tenant.organization, "month", 851)
    rival = make_tenant("Rival")
    count(rival.organization, "day", 777)

    page = tenant.client.get("/settings/usage/").content.decode()
    assert page.count("<meter") == 1
    for text in ('value="851"', "of 1,000", "4,321 on the busiest day", "No limit."):
        assert text in page, text
    assert "777" not in page
    overview = tenant.client.get("/overview/").content.decode()
    assert "85 % of the messages of this day are used." in overview
    assert "messages of this" not in rival.client.get("/overview/").content.decode()

    told = make_api(tenant.organization, "read").get("usage").json()
    assert (told["messages_day"]["used"], told["messages_day"]["limit"]) == (851, 1000)
    assert (told["messages_month"]["limit"], told["messages_per_second"]) == (None, 25)
    assert told["recipients_per_message"] == 50
    assert told["members"] == {"used": 1, "limit": None}
    assert [day["messages"] for day in told["history"]] == [0] * 26 + [4321, 0, 0, 851]
    restricted = make_api(tenant.organization, "read", only_domain="acme.test").get("usage")
    assert restricted.json()["code"] == "key_restricted_to_domain"


def test_owners_are_told_at_80_and_at_100_percent_once_a_period(tenant: Tenant) -> None:
    organization = tenant.organization
    put_on(organization, messages_per_day=10, messages_per_month=1000)
    count(organization, "day", 7, reserved=3)
    count(organization, "month", 7, reserved=3)
    day = UsageCounter.objects.filter(subject_id=organization.pk, period="day")
    assert warn_owners() == 0  # reserved is not used
    told = []
    for used in (8, 9, 10, 10):
        UsageShare.objects.update(used=used - 6)
        told.append(warn_owners())
    assert told == [1, 0, 1, 0]
    day.update(count=3)  # a limit that was raised and is reached again, say
    UsageShare.objects.all().delete()
    assert warn_owners() == 0
    notices.send_due()
    assert [letter.subject for letter in mail.outbox] == [
        "80 % of the messages of this day are used",
        "The messages of this day are used up",
    ]
    assert {address for letter in mail.outbox for address in letter.to} == {"acme@people.test"}
    assert "10 messages that its plan allows in a day" in mail.outbox[1].body

    UsageCounter.objects.filter(subject_id=organization.pk, period="month").update(count=1000)
    assert warn_owners() == 1  # at once full: one mail, not two
    assert QuotaNotice.objects.filter(quota="messages_per_month").count() == 2


# ---- Plans -----------------------------------------------------------------------------------------------------------


def test_operators_edit_plans_and_choose_them_and_each_change_is_in_the_log(tenant: Tenant) -> None:
    system = Organization.objects.create(name="PlugSend", is_system=True)
    plan = put_on(tenant.organization, messages_per_day=10)
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    form = {"name": "Larger", "messages_per_day": "", "domains": "5", "content_days": "7", "event_days": "90"}
    assert operator.post(f"/admin/accounts/plan/{plan.pk}/change/", form).status_code == 302
    choice = {
        "name": "Acme", "plan": "", "delivery_weight": "1", "outgoing_tls": "opportunistic",
        "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0",
    }  # fmt: skip
    for _ in range(2):  # the second one changes nothing
        answer = operator.post(f"/admin/accounts/organization/{tenant.organization.pk}/change/", choice)
        assert answer.status_code == 302
    assert operator.post(f"/admin/accounts/plan/{plan.pk}/delete/", {"post": "yes"}).status_code == 302

    def log(organization: Organization) -> list[tuple[str, str, Any, Any]]:
        entries = AuditEntry.objects.of(organization).exclude(action="organization.created").order_by("id")
        return [(entry.actor_kind, entry.action, entry.before, entry.after) for entry in entries]

    changed = {"name": plan.name, "messages_per_day": 10, "domains": None}
    after = {"name": "Larger", "messages_per_day": None, "domains": 5}
    assert log(tenant.organization) == [
        ("operator", "plan.changed", changed, after),
        ("operator", "organization.changed", {"plan": "Larger"}, {"plan": None}),
    ]
    assert [entry[:2] for entry in log(system)] == [("operator", "plan.changed"), ("operator", "plan.removed")]


def test_new_organizations_begin_with_the_default_plan_which_operators_may_take_away() -> None:
    before = create_organization("Before", User.objects.create_user("before@people.test"))
    for _ in range(2):
        ensure_default_plan()
    plan = Plan.objects.get()
    new = create_organization("New", User.objects.create_user("new@people.test"))
    assert (new.plan, before.plan) == (plan, None)
    Plan.objects.update(is_default=False)
    ensure_default_plan()
    assert Plan.objects.get() == plan
    Organization.objects.update(plan=None)
    plan.delete()
    with override_settings(SANDBOX=False):
        ensure_default_plan()
    assert (Plan.objects.get().messages_per_day or 0) < (plan.messages_per_day or 0)
