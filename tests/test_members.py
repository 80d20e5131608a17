"""Members: invited, joining, changing roles, removed, leaving, handing over; and going from one organization to another."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import invitations, members, notices, second_factor
from accounts.audit import SYSTEM
from accounts.catalogue import Refused
from accounts.members import MembersRefused
from accounts.models import AuditEntry, Invitation, Membership, Notice, Organization, Role, User
from accounts.notices import send_due
from accounts.services import create_organization
from tests.factories import PASSWORD, Tenant, make_domain, make_tenant
from tests.test_manage_at_once import until_it_waits

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _mail_stays_here(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def person(email: str) -> tuple[User, Client]:
    """Somebody with an account and no organization."""
    user = User.objects.create_user(email, PASSWORD)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    client = Client()
    client.force_login(user)
    return user, client


def member(tenant: Tenant, role: Role) -> tuple[Membership, Client]:
    user, client = person(f"{role}-{User.objects.count()}@people.test")
    return Membership.objects.create(organization=tenant.organization, user=user, role=role), client


def mails() -> dict[str, mail.EmailMessage]:
    """What the notices written since say, by whom they go to."""
    mail.outbox = []
    send_due()
    return {one.to[0]: one for one in mail.outbox}


def invite(tenant: Tenant, *addresses: str, role: str = "developer") -> dict[str, str]:
    """By the page; the links of the mails."""
    tenant.client.post(reverse("member_invite"), {"addresses": ", ".join(addresses), "role": role})
    return {address: link_in(one) for address, one in mails().items()}


def link_in(message: mail.EmailMessage) -> str:
    found = re.search(r"(/invitations/[\w-]{43}/)\n", str(message.body))
    assert found, message.body
    return found[1]


def actions(organization: Organization) -> list[str]:
    entries = AuditEntry.objects.of(organization).exclude(action="organization.created").order_by("id")
    return list(entries.values_list("action", flat=True))


def text_of(client: Client, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status
    page = answer.content.decode()
    return page[page.index('<main id="main"') :]


# ---- Invitations -----------------------------------------------------------------------------------------------------


def test_invited_by_mail_and_joined_with_one_button(tenant: Tenant) -> None:
    user, client = person("ada@people.test")

    links = invite(tenant, "Ada@people.test", "bob@people.test", "acme@people.test")

    assert set(links) == {"ada@people.test", "bob@people.test"}  # the third is a member
    secret = links["ada@people.test"].split("/")[2]
    stored = f"{list(Invitation.objects.values())}{list(Notice.objects.values())}"
    assert secret not in stored
    listed = text_of(tenant.client, reverse("members"))
    assert "ada@people.test" in listed
    assert "bob@people.test" in listed

    assert "Join Acme" in text_of(client, links["ada@people.test"])
    assert not Membership.objects.filter(user=user).exists()  # looking is not joining
    answer = client.post(links["ada@people.test"], follow=True)
    assert "You are a member of Acme now" in answer.content.decode()
    joined = Membership.objects.get(user=user)
    assert (joined.organization, joined.role) == (tenant.organization, Role.DEVELOPER)
    assert "has joined" in mails()["acme@people.test"].subject
    expected = ["invitation.sent", "invitation.sent", "invitation.accepted", "member.joined"]
    assert actions(tenant.organization) == expected
    assert "This invitation was used" in text_of(client, links["ada@people.test"], 410)


def test_a_newcomer_signs_up_by_the_link_and_is_in_without_a_code(tenant: Tenant) -> None:
    link = invite(tenant, "ada@people.test", role="viewer")["ada@people.test"]
    client = Client()

    page = text_of(client, link)
    assert f"{link}sign-up/" in page
    form = text_of(client, f"{link}sign-up/")
    assert 'value="ada@people.test"' in form
    assert "Organization" not in form
    answer = client.post(
        f"{link}sign-up/", {"email": "mallory@people.test", "password1": PASSWORD, "organization_name": "X"}
    )

    assert answer["Location"] == reverse("overview")
    user = User.objects.get(email="ada@people.test")
    assert not User.objects.filter(email="mallory@people.test").exists()
    assert EmailAddress.objects.get(user=user).verified
    assert [one.role for one in user.memberships.all()] == [Role.VIEWER]
    assert client.get(reverse("overview")).status_code == 200


def test_no_account_is_made_when_the_invitation_ends_while_the_form_is_open(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = invite(tenant, "ada@people.test")["ada@people.test"]
    found = invitations.accept

    def too_late(invitation: Invitation, *args: object, **values: object) -> Membership:
        Invitation.objects.of_any().update(revoked_at=timezone.now())
        return found(invitation, *args, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(invitations, "accept", too_late)
    answer = Client().post(f"{link}sign-up/", {"password1": PASSWORD})

    assert answer["Location"] == link
    assert not User.objects.filter(email="ada@people.test").exists()


def test_whoever_is_signed_in_as_somebody_else_is_told_so(tenant: Tenant) -> None:
    link = invite(tenant, "ada@people.test")["ada@people.test"]
    user, client = person("bob@people.test")
    EmailAddress.objects.create(user=user, email="ada@people.test", verified=False)  # claimed, not proved

    assert "You are signed in as" in text_of(client, link)
    client.post(link)

    assert not Membership.objects.filter(user=user).exists()


@pytest.mark.parametrize("end", ["expired", "revoked", "replaced", "unknown"])
def test_an_invitation_that_has_ended_has_its_own_page(end: str, tenant: Tenant) -> None:
    user, client = person("ada@people.test")
    link = invite(tenant, "ada@people.test")["ada@people.test"]
    invitation = Invitation.objects.get()
    words, status = f"This invitation has {end}", 410
    if end == "expired":
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert "Expired" in text_of(tenant.client, reverse("members"))
    elif end == "revoked":
        tenant.client.post(reverse("invitation_revoke", args=[invitation.pk]))
        words = "This invitation was revoked"
    elif end == "replaced":
        tenant.client.post(reverse("invitation_resend", args=[invitation.pk]))
        assert link_in(mails()["ada@people.test"]) != link
        words, status = "This link does not work", 404
    else:
        link, words, status = reverse("invitation", args=["x" * 43]), "This link does not work", 404

    assert words in text_of(client, link, status)
    assert client.post(link).status_code == status
    assert client.get(f"{link}sign-up/")["Location"] == link
    assert not Membership.objects.filter(user=user).exists()


def test_an_expired_invitation_sent_again_is_good_again(tenant: Tenant) -> None:
    _, client = person("ada@people.test")
    invite(tenant, "ada@people.test")
    Invitation.objects.update(expires_at=timezone.now() - timedelta(days=1))

    tenant.client.post(reverse("invitation_resend", args=[Invitation.objects.get().pk]))

    assert "Join Acme" in text_of(client, link_in(mails()["ada@people.test"]))
    assert invite(tenant, "ada@people.test", role="admin")  # invited anew: the former one ends
    assert [one.role for one in invitations.waiting_for(tenant.organization)] == ["admin"]


def test_inviting_does_not_tell_who_has_an_account(tenant: Tenant) -> None:
    person("known@people.test")
    told = []
    for address in ("known@people.test", "other@people.test"):
        answer = tenant.client.post(reverse("member_invite"), {"addresses": address, "role": "viewer"}, follow=True)
        changing = r'csrfmiddlewaretoken" value="\w+|[0-9a-f-]{36}|<time.*?</time>'
        page = re.sub(changing, "", answer.content.decode())
        sent = mails()[address]
        body = re.sub(r"/invitations/\S+", "", str(sent.body))
        told.append((page.replace(address, "?"), sent.subject, body))
        Invitation.objects.all().delete()
    assert told[0] == told[1]


def test_strangers_are_not_mailed_without_end(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    acting = Membership.objects.get(user=tenant.user)
    for _ in range(invitations.A_DAY_EACH):
        invitations.invite(acting, ["ada@people.test"], Role.VIEWER, by=SYSTEM)
    with pytest.raises(MembersRefused, match="24 hours"):
        invitations.resend(acting, invitations.waiting_for(tenant.organization)[0].pk, by=SYSTEM)
    monkeypatch.setattr(invitations, "A_DAY", invitations.A_DAY_EACH)
    with pytest.raises(MembersRefused, match="tomorrow"):
        invitations.invite(acting, ["bob@people.test"], Role.VIEWER, by=SYSTEM)


def test_a_notice_that_cannot_be_sent_keeps_no_other_back(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    real = notices.send_mail
    refusals = {
        "nobody@people.test": Refused("invalid_recipient", address="x"),
        "away@people.test": RuntimeError("away"),
    }

    def send(subject: str, text: str, sender: None, readers: list[str]) -> int:
        if refusal := refusals.get(readers[0]):
            raise refusal
        return real(subject, text, sender, readers)

    monkeypatch.setattr(notices, "send_mail", send)
    for address in ("nobody@people.test", "away@people.test", "ada@people.test"):
        notices.notify_address(tenant.organization, address, "member_removed", who="Bob", email=address)
    assert notices.send_due() == 2
    assert list(Notice.objects.filter(sent_at=None).values_list("address", flat=True)) == ["away@people.test"]
    assert [one.to for one in mail.outbox] == [["ada@people.test"]]
    del refusals["away@people.test"]
    assert notices.send_due() == 1


def test_wrong_addresses_are_named_and_nobody_is_invited(tenant: Tenant) -> None:
    for address in ("ada@localhost", "a@xn--a.com"):  # which our own door would refuse
        assert tenant.client.post(reverse("member_invite"), {"addresses": address, "role": "viewer"}).status_code == 200
    form = {"addresses": "ada@people.test bob@", "role": "viewer"}
    page = tenant.client.post(reverse("member_invite"), form).content.decode()

    assert "“bob@” is not an e-mail address" in page
    assert not Invitation.objects.exists()


# ---- Roles -----------------------------------------------------------------------------------------------------------

OWNER, ADMIN, DEVELOPER, VIEWER = Role


@pytest.mark.parametrize(
    ("acting", "target", "role", "is_allowed"),
    [
        (OWNER, VIEWER, OWNER, True),
        (OWNER, OWNER, VIEWER, True),
        (ADMIN, VIEWER, ADMIN, True),
        (ADMIN, ADMIN, VIEWER, True),
        (ADMIN, VIEWER, OWNER, False),
        (ADMIN, OWNER, ADMIN, False),
        (DEVELOPER, VIEWER, DEVELOPER, False),
        (VIEWER, DEVELOPER, VIEWER, False),
    ],
)
def test_who_may_change_whom(acting: Role, target: Role, role: Role, is_allowed: bool, tenant: Tenant) -> None:
    (actor, _), (subject, _) = member(tenant, acting), member(tenant, target)
    mails()

    def attempt() -> None:
        members.change_role(actor, subject.pk, role, by=SYSTEM)

    if is_allowed:
        attempt()
        subject.refresh_from_db()
        assert subject.role == role
        assert "member.role_changed" in actions(tenant.organization)
        assert "has changed" in mails()[subject.user.email].subject
        members.remove_member(actor, subject.pk, by=SYSTEM)
        return
    with pytest.raises(MembersRefused):
        attempt()
    if target == OWNER or acting in (DEVELOPER, VIEWER):
        with pytest.raises(MembersRefused):
            members.remove_member(actor, subject.pk, by=SYSTEM)
    if role == OWNER:
        with pytest.raises(MembersRefused):
            invitations.invite(actor, ["x@people.test"], role, by=SYSTEM)
    subject.refresh_from_db()
    assert subject.role == target
    assert actions(tenant.organization) == []


def test_the_last_owner_stays(tenant: Tenant) -> None:
    own = Membership.objects.get(user=tenant.user)
    member(tenant, ADMIN)
    gone, _ = member(tenant, OWNER)
    User.objects.filter(pk=gone.user_id).update(is_active=False)  # whose account is closed owns nothing any more

    for page in (reverse("member_leave"), reverse("member_remove", args=[own.pk])):
        tenant.client.post(page, follow=True)
    with pytest.raises(MembersRefused, match="always has an owner"):
        members.change_role(own, own.pk, VIEWER, by=SYSTEM)

    assert Membership.objects.filter(pk=own.pk, role=OWNER).exists()


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_leave_at_once_do_not_both_go(tenant: Tenant) -> None:
    owners = [Membership.objects.get(user=tenant.user), member(tenant, OWNER)[0]]
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            members.leave(owners[0], by=SYSTEM)
            second = until_it_waits(threads, lambda: members.leave(owners[1], by=SYSTEM))
            assert not second.done()  # it waits for what becomes of the first
        with pytest.raises(MembersRefused, match="always has an owner"):
            second.result(30)

    assert [one.pk for one in tenant.organization.memberships.filter(role=OWNER)] == [owners[1].pk]
    assert actions(tenant.organization) == ["member.left"]


def test_a_removed_member_is_out_at_once_and_other_organizations_stay(tenant: Tenant) -> None:
    one, client = member(tenant, DEVELOPER)
    rival = create_organization("Rival", one.user)
    client.post(reverse("organization_open", args=[tenant.organization.pk]))
    domain = make_domain(tenant.organization)
    assert client.get(reverse("domain", args=[domain.pk])).status_code == 200

    tenant.client.post(reverse("member_remove", args=[one.pk]))

    assert client.get(reverse("domain", args=[domain.pk])).status_code == 404
    assert rival.name in client.get(reverse("overview")).content.decode()
    assert "removed" in mails()[one.user.email].subject
    assert actions(tenant.organization)[-1] == "member.removed"
    Membership.objects.filter(user=one.user).delete()
    poll = client.get(reverse("overview"), headers={"HX-Request": "true"})
    assert poll["HX-Redirect"] == reverse("organization_create")  # not into the middle of the page


def test_ownership_is_handed_over_only_after_the_password_is_shown_again(tenant: Tenant) -> None:
    heir, client = member(tenant, DEVELOPER)
    url = reverse("hand_over", args=[heir.pk])

    other_session = Client()
    other_session.force_login(tenant.user)
    for asked in (tenant.client.get(url), other_session.post(url)):
        assert asked["Location"].startswith(reverse("account_reauthenticate"))
    heir.refresh_from_db()
    assert heir.role == DEVELOPER
    tenant.client.post(f"{reverse('account_reauthenticate')}?next={url}", {"password": PASSWORD})
    assert "Hand Acme over to" in text_of(tenant.client, url)
    tenant.client.post(url)

    roles = dict(tenant.organization.memberships.values_list("user__email", "role"))
    assert roles == {heir.user.email: OWNER, tenant.user.email: ADMIN}
    sent = mails()
    assert "You own Acme now" in sent[heir.user.email].subject
    assert "handed Acme over" in sent[tenant.user.email].subject
    assert actions(tenant.organization) == ["member.role_changed", "member.role_changed"]
    assert client.get(reverse("require_second_factor")).status_code == 302


def test_making_an_owner_by_the_role_form_asks_for_the_password_and_then_goes_on(tenant: Tenant) -> None:
    one, _ = member(tenant, ADMIN)
    url = reverse("member_role", args=[one.pk])

    asked = tenant.client.post(url, {"role": "owner"})["Location"]
    one.refresh_from_db()
    assert one.role == ADMIN
    answer = tenant.client.post(asked, {"password": PASSWORD, "next": url})

    assert answer["Location"] == reverse("members")
    one.refresh_from_db()
    assert one.role == OWNER


# ---- From one organization to another --------------------------------------------------------------------------------


def test_who_has_several_organizations_goes_between_them_and_links_lead_where_they_belong(tenant: Tenant) -> None:
    second = tenant.client.post(reverse("organization_create"), {"name": "Second"}, follow=True).content.decode()
    assert "Second" in second
    other = Organization.objects.get(name="Second")
    domain = make_domain(tenant.organization)
    link = reverse("domain", args=[domain.pk])

    page = text_of(tenant.client, link, 404)  # it is in the other one
    assert f'action="{reverse("organization_open", args=[tenant.organization.pk])}"' in page
    assert f'name="next" value="{link}"' in page
    opened = reverse("organization_open", args=[tenant.organization.pk])
    assert tenant.client.post(opened, {"next": link})["Location"] == link
    assert tenant.client.get(link).status_code == 200

    assert tenant.client.post(opened, {"next": "https://evil.test/"})["Location"] == reverse("overview")
    stranger = make_tenant("Stranger")
    assert stranger.client.post(opened).status_code == 404
    assert stranger.client.post(reverse("organization_open", args=[other.pk])).status_code == 404


# ---- A second factor -------------------------------------------------------------------------------------------------


@pytest.fixture
def protected(monkeypatch: pytest.MonkeyPatch) -> set[User]:
    """Who has a second factor."""
    have: set[User] = set()
    monkeypatch.setattr(second_factor, "has_second_factor", lambda user: user in have)
    return have


def test_an_organization_that_asks_for_a_second_factor_shows_nothing_before(
    tenant: Tenant, protected: set[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, client = member(tenant, ADMIN)
    domain = make_domain(tenant.organization)
    link, ask = reverse("domain", args=[domain.pk]), reverse("require_second_factor")
    tenant.client.get(ask)
    tenant.client.post(f"{reverse('account_reauthenticate')}?next={ask}", {"password": PASSWORD})

    tenant.client.post(ask, {"require": "on"})
    tenant.organization.refresh_from_db()
    assert not tenant.organization.require_mfa  # the owner has none
    assert "yourself" in text_of(tenant.client, ask)
    protected.add(tenant.user)
    tenant.client.post(ask, {"require": "on"})
    tenant.organization.refresh_from_db()
    assert tenant.organization.require_mfa
    assert "asks for a second factor" in mails()[one.user.email].subject

    led = client.get(link)["Location"]
    assert led == f"{reverse('second_factor')}?next={link.replace('/', '%2F')}"
    page = client.get(led).content.decode()
    assert domain.name not in page
    for name in ("overview", "domains", "members", "settings", "audit_log", "messages"):
        assert client.get(reverse(name)).status_code == 302
    assert client.post(reverse("domain_remove", args=[domain.pk])).status_code == 302
    assert tenant.client.get(link).status_code == 200

    protected.add(one.user)
    assert client.get(led)["Location"] == link
    assert client.get(link).status_code == 200
    tenant.client.post(ask, {})
    assert actions(tenant.organization)[-2:] == [
        "organization.second_factor_required",
        "organization.second_factor_optional",
    ]
