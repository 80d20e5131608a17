"""Signing up, signing in, and getting back in."""

import re

import pytest
from django.core import mail
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import Membership, Organization, Role, User
from tests.factories import PASSWORD, make_tenant

pytestmark = pytest.mark.django_db

FORM = {"email": "ada@people.test", "password1": PASSWORD, "organization_name": "Acme"}


@pytest.fixture(autouse=True)
def _mail_stays_here(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    }  # no rate limits between tests


def code_in_mail() -> str:
    found = re.search(r"^(\S+) is your PlugSend code$", mail.outbox[-1].subject)
    assert found, mail.outbox[-1].subject
    return found[1]


def test_signing_up_makes_a_person_an_organization_and_asks_for_the_code(client: Client) -> None:
    page = client.post("/accounts/signup/", FORM, follow=True).content.decode()

    assert "Check your mail" in page
    membership = Membership.objects.get(user__email="ada@people.test")
    assert membership.organization.name == "Acme"
    assert membership.role == Role.OWNER
    assert mail.outbox[-1].to == ["ada@people.test"]


def test_the_code_page_leads_to_the_sandbox_inbox_of_that_address(client: Client) -> None:
    page = client.post("/accounts/signup/", FORM, follow=True).content.decode()

    assert "/sandbox/inbox/?to=ada%40people.test" in page


def test_the_code_opens_the_overview(client: Client) -> None:
    client.post("/accounts/signup/", FORM)

    page = client.post("/accounts/confirm-email/", {"code": code_in_mail()}, follow=True)

    assert page.redirect_chain[-1][0] == "/overview/"
    assert "0 of 4 done" in page.content.decode()


def test_whose_code_got_lost_gets_another_and_the_first_opens_nothing(client: Client) -> None:
    page = client.post("/accounts/signup/", FORM, follow=True).content.decode()
    assert "Send a new code" in page
    lost = code_in_mail()

    client.post("/accounts/confirm-email/", {"action": "resend"})

    assert len(mail.outbox) == 2
    assert code_in_mail() != lost
    client.post("/accounts/confirm-email/", {"code": lost})
    assert client.get("/overview/").status_code == 302
    page = client.post("/accounts/confirm-email/", {"code": code_in_mail()}, follow=True)
    assert page.redirect_chain[-1][0] == "/overview/"


def test_a_wrong_code_opens_nothing(client: Client) -> None:
    client.post("/accounts/signup/", FORM)

    page = client.post("/accounts/confirm-email/", {"code": "000000"}, follow=True).content.decode()

    assert "Check your mail" in page
    assert client.get("/overview/").status_code == 302


def test_sign_up_without_an_organization_name_makes_nothing(client: Client) -> None:
    page = client.post("/accounts/signup/", FORM | {"organization_name": ""}).content.decode()

    assert "Fill this in." in page
    assert not User.objects.exists()
    assert not Organization.objects.exists()


def test_no_person_remains_when_the_organization_cannot_be_made(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, owner: User, **by: object) -> Organization:
        raise RuntimeError("no")

    monkeypatch.setattr("accounts.forms.create_organization", fail)
    with pytest.raises(RuntimeError):
        client.post("/accounts/signup/", FORM)
    assert not User.objects.exists()


def test_a_known_address_is_not_told_to_strangers_but_its_owner_gets_a_mail(client: Client) -> None:
    make_tenant("Acme", "ada@people.test")

    page = client.post("/accounts/signup/", FORM | {"organization_name": "Other"}, follow=True).content.decode()

    assert "Check your mail" in page
    assert Organization.objects.count() == 1
    assert "already" in mail.outbox[-1].subject


def test_signing_in_and_out() -> None:
    make_tenant("Acme", "ada@people.test")
    client = Client()

    wrong = client.post("/accounts/login/", {"login": "ada@people.test", "password": "wrong"}).content.decode()
    assert "not correct" in wrong
    right = client.post("/accounts/login/", {"login": "Ada@People.test", "password": PASSWORD})
    assert right["Location"] == "/overview/"
    client.post("/accounts/logout/")
    assert client.get("/overview/").status_code == 302


def test_a_deep_link_survives_signing_in() -> None:
    make_tenant("Acme", "ada@people.test")
    client = Client()
    asked = client.get("/settings/")["Location"]

    answer = client.post(asked, {"login": "ada@people.test", "password": PASSWORD, "next": "/settings/"})

    assert answer["Location"] == "/settings/"


def test_a_forgotten_password_is_replaced_with_a_code() -> None:
    make_tenant("Acme", "ada@people.test")
    client = Client()

    page = client.post("/accounts/password/reset/", {"email": "ada@people.test"}, follow=True)
    assert "Check your mail" in page.content.decode()
    page = client.post("/accounts/password/reset/confirm/", {"code": code_in_mail()}, follow=True)
    assert "Choose a new password" in page.content.decode()
    new = "another-good-password"
    client.post("/accounts/password/reset/complete/", {"password1": new, "password2": new})

    assert Client().post("/accounts/login/", {"login": "ada@people.test", "password": new})["Location"] == "/overview/"


def test_account_pages_stand_in_our_frame() -> None:
    tenant = make_tenant()
    for url in ("/accounts/email/", "/accounts/password/change/"):
        page = tenant.client.get(url).content.decode()
        assert "Messages" in page
        assert tenant.user.email in page
