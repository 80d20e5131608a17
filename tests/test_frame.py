"""The frame around all pages: light or dark, the sidebar, finding anything, and links that survive signing in or lead to
another of the reader's organizations."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.conf import settings as configured
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve, reverse
from pytest_django.fixtures import Settings

from accounts.api_keys import create_api_key
from accounts.models import Membership, Role, Scope, User
from accounts.services import create_organization
from plugsend.navigation import PLACES
from relay.models import Message, Recipient
from relay.webhooks.endpoints import create_endpoint
from tests.factories import PASSWORD, Tenant, make_domain, make_message, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


# ---- Light or dark ---------------------------------------------------------------------------------------------------


def test_the_choice_of_light_or_dark_is_in_the_first_byte_of_every_page(client: Client) -> None:
    assert 'data-theme="' not in text_of(client.get("/"))
    form = {"theme": "dark"}

    answer = client.post(reverse("appearance"), form, headers={"Referer": "http://testserver/errors/?a=1"})

    assert answer["Location"] == "http://testserver/errors/?a=1"
    for page in ("/", "/accounts/login/", "/errors/", "/nowhere/"):
        told = text_of(client.get(page))
        assert '<html lang="en" class="h-full" data-theme="dark">' in told
        assert '<meta name="color-scheme" content="dark">' in told
    assert re.search(r'value="dark" aria-pressed="true"', text_of(client.get("/")))
    client.post(reverse("appearance"), {"theme": "system"})
    assert 'data-theme="' not in text_of(client.get("/"))


def test_no_other_choice_and_no_other_site_is_taken(client: Client) -> None:
    assert client.post(reverse("appearance"), {"theme": '"><script>'}).status_code == 400
    client.cookies[configured.THEME_COOKIE_NAME] = '"><script>'
    assert 'data-theme="' not in text_of(client.get("/"))
    away = client.post(reverse("appearance"), {"theme": "dark"}, headers={"Referer": "https://evil.test/"})
    assert away["Location"] == "/"


def test_pages_are_sent_compressed_but_for_those_with_secrets(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    headers = {"Accept-Encoding": "gzip"}
    assert tenant.client.get("/overview/", headers=headers)["Content-Encoding"] == "gzip"
    assert tenant.client.get("/api/v1/reference", headers=headers)["Content-Encoding"] == "gzip"
    form = {"local_part": "shop", "domain": str(domain.pk)}
    shown = tenant.client.post(reverse("smtp_user_create"), form, headers=headers, follow=True)
    assert "ps_live_" in text_of(shown)
    assert "Content-Encoding" not in shown


# ---- The sidebar -----------------------------------------------------------------------------------------------------


def test_the_sidebar_says_on_each_page_where_its_reader_is(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    pages = {
        "/overview/": "Overview",
        reverse("message_exports"): "Messages",
        reverse("domain", args=[domain.pk]): "Domains",
        reverse("usage"): "Usage",
        reverse("member_invite"): "Members",
        reverse("sandbox:inbox"): "Inbox",
    }
    for page, label in pages.items():
        sidebar = text_of(tenant.client.get(page)).partition("<aside")[2].partition("</aside>")[0]
        assert re.findall(r'aria-current="page">.*?</svg>([^<]+)</a>', sidebar, re.S) == [label], page


def test_nobody_is_led_to_what_their_role_does_not_permit(tenant: Tenant) -> None:
    viewer = User.objects.create_user("viewer@people.test")
    Membership.objects.create(organization=tenant.organization, user=viewer, role=Role.VIEWER)
    client = Client()
    client.force_login(viewer)
    for page in ("/overview/", reverse("find")):
        shown = text_of(client.get(page))
        for place in PLACES:
            needed = getattr(resolve(place.url).func, "permissions", None)
            permitted = needed is None or needed[0] in {"read"}
            if not permitted:
                assert f'href="{place.url}"' not in shown.partition('id="live"')[0], (page, place.label)
    assert reverse("audit_log") in text_of(tenant.client.get("/overview/"))


# ---- Finding ---------------------------------------------------------------------------------------------------------


def found(client: Client, words: str) -> dict[str, str]:
    """What the palette offers: titles by address."""
    page = text_of(client.get(reverse("find"), {"q": words}, headers={"HX-Request": "true"}))
    assert "<html" not in page
    return {
        url.replace("&amp;", "&"): title
        for url, title in re.findall(r'href="([^"]+)">.*?font-medium">(.*?)</span>', page, re.S)
    }


def test_the_palette_finds_pages_and_everything_that_has_one(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    user = make_smtp_user(domain, "shop")
    key = create_api_key(tenant.organization, "Nightly job", [Scope.SEND]).api_key
    endpoint = create_endpoint(tenant.organization, "https://hooks.example/plugsend", description="Warehouse")
    message = make_message(domain, to="Bob@inbox.test", message_id_header="7@elsewhere.test")
    recipient = Recipient.objects.get(message_id=message.pk)
    other = make_message(domain, to="eve@inbox.test")

    def url(name: str, row: Any) -> str:
        return reverse(name, args=[row.pk])

    for words, expected in [
        ("sup", reverse("suppressions")),
        ("audit log", reverse("audit_log")),
        ("dkim", reverse("domains")),
        ("add dom", reverse("domain_add")),
        ("acme", url("domain", domain)),
        (str(domain.pk), url("domain", domain)),
        ("shop@", url("smtp_user", user)),
        ("night", url("api_key", key)),
        (key.prefix, url("api_key", key)),
        ("warehouse", url("webhook", endpoint)),
        ("hooks.example", url("webhook", endpoint)),
        (str(message.pk), url("message", message)),
        (str(recipient.pk), url("message", message)),
        ("bob@INBOX.test", url("message", message)),
        ("<7@elsewhere.test>", url("message", message)),
        ("sender_domain_unknown", reverse("error_help", args=["sender_domain_unknown"])),
        ("receipt", f"{reverse('messages')}?{urlencode({'q': 'receipt'})}"),
    ]:
        assert expected in found(tenant.client, words), words
    assert url("message", other) not in found(tenant.client, "bob@inbox.test")
    assert url("message", other) in found(tenant.client, "@inbox.test")
    assert "<script>" not in text_of(tenant.client.get(reverse("find"), {"q": "<script>"}))


def test_what_is_another_organizations_is_not_found(tenant: Tenant) -> None:
    rival = make_tenant("Rival")
    domain = make_domain(rival.organization, "rival.test")
    message = make_message(domain, to="bob@inbox.test")
    for words in ("rival", str(domain.pk), str(message.pk), "bob@inbox.test", f"<{message.message_id_header}>"):
        assert all(
            url.startswith((reverse("messages") + "?", reverse("error_index"), reverse("docs")))
            for url in found(tenant.client, words)
        )


def test_without_scripts_there_is_a_page_to_search_on(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    page = text_of(tenant.client.get(reverse("find"), {"q": "acme"}))
    assert f'href="{reverse("domain", args=[domain.pk])}"' in page
    assert "<title>acme · Search · PlugSend</title>" in page


# ---- Links that lead elsewhere ---------------------------------------------------------------------------------------


def test_a_link_into_another_of_ones_organizations_offers_to_go_there(tenant: Tenant) -> None:
    other = create_organization("Globex", tenant.user)
    message = make_message(make_domain(other, "globex.test"))
    link = f"{reverse('message', args=[message.pk])}?event=1"

    page = tenant.client.get(link)

    assert page.status_code == 404
    assert "This message is in Globex" in text_of(page)
    opened = tenant.client.post(reverse("organization_open", args=[other.pk]), {"next": link})
    assert opened["Location"] == link
    assert tenant.client.get(link).status_code == 200
    stranger, unknown = make_tenant("Stranger"), text_of(tenant.client.get(f"/messages/{uuid4()}/"))
    assert "Globex" not in text_of(stranger.client.get(link))
    assert "There is nothing here" in unknown


def test_a_link_survives_signing_in_with_two_steps_and_signing_up(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    tenant = make_tenant()
    link = reverse("message", args=[make_message(make_domain(tenant.organization)).pk])
    asked = Client().get(link)["Location"]
    assert asked == f"{reverse('account_login')}?next={link}"

    totp.TOTP.activate(tenant.user, secret := totp.generate_totp_secret())
    client = Client()
    second = client.post(asked, {"login": tenant.user.email, "password": PASSWORD, "next": link})
    code = totp.format_hotp_value(totp.hotp_value(secret, next(iter(totp.yield_hotp_counters_from_time()))))
    assert client.post(second["Location"], {"code": code})["Location"] == link

    newcomer = Client()
    sign_up = re.search(rf'href="({reverse("account_signup")}[^"]*)"', text_of(newcomer.get(asked)))
    assert sign_up is not None
    assert f'name="next" value="{link}"' in text_of(newcomer.get(sign_up[1]))
    form = {"email": "new@people.test", "password1": PASSWORD, "organization_name": "New", "next": link}
    confirm = newcomer.post(sign_up[1], form)["Location"]
    code = mail.outbox[-1].subject.partition(" ")[0]
    assert newcomer.post(confirm, {"code": code})["Location"] == link


# ---- Components ------------------------------------------------------------------------------------------------------


def test_the_page_of_components_is_for_operators(tenant: Tenant) -> None:
    assert tenant.client.get(reverse("components")).status_code == 404
    tenant.user.is_staff = True
    tenant.user.save()
    assert "Skeletons" in text_of(tenant.client.get(reverse("components")))


def test_the_palette_asks_for_little(tenant: Tenant) -> None:
    make_message(make_domain(tenant.organization), to="bob@inbox.test")
    for words, most in (("", 5), ("acme", 16), ("bob@inbox.test", 22), (str(Message.objects.get().pk), 20)):
        # Now and then a request also notes that its session is in use.
        assert min(queries_of(tenant, words) for _ in range(3)) <= most, words


def queries_of(tenant: Tenant, words: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        found(tenant.client, words)
    return len(asked)
