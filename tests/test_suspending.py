"""Operators suspend and resume organizations: the queue waits meanwhile, members are told, and nobody gets round it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import deletion, suspension
from accounts.api_keys import create_api_key
from accounts.audit import SYSTEM
from accounts.models import AuditEntry, MailHold, Notice, Organization, ReviewCause, User
from accounts.notices import send_due
from events.models import Event
from relay import mail_hold
from relay.acting import actions
from relay.acting.actions import LONGEST_HELD, Action, act_on_message
from relay.audit import disagreements
from relay.database import database_url
from relay.expiry import expire
from relay.models import Recipient, RecipientState, ScheduledMessage
from relay.tasks import settle_mail_holds
from tests.factories import Tenant, make_domain, make_message, make_tenant
from tests.rest import Api

pytestmark = pytest.mark.django_db(transaction=True)

REASON = "Your list of 24 November was bought."


@pytest.fixture
def acme() -> Tenant:
    return make_tenant()


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    return client


def page_of(organization: Organization, what: str = "change") -> str:
    url = reverse("admin:accounts_organization_change", args=[organization.pk])
    return url if what == "change" else url.replace("/change/", f"/{what}/")


def states() -> dict[str, tuple[str, str]]:
    rows = Recipient.objects.values_list("address", "state", "reason")
    return {address.partition("@")[0]: (state, reason) for address, state, reason in rows}


def suspended_long_ago(organization: Organization) -> None:
    assert suspension.suspend(organization, REASON, by=SYSTEM)
    long_ago = timezone.now() - timedelta(minutes=5)
    Organization.objects.filter(pk=organization.pk).update(suspended_at=long_ago)


def hold_of(organization: Organization) -> str:
    return Organization.objects.values_list("mail_hold", flat=True).get(pk=organization.pk)


def agreed() -> list[str]:
    with psycopg.connect(database_url()) as database:
        return disagreements(database)


def test_an_operator_suspends_with_a_reason_and_resumes(acme: Tenant, operator: Client) -> None:
    url = page_of(acme.organization, "suspend")
    assert "This field is required" in operator.post(url, {"reason": "  "}).content.decode()
    assert not Organization.objects.get(pk=acme.organization.pk).is_suspended
    assert operator.post(url, {"reason": REASON}).status_code == 302
    page = operator.get(page_of(acme.organization)).content.decode()
    assert REASON in page
    assert "Resume" in page
    assert REASON in acme.client.get("/overview/").content.decode()
    entry = AuditEntry.objects.of(acme.organization).get(action="organization.suspended")
    assert (entry.after, entry.actor_kind) == ({"reason": REASON}, "operator")
    assert not suspension.suspend(acme.organization, "again", by=SYSTEM)

    operator.post(page_of(acme.organization, "resume"))
    organization = Organization.objects.get(pk=acme.organization.pk)
    assert (organization.suspended_at, organization.suspension, organization.suspension_reason) == (None, "", "")
    assert REASON not in acme.client.get("/overview/").content.decode()
    assert not suspension.resume(organization, by=SYSTEM)
    assert [notice.template for notice in Notice.objects.of(organization)] == [
        "organization_suspended", "organization_resumed",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["suspended", "held"])
def test_owners_get_the_reason_by_mail(acme: Tenant, kind: str, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    if kind == "held":
        assert suspension.hold_for_rates(acme.organization, REASON)
    else:
        assert suspension.suspend(acme.organization, REASON, by=SYSTEM)
    suspension.resume(acme.organization, by=SYSTEM)
    send_due()
    first, second = mail.outbox
    assert (first.to, second.to) == ([acme.user.email], [acme.user.email])
    assert f"Sending is {kind}" in first.subject
    assert REASON in first.body
    assert "Sending is resumed for Acme" in second.subject


def test_the_platforms_own_organization_is_not_suspended(operator: Client) -> None:
    own = Organization.objects.create(name="PlugSend", is_system=True)
    with pytest.raises(PermissionDenied):
        suspension.suspend(own, REASON, by=SYSTEM)
    assert operator.post(page_of(own, "suspend"), {"reason": REASON}).status_code == 403


def test_the_queue_waits_and_goes_on_with_the_time_that_it_had_left(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    for state in ("submitted", "deferred", "scheduled", "delivered", "held"):
        make_message(domain, to=f"{state}@inbox.test", state=state)
    make_message(make_domain(make_tenant("Other").organization, "other.test"), to="other@inbox.test", state="deferred")
    before, left = states(), {row.address: row.expires_at for row in Recipient.objects.all()}
    suspended_long_ago(acme.organization)
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.HELD
    held = (RecipientState.HELD, "organization_suspended")
    assert states() == before | dict.fromkeys(("submitted", "deferred", "scheduled"), held)
    assert agreed() == []

    # Four days later, which is longer than anything is tried.
    days = timedelta(days=4)
    Recipient.objects.filter(reason="organization_suspended").update(
        state_at=timezone.now() - days, expires_at=actions.F("expires_at") - days
    )
    assert expire() == 0
    now = timezone.now()
    suspension.resume(acme.organization, by=SYSTEM)
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.NONE
    assert states() == before
    assert agreed() == []
    for name in ("submitted", "deferred"):
        row = Recipient.objects.get(address=f"{name}@inbox.test")
        assert abs(row.expires_at - left[row.address]) < timedelta(minutes=1)
        assert row.next_attempt_at is not None
        assert row.next_attempt_at <= timezone.now()
    scheduled = Recipient.objects.get(address="scheduled@inbox.test")
    assert scheduled.next_attempt_at is not None
    assert scheduled.next_attempt_at > now + timedelta(hours=2)
    assert scheduled.expires_at < now + LONGEST_HELD


def test_what_was_held_for_long_is_found_by_engines_again(acme: Tenant) -> None:
    """They look at the partitions of the last days, and farther back only where a message is registered."""
    message = make_message(make_domain(acme.organization), state="deferred")
    suspended_long_ago(acme.organization)
    settle_mail_holds()
    Recipient.objects.update(
        state_at=timezone.now() - timedelta(days=2), expires_at=actions.F("expires_at") - timedelta(days=2)
    )
    left = Recipient.objects.get()
    assert left.expires_at > timezone.now() + timedelta(days=27)
    suspension.resume(acme.organization, by=SYSTEM)
    # As if it had been submitted, and held, five days ago.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "time_of", lambda _: timezone.now() - timedelta(days=5))
        settle_mail_holds()
    row = ScheduledMessage.objects.get()
    assert (row.pk, row.organization_id) == (message.pk, acme.organization.pk)
    assert row.send_at <= timezone.now()
    act_on_message(Action.CANCEL, acme.organization, message.pk)
    assert not ScheduledMessage.objects.exists()


def test_members_release_nothing_while_it_is_suspended(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    waiting = make_message(domain, to="waiting@inbox.test", state="deferred")
    held = make_message(domain, to="held@inbox.test", state="held")
    suspended_long_ago(acme.organization)
    settle_mail_holds()
    api = Api(create_api_key(acme.organization, "Tests", ["full"]).api_key)
    for message in (waiting, held):
        acme.client.post(reverse("message_act", args=[message.pk, "release"]))
        acme.client.post(reverse("message_act", args=[message.pk, "retry"]))
        assert act_on_message(Action.RELEASE, acme.organization, message.pk).changed == 0
        assert api.post(f"emails/{message.pk}/release").status_code == 409
    acme.client.post(reverse("messages_act", args=["release"]) + "?state=held")
    assert {state for state, _ in states().values()} == {"held"}
    page = acme.client.get(reverse("message", args=[waiting.pk])).content.decode()
    assert "The organization is suspended" in page
    assert "/release/" not in page
    acme.client.post(reverse("message_act", args=[waiting.pk, "cancel"]))
    assert states()["waiting"] == ("cancelled", "")

    suspension.resume(acme.organization, by=SYSTEM)
    settle_mail_holds()
    assert states()["held"] == ("held", "")
    assert act_on_message(Action.RELEASE, acme.organization, held.pk).changed == 1


@pytest.mark.parametrize("first_ended", ["suspension", "deletion"])
def test_what_is_both_suspended_and_being_deleted_waits_until_neither_is(acme: Tenant, first_ended: str) -> None:
    make_message(make_domain(acme.organization), state="deferred")
    suspended_long_ago(acme.organization)
    settle_mail_holds()
    deletion.request_deletion(acme.organization)
    ends: dict[str, Callable[..., Any]] = {"suspension": suspension.resume, "deletion": deletion.undo_deletion}
    assert ends.pop(first_ended)(acme.organization, by=SYSTEM)
    settle_mail_holds()
    assert hold_of(acme.organization) in (MailHold.HOLDING, MailHold.HELD)
    assert {state for state, _ in states().values()} == {"held"}
    [last] = ends.values()
    assert last(acme.organization, by=SYSTEM)
    settle_mail_holds()
    assert states() == {"bob": ("deferred", "")}


def test_a_hold_does_not_overtake_the_resuming(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    make_message(make_domain(acme.organization), state="deferred")
    suspended_long_ago(acme.organization)
    real: Callable[..., Any] = mail_hold.act

    def resumed_before(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(mail_hold, "act", real)
        suspension.resume(acme.organization, by=SYSTEM)
        return real(*arguments, **options)

    monkeypatch.setattr(mail_hold, "act", resumed_before)
    settle_mail_holds()
    assert states() == {"bob": ("deferred", "")}
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.NONE
    assert not Event.objects.filter(type="held").exists()


def test_what_is_held_for_its_rates_stands_in_the_review_queue_until_somebody_decides(acme: Tenant) -> None:
    organization = acme.organization
    assert suspension.hold_for_rates(organization, REASON)
    assert not suspension.hold_for_rates(organization, REASON)
    assert (organization.review_cause, organization.is_held_for_rates) == (ReviewCause.RATES, True)
    assert suspension.approve(organization, by=SYSTEM)
    assert (organization.review_since, organization.suspended_at) == (None, None)
    assert organization.reviewed_at

    assert suspension.hold_for_rates(organization, REASON)
    assert suspension.suspend(organization, "For good.", by=SYSTEM)
    assert (organization.review_since, organization.suspension_reason) == (None, "For good.")
    assert not suspension.approve(organization, by=SYSTEM)
    assert organization.is_suspended
