"""No organization sees or changes another's rows, and nobody does so without signing in."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.api_keys import create_api_key
from accounts.models import ApiKey
from domains.models import SendingDomain, SmtpUser
from relay.actions import Action
from relay.models import Message, Recipient, Suppression
from relay.suppressions import suppress
from tests.factories import Tenant, make_domain, make_message, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db

LISTS = [
    "overview", "messages", "suppressions", "suppression_add",
    "domains", "domain_add", "smtp_users", "smtp_user_create", "api_keys", "api_key_create", "settings",
]  # fmt: skip

OBJECTS: list[tuple[str, str, Callable[[dict[str, Any]], Any]]] = [
    ("get", "message", lambda rows: rows["message"].pk),
    ("get", "message_html", lambda rows: rows["message"].pk),
    ("get", "message_raw", lambda rows: rows["message"].pk),
    *(
        (method, "message_act", lambda rows, action=action: (rows["message"].pk, action))
        for method in ("get", "post")
        for action in Action
    ),
    ("get", "suppression_remove", lambda rows: rows["suppression"].pk),
    ("post", "suppression_remove", lambda rows: rows["suppression"].pk),
    ("get", "domain", lambda rows: rows["domain"].pk),
    ("post", "domain_check", lambda rows: rows["domain"].pk),
    ("get", "domain_remove", lambda rows: rows["domain"].pk),
    ("post", "domain_remove", lambda rows: rows["domain"].pk),
    ("post", "sandbox:publish", lambda rows: rows["domain"].pk),
    ("post", "sandbox:withdraw", lambda rows: rows["domain"].pk),
    ("get", "smtp_user", lambda rows: rows["smtp_user"].pk),
    ("get", "smtp_user_password", lambda rows: rows["smtp_user"].pk),
    ("post", "smtp_user_password", lambda rows: rows["smtp_user"].pk),
    ("get", "smtp_user_disable", lambda rows: rows["smtp_user"].pk),
    ("post", "smtp_user_disable", lambda rows: rows["smtp_user"].pk),
    *(
        (method, name, lambda rows: rows["smtp_user"].pk)
        for method in ("get", "post")
        for name in ("smtp_user_limits", "smtp_user_key_add", "smtp_user_remove")
    ),
    ("post", "smtp_user_enable", lambda rows: rows["smtp_user"].pk),
    *(
        (method, "smtp_user_key_revoke", lambda rows: (rows["smtp_user"].pk, rows["smtp_user"].live_keys[0].pk))
        for method in ("get", "post")
    ),
    *(
        (method, name, lambda rows: rows["api_key"].pk)
        for method in ("get", "post")
        for name in ("api_key", "api_key_change", "api_key_rotate", "api_key_revoke")
    ),
]


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("Acme")


@pytest.fixture
def rows(acme: Tenant) -> dict[str, Any]:
    """One of each that belongs to Acme."""
    domain = make_domain(acme.organization, "walled.test")
    return {
        "domain": domain,
        "smtp_user": make_smtp_user(domain),
        "api_key": create_api_key(acme.organization, "Web app").api_key,
        "message": make_message(domain, subject="For Acme only", to="bob@walled-inbox.test", state="deferred"),
        "suppression": suppress(acme.organization, "gone@walled-inbox.test")[0],
    }


@pytest.mark.parametrize(("method", "name", "key"), OBJECTS, ids=[f"{method}-{name}" for method, name, _ in OBJECTS])
def test_another_organizations_object_is_not_found(
    method: str, name: str, key: Callable[[dict[str, Any]], Any], rows: dict[str, Any]
) -> None:
    rival = make_tenant("Rival")

    assert getattr(rival.client, method)(_address(name, key(rows))).status_code == 404

    # ... and nothing has happened to it.
    assert SendingDomain.objects.filter(pk=rows["domain"].pk).exists()
    assert SmtpUser.objects.get(pk=rows["smtp_user"].pk).disabled_at is None
    assert ApiKey.objects.get(pk=rows["api_key"].pk).revoked_at is None
    assert Message.objects.filter(pk=rows["message"].pk).exists()
    assert Recipient.objects.get(message_id=rows["message"].pk).state == "deferred"
    assert Suppression.objects.filter(pk=rows["suppression"].pk).exists()


@pytest.mark.parametrize("name", LISTS)
def test_lists_hold_nothing_of_another_organization(name: str, rows: dict[str, Any]) -> None:
    page = make_tenant("Rival").client.get(reverse(name)).content.decode()

    assert "walled" not in page
    assert "For Acme only" not in page
    assert "Web app" not in page or name == "api_key_create"  # there it is the example


@pytest.mark.parametrize("name", LISTS)
def test_lists_ask_strangers_to_sign_in(name: str) -> None:
    response = Client().get(reverse(name))

    assert response.status_code == 302
    assert response["Location"] == f"{reverse('account_login')}?next={reverse(name)}"


@pytest.mark.parametrize(("method", "name", "key"), OBJECTS, ids=[f"{method}-{name}" for method, name, _ in OBJECTS])
def test_objects_ask_strangers_to_sign_in(
    method: str, name: str, key: Callable[[dict[str, Any]], Any], rows: dict[str, Any]
) -> None:
    response = getattr(Client(), method)(_address(name, key(rows)))

    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize("action", Action)
def test_acting_on_all_that_match_stays_within_the_organization(action: Action, rows: dict[str, Any]) -> None:
    rival = make_tenant("Rival")
    url = reverse("messages_act", args=[action]) + "?state=open"

    assert "There is nothing to do" in rival.client.get(url).content.decode()
    rival.client.post(url)

    assert Recipient.objects.get(message_id=rows["message"].pk).state == "deferred"
    assert Client().post(url)["Location"].startswith(reverse("account_login"))


def test_a_filter_finds_nothing_of_another_organization(rows: dict[str, Any]) -> None:
    rival = make_tenant("Rival")
    for query in ("state=deferred", "q=bob", "q=@walled-inbox.test", "q=bob@walled-inbox.test"):
        assert "For Acme only" not in rival.client.get(f"/messages/?{query}").content.decode()


def _address(name: str, key: Any) -> str:
    return reverse(name, args=key if isinstance(key, tuple) else [key])


def test_a_session_of_a_former_member_falls_back_to_their_own_organization(rows: dict[str, Any], acme: Tenant) -> None:
    rival = make_tenant("Rival")
    session = rival.client.session
    session["organization"] = str(acme.organization.pk)
    session.save()

    assert "Rival" in rival.client.get(reverse("overview")).content.decode()
    assert rival.client.get(reverse("message", args=[rows["message"].pk])).status_code == 404
