"""Deleting an organization and one's own account, up to the moment at which something is erased."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import deletion, invitations, notices
from accounts.account_deletion import delete_account
from accounts.api_keys import create_api_key
from accounts.audit import SYSTEM, Actor
from accounts.models import (
    AuditEntry,
    Erasure,
    Invitation,
    MailHold,
    Membership,
    Notice,
    Organization,
    Role,
    User,
)
from accounts.personal_data import COPIED, TITLES, relations
from accounts.tasks import forget_notices, remind_of_deletions
from domains import smtp_users
from domains.models import SendingDomain
from events.models import Event
from relay import mail_hold
from relay.acting.actions import Acted
from relay.audit import disagreements
from relay.certificates import self_signed
from relay.database import database_url
from relay.expiry import expire
from relay.models import Recipient, RecipientState
from relay.submission.desk import shared_desk
from relay.submission.smtp_tls import Certificate
from relay.tasks import settle_mail_holds
from tests.factories import PASSWORD, Tenant, make_domain, make_message, make_tenant
from tests.in_process import Door, running_door
from tests.platform import wait_for
from tests.rest import refused

pytestmark = pytest.mark.django_db(transaction=True)

ADA = Actor("user", None, "ada@people.test")


@pytest.fixture(autouse=True)
def system(settings: Settings) -> Organization:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    settings.DELETION_GRACE_HOURS = 336
    return Organization.objects.create(name="PlugSend", is_system=True)


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("Acme")


def sign_in(tenant: Tenant) -> None:
    """By password just now, as dangerous acts want it."""
    tenant.client.logout()
    tenant.client.post("/accounts/login/", {"login": tenant.user.email, "password": PASSWORD})
    tenant.client.post("/accounts/reauthenticate/", {"password": PASSWORD})


def member_of(organization: Organization, role: str, email: str = "") -> Tenant:
    other = make_tenant(role.title(), email)
    other.organization.delete()
    Membership.objects.create(organization=organization, user=other.user, role=role)
    return Tenant(other.user, organization, other.client)


def mails() -> list[str]:
    mail.outbox.clear()
    notices.send_due()
    return [f"{one.to[0]}: {one.subject}" for one in mail.outbox]


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


# ---- Pages -----------------------------------------------------------------------------------------------------------


def test_an_owner_deletes_and_undoes_on_pages(acme: Tenant) -> None:
    make_message(make_domain(acme.organization))
    viewer = member_of(acme.organization, Role.VIEWER)
    assert "/settings/delete/" not in viewer.client.get("/settings/").content.decode()
    assert viewer.client.get("/settings/delete/").status_code == 403
    page = acme.client.get("/settings/delete/")
    assert page.headers["Location"].startswith("/accounts/reauthenticate/")
    page = acme.client.post(page.headers["Location"], {"password": PASSWORD}, follow=True).content.decode()
    assert "Delete Acme?" in page
    assert "Messages with contents and timelines" in page
    page = acme.client.post("/settings/delete/", {"name": "acme"}).content.decode()
    assert "That is not the name." in page
    acme.organization.refresh_from_db()
    assert not acme.organization.is_being_deleted

    acme.client.post("/settings/delete/", {"name": "Acme"})
    acme.organization.refresh_from_db()
    assert acme.organization.erase_at is not None
    assert acme.organization.erase_at - timezone.now() > timedelta(days=13)
    assert actions()[-1] == "organization.deletion_requested"
    for path in ("/overview/", "/messages/", "/settings/", "/domains/", "/settings/delete/"):
        answer = acme.client.get(path)
        assert answer.status_code == 403
        told = answer.content.decode()
        assert "Acme is being deleted" in told
        assert f"{acme.user.email} asked for it" in told
        assert "/settings/delete/undo/" in told
    assert acme.client.get("/overview/", headers={"HX-Request": "true"}).headers["HX-Refresh"] == "true"
    told = viewer.client.get("/overview/").content.decode()
    assert "Its owners can undo that" in told
    assert "/settings/delete/undo/" not in told
    assert viewer.client.post("/settings/delete/undo/").status_code == 403

    page = acme.client.post("/settings/delete/undo/", follow=True).content.decode()
    assert "Acme is not deleted." in page
    acme.organization.refresh_from_db()
    assert not acme.organization.is_being_deleted
    assert actions()[-1] == "organization.deletion_undone"


def test_owners_are_told_each_time(acme: Tenant) -> None:
    second = member_of(acme.organization, Role.OWNER, "second@people.test")
    member_of(acme.organization, Role.VIEWER)
    deletion.request_deletion(acme.organization, by=ADA)
    deletion.request_deletion(acme.organization, by=ADA)  # twice is once
    addresses = [acme.user.email, second.user.email]
    assert [line.split(" will be erased on")[0] for line in mails()] == [f"{one}: Acme" for one in addresses]
    remind_of_deletions()
    assert mails() == []
    Organization.objects.filter(pk=acme.organization.pk).update(erase_at=timezone.now() + timedelta(hours=23))
    remind_of_deletions()
    remind_of_deletions()
    assert [line.partition(": 2")[0].split(": ")[1] for line in mails()] == ["Acme is about to be erased"] * 2
    deletion.undo_deletion(acme.organization, by=ADA)
    assert mails() == [f"{one}: Acme is not deleted" for one in addresses]
    assert not deletion.undo_deletion(acme.organization, by=ADA)


def test_the_platforms_own_organization_stays(system: Organization) -> None:
    with pytest.raises(PermissionDenied, match="platform's own mail"):
        deletion.request_deletion(system)


def test_what_is_being_erased_is_not_brought_back(acme: Tenant) -> None:
    deletion.request_deletion(acme.organization)
    Erasure.objects.create(pk=acme.organization.pk, requested_at=timezone.now())
    assert not deletion.undo_deletion(acme.organization)
    page = acme.client.post("/settings/delete/undo/", follow=True).content.decode()
    assert "Acme is being deleted" in page


# ---- Doors -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Door]:
    """For SMTP; REST's desk is opened anew, whose connections would keep the test database from being dropped."""
    monkeypatch.setattr("relay.submission.desk._shared", None)
    with running_door(Certificate(*map(str, self_signed(tmp_path, "mail.here.test")))) as running:
        yield running
    shared_desk().close()


@pytest.mark.parametrize("suspended", [False, True])
def test_both_doors_refuse_and_take_again(acme: Tenant, door: Door, suspended: bool) -> None:
    """A suspension is another matter: it shows when the deletion is undone."""
    address = f"app@{make_domain(acme.organization).name}"
    password = smtp_users.create_smtp_user(SendingDomain.objects.get(), "app").secret
    key = create_api_key(acme.organization, "App", ["full"]).secret
    if suspended:
        Organization.objects.filter(pk=acme.organization.pk).update(suspended_at=timezone.now())

    def rest(method: str, path: str) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        return Client().generic(method, path, "{}", content_type="application/json", headers=headers)

    def smtp(client: smtplib.SMTP) -> str:
        """What MAIL is answered, or AUTH where that is refused."""
        client.starttls(context=ssl._create_unverified_context())
        try:
            client.login(address, password)
        except smtplib.SMTPAuthenticationError as error:
            return str(error.smtp_error)
        return client.mail(address)[1].decode()

    def new_session() -> str:
        with smtplib.SMTP("127.0.0.1", door.port, timeout=20) as client:
            return smtp(client)

    before = "organization_suspended" if suspended else "Sender ok"
    assert rest("GET", "/api/v1/domains").status_code == 200
    with smtplib.SMTP("127.0.0.1", door.port, timeout=20) as open_session:
        assert before in smtp(open_session)
        deletion.request_deletion(acme.organization)
        wait_for(lambda: rest("GET", "/api/v1/domains").status_code == 403, "REST refuses", 5)
        wait_for(lambda: "organization_being_deleted" in new_session(), "SMTP refuses", 5)
        if not suspended:
            open_session.rset()
            assert "organization_being_deleted" in open_session.mail(address)[1].decode()
    for method, path in (("GET", "/api/v1/domains"), ("POST", "/api/v1/emails"), ("POST", "/api/v1/domains")):
        refused(rest(method, path), 403, "organization_being_deleted")
    deletion.undo_deletion(acme.organization)
    assert rest("GET", "/api/v1/domains").status_code == 200
    assert before in new_session()


# ---- The queue -------------------------------------------------------------------------------------------------------


def states() -> dict[str, tuple[str, str]]:
    return {
        address: (state, reason)
        for address, state, reason in Recipient.objects.values_list("address", "state", "reason")
    }


def agreed() -> list[str]:
    with psycopg.connect(database_url()) as database:
        return disagreements(database)


def requested_long_ago(organization: Organization) -> None:
    deletion.request_deletion(organization)
    long_ago = timezone.now() - timedelta(minutes=5)
    Organization.objects.filter(pk=organization.pk).update(deletion_requested_at=long_ago)


def hold_of(organization: Organization) -> str:
    return Organization.objects.values_list("mail_hold", flat=True).get(pk=organization.pk)


def test_waiting_mail_is_held_and_goes_on_when_the_deletion_is_undone(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    for state in ("submitted", "deferred", "scheduled", "delivered", "held"):
        make_message(domain, to=f"{state}@inbox.test", state=state)
    other = make_domain(make_tenant("Other").organization, "other.test")
    make_message(other, to="other@inbox.test", state="deferred")
    before = states()
    requested_long_ago(acme.organization)
    busy = Recipient.objects.filter(address="deferred@inbox.test")
    busy.update(leased_by=acme.organization.pk, attempts=2)
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.HOLDING  # what is being delivered may come back
    busy.update(leased_by=None, attempts=1)
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.HELD
    held = (RecipientState.HELD, "organization_being_deleted")
    assert states() == before | {f"{state}@inbox.test": held for state in ("submitted", "deferred", "scheduled")}
    assert agreed() == []
    assert Event.objects.filter(type="held", reason="organization_being_deleted").count() == 3

    deletion.undo_deletion(acme.organization)
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.NONE
    assert states() == before
    assert agreed() == []


def test_mail_that_came_in_at_the_last_moment_is_held_too(acme: Tenant) -> None:
    domain = make_domain(acme.organization)
    deletion.request_deletion(acme.organization)
    settle_mail_holds()
    make_message(domain, state="submitted")
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.HOLDING
    assert states() == {"bob@inbox.test": (RecipientState.HELD, "organization_being_deleted")}


def test_what_comes_back_from_delivery_in_the_middle_is_held_too(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    make_message(make_domain(acme.organization), state="deferred")
    requested_long_ago(acme.organization)
    Recipient.objects.update(leased_by=acme.organization.pk)
    real: Callable[..., Any] = mail_hold.act

    def then_deferred(*arguments: Any, **options: Any) -> Any:
        acted = real(*arguments, **options)
        Recipient.objects.update(leased_by=None)
        return acted

    monkeypatch.setattr(mail_hold, "act", then_deferred)
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.HOLDING
    settle_mail_holds()
    assert hold_of(acme.organization) == MailHold.HELD
    assert states() == {"bob@inbox.test": (RecipientState.HELD, "organization_being_deleted")}


def test_a_long_queue_takes_one_thread_of_each_process(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    make_message(make_domain(acme.organization), state="deferred")
    requested_long_ago(acme.organization)
    calls: list[int] = []

    def long(*_: Any, **__: Any) -> Acted:
        calls.append(1)
        settle_mail_holds()  # beat's next comes meanwhile
        return Acted(1, more=len(calls) < 3)

    monkeypatch.setattr(mail_hold, "act", long)
    settle_mail_holds()
    assert len(calls) == 3


def test_who_was_invited_cannot_join_and_members_can_leave(acme: Tenant) -> None:
    owner = acme.organization.memberships.select_related("organization", "user").get()
    newcomer = User.objects.create_user("new@people.test", PASSWORD)
    EmailAddress.objects.create(user=newcomer, email=newcomer.email, verified=True, primary=True)
    [invitation] = invitations.invite(owner, [newcomer.email], Role.VIEWER, by=SYSTEM).invitations
    viewer = member_of(acme.organization, Role.VIEWER)
    deletion.request_deletion(acme.organization)
    client = Client()
    client.force_login(newcomer)
    link = f"/invitations/{invitations.secret_of(invitation.pk, invitation.expires_at)}/"
    assert "Acme is being deleted by its owners" in client.post(link, follow=True).content.decode()
    assert not Membership.objects.filter(user=newcomer).exists()
    viewer.client.post(reverse("member_leave"))
    assert not Membership.objects.filter(user=viewer.user).exists()


def test_once_erasing_has_begun_the_page_offers_no_way_back(acme: Tenant) -> None:
    deletion.request_deletion(acme.organization)
    assert "Undo the deletion" in acme.client.get("/overview/").content.decode()
    Erasure.objects.create(pk=acme.organization.pk, requested_at=timezone.now())
    page = acme.client.get("/overview/").content.decode()
    assert "It is being erased now" in page
    assert "Undo the deletion" not in page


def test_held_mail_ends_at_its_time(acme: Tenant) -> None:
    make_message(make_domain(acme.organization), state="submitted")
    requested_long_ago(acme.organization)
    settle_mail_holds()
    Recipient.objects.update(next_attempt_at=timezone.now(), expires_at=timezone.now())
    assert expire() == 1
    assert states() == {"bob@inbox.test": ("bounced", "expired")}
    assert agreed() == []


def test_a_hold_does_not_overtake_the_undoing(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    make_message(make_domain(acme.organization), state="submitted")
    requested_long_ago(acme.organization)
    real: Callable[..., Any] = mail_hold.act

    def undone_before(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(mail_hold, "act", real)
        deletion.undo_deletion(acme.organization)
        return real(*arguments, **options)

    monkeypatch.setattr(mail_hold, "act", undone_before)
    settle_mail_holds()
    settle_mail_holds()
    assert states() == {"bob@inbox.test": ("submitted", "")}
    assert hold_of(acme.organization) == MailHold.NONE


# ---- Operators -------------------------------------------------------------------------------------------------------


def test_operators_undo_or_erase_at_once_after_they_were_asked(acme: Tenant) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test", PASSWORD))
    address = "/admin/accounts/organization/"
    deletion.request_deletion(acme.organization, by=ADA)
    assert "erased on" in client.get(address).content.decode()
    for name in ("erase_at_once", "undo_deletion"):
        form = {"action": name, "_selected_action": [str(acme.organization.pk)]}
        page = client.post(address, form).content.decode()
        assert "asked for by ada@people.test" in page
        acme.organization.refresh_from_db()
        assert acme.organization.is_being_deleted
        client.post(address, form | {"confirmed": "yes"})
        entry = AuditEntry.objects.latest("id")
        assert (entry.actor_kind, entry.actor_name) == ("operator", "operator@people.test")
        acme.organization.refresh_from_db()
        if name == "erase_at_once":
            assert entry.action == "organization.erasure_hastened"
            assert acme.organization.erase_at <= timezone.now()
    assert entry.action == "organization.deletion_undone"
    assert not acme.organization.is_being_deleted


# ---- One's own account -----------------------------------------------------------------------------------------------


def test_an_account_goes_with_its_sessions_and_leaves_names(acme: Tenant) -> None:
    second = member_of(acme.organization, Role.ADMIN)
    User.objects.filter(pk=second.user.pk).update(name="Grace")
    invitation = Invitation.objects.create(
        organization=acme.organization, email="x@people.test", role=Role.VIEWER, digest=b"1",
        invited_by=second.user, expires_at=timezone.now(),
    )  # fmt: skip
    assert second.client.get("/account/delete/").headers["Location"].startswith("/accounts/reauthenticate/")
    elsewhere = Tenant(second.user, second.organization, Client())
    sign_in(second)
    sign_in(elsewhere)
    assert elsewhere.client.get("/overview/").status_code == 200
    page = second.client.get("/account/delete/").content.decode()
    assert "You leave Acme" in page
    assert "Your account is deleted" in second.client.post("/account/delete/").content.decode()
    left = [f"{acme.user.email}: {second.user.email} has left Acme"]
    assert mails() == [*left, f"{second.user.email}: Your PlugSend account is deleted"]
    Notice.objects.update(sent_at=timezone.now() - timedelta(days=31))
    forget_notices()
    assert elsewhere.client.get("/overview/").status_code == 302
    invitation.refresh_from_db()
    assert invitation.inviter == "Grace"
    entry = AuditEntry.objects.get(action="member.left")
    assert entry.actor_name == second.user.email
    # The audit log keeps the address, and nothing else does.
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            cursor.execute(
                f'SELECT count(*) FROM "{model._meta.db_table}" t WHERE t::text ~ %s',
                [f"{second.user.pk}|{second.user.email}"],
            )
            assert bool(cursor.fetchone()[0]) == (model is AuditEntry), model
    assert not UserSession.objects.filter(user_id=second.user.pk).exists()
    assert Session.objects.count() == 1  # the first owner's


def test_the_only_owner_stays_until_somebody_else_owns_it(acme: Tenant) -> None:
    sign_in(acme)
    page = acme.client.get("/account/delete/").content.decode()
    assert "You are the only owner of what is listed here" in page
    assert "/settings/delete/" in page
    assert acme.client.post("/account/delete/").status_code == 409
    second = member_of(acme.organization, Role.OWNER, "second@people.test")
    User.objects.filter(pk=second.user.pk).update(is_active=False)
    assert not delete_account(acme.user, by=SYSTEM)  # somebody who cannot come in is no owner
    User.objects.filter(pk=second.user.pk).update(is_active=True)
    assert delete_account(acme.user, by=SYSTEM)
    assert not delete_account(second.user, by=SYSTEM)
    operator = User.objects.create_superuser("operator@people.test", PASSWORD)
    assert not delete_account(operator, by=SYSTEM)


def test_a_copy_of_ones_data(acme: Tenant) -> None:
    assert acme.client.get("/account/data/").status_code == 302
    create_api_key(acme.organization, "Mine", created_by=acme.user)
    sign_in(acme)
    answer = acme.client.get("/account/data/")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="plugsend-account.json"'
    copy = answer.json()
    assert copy["profile"]["email"] == acme.user.email
    assert copy["addresses"] == [{"email": acme.user.email, "verified": True, "primary": True}]
    assert [(row["organization__name"], row["role"]) for row in copy["memberships"]] == [("Acme", "owner")]
    assert [row["name"] for row in copy["api_keys_made"]] == ["Mine"]
    assert [(row["action"], row["client"]) for row in copy["acts_on_the_account"]] == [
        ("user.signed_in_on_new_device", "127.0.0.1")
    ]
    assert [row["ip"] for row in copy["sessions"]] == ["127.0.0.1"]
    assert "password" not in answer.content.decode().replace("has_password", "")


def test_no_table_about_people_is_forgotten_in_the_copy() -> None:
    assert {relation.related_model._meta.label for relation in relations()} <= COPIED.keys()
    assert COPIED.keys() == TITLES.keys()
