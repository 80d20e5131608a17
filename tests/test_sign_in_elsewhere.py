"""Signing in with an account elsewhere: what a provider's word opens, and what not."""

import html
import re
import runpy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.http import HttpResponse
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import Membership, User
from tests.factories import PASSWORD, make_tenant
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, oidc_provider

pytestmark = pytest.mark.django_db

REPO = Path(__file__).resolve().parent.parent
ADA = {"sub": "ada-1", "email": "ada@people.test", "email_verified": True, "name": "Ada Lovelace"}


@pytest.fixture
def provider(settings: Settings) -> Iterator[Provider]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with oidc_provider() as running:
        app = {
            "client_id": CLIENT_ID,
            "secret": CLIENT_SECRET,
            "name": "Acme ID",
            "provider_id": "sso",
            "settings": {"server_url": running.issuer},
        }
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}
        yield running


def go_there_and_back(client: Client, provider: Provider, process: str = "login") -> HttpResponse:
    page = client.post(f"/accounts/oidc/sso/login/?process={process}").content.decode()
    [away] = re.findall(r'http-equiv="refresh" content="0; url=([^"]+)"', page)
    return client.get(provider.agree(html.unescape(away)), follow=True)


def test_a_verified_address_makes_an_account_that_signs_in_again(provider: Provider) -> None:
    provider.claims = ADA
    client = Client()
    assert "Log in with Acme ID" in client.get("/accounts/login/").content.decode()

    page = go_there_and_back(client, provider)
    assert "One thing more" in page.content.decode()
    answer = client.post("/accounts/3rdparty/signup/", {"organization_name": "Acme", "email": "victim@people.test"})
    assert answer["Location"] == "/overview/"

    user = User.objects.get()
    assert (user.email, user.name, user.has_usable_password()) == ("ada@people.test", "Ada Lovelace", False)
    assert EmailAddress.objects.get().verified
    assert Membership.objects.get().organization.name == "Acme"
    assert go_there_and_back(Client(), provider).redirect_chain[-1][0] == "/overview/"


@pytest.mark.parametrize(
    ("claims", "userinfo", "audience", "told"),
    [
        (ADA | {"email_verified": False}, None, CLIENT_ID, "Your address is not verified there"),
        (ADA | {"email_verified": "false"}, None, CLIENT_ID, "Your address is not verified there"),
        ({"sub": "ada-1"}, None, CLIENT_ID, "Your address is not verified there"),
        (ADA, ADA | {"sub": "somebody-else"}, CLIENT_ID, "does not fit together"),
        (ADA, None, "another-client", "That did not work"),
    ],
)
def test_a_word_that_proves_nothing_opens_nothing(
    provider: Provider, claims: dict[str, object], userinfo: dict[str, object] | None, audience: str, told: str
) -> None:
    provider.claims, provider.userinfo, provider.audience = claims, userinfo, audience
    client = Client()

    assert told in go_there_and_back(client, provider).content.decode()
    assert client.get("/accounts/3rdparty/signup/")["Location"] == "/accounts/login/"
    assert not User.objects.exists()


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("told", ["", "404", "<h1>Maintenance</h1>", "{}"])
def test_a_provider_that_is_away_is_told_as_such(provider: Provider, settings: Settings, when: str, told: str) -> None:
    [app] = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    client, away = Client(), ""
    if when == "between":
        page = client.post("/accounts/oidc/sso/login/?process=login").content.decode()
        [away] = re.findall(r'http-equiv="refresh" content="0; url=([^"]+)"', page)
        away = provider.agree(html.unescape(away))
    with telling(told) as address:
        app["settings"]["server_url"] = address
        answer = client.get(away) if away else client.post("/accounts/oidc/sso/login/?process=login")
    assert (answer.status_code, "The other side does not answer" in answer.content.decode()) == (503, True)


@contextmanager
def telling(text: str) -> Iterator[str]:
    """The address of a server that says this to everything, or the status that it names; where it is empty, of none."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(text) if text.isdigit() else 200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    if not text:
        yield "http://127.0.0.1:1"
        return
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("verified", [True, False])
def test_an_account_that_is_there_is_never_taken_over(provider: Provider, verified: bool) -> None:
    make_tenant("Acme", "ada@people.test")
    provider.claims = ADA | {"email_verified": verified}
    client = Client()

    go_there_and_back(client, provider)

    assert client.get("/overview/").status_code == 302
    assert not SocialAccount.objects.exists()


def test_who_is_signed_in_connects_and_disconnects(provider: Provider) -> None:
    """Even with another address there: it is the person who is signed in that says so, and their password was asked for."""
    tenant = make_tenant("Acme", "ada@people.test")
    provider.claims = ADA | {"email": "ada@elsewhere.test", "email_verified": False}

    page = go_there_and_back(tenant.client, provider, "connect")
    assert "Confirm it is you" in page.content.decode()
    page = tenant.client.post("/accounts/reauthenticate/", {"password": PASSWORD}, follow=True).content.decode()
    assert "Acme ID" in page
    assert "ada@elsewhere.test" in page
    assert mail.outbox[-1].subject == "An account was connected to your PlugSend account"

    assert go_there_and_back(Client(), provider).redirect_chain[-1][0] == "/overview/"
    account = SocialAccount.objects.get(user=tenant.user)
    tenant.client.post("/accounts/3rdparty/", {"account": account.pk})
    assert not SocialAccount.objects.exists()
    assert "not verified there" in go_there_and_back(Client(), provider).content.decode()


def test_providers_are_there_when_they_are_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_CLIENT_ID", "x")
    monkeypatch.delenv("OIDC_ISSUER")
    settings = runpy.run_path(str(REPO / "plugsend" / "settings.py"))
    apps = [app for app in settings["INSTALLED_APPS"] if app.startswith("allauth.socialaccount.providers.")]
    assert apps == ["allauth.socialaccount.providers.github"]
    assert list(settings["SOCIALACCOUNT_PROVIDERS"]) == ["github"]
    assert settings["SOCIALACCOUNT_PROVIDERS"]["github"]["OAUTH_PKCE_ENABLED"]
