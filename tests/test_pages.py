"""The shell around all pages: landing page, overview, mode, probes, help pages."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.forms import EmailField, IntegerField
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from lucide import _render_icon
from pytest_django.fixtures import Settings

from accounts.api_keys import create_api_key
from accounts.catalogue import REFUSALS
from accounts.models import ApiKey, Scope, User
from plugsend import static_files
from plugsend.templatetags.ui import LOOKS, mailbox, plainly, relative
from relay.statistics.charts import Series, line_chart
from relay.webhooks.endpoints import create_endpoint
from relay.webhooks.models import WebhookEndpoint
from tests.factories import make_domain, make_message, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db


def test_the_landing_page_greets_strangers_and_members_go_to_their_overview(client: Client) -> None:
    assert "Create an account" in client.get("/").content.decode()
    assert make_tenant().client.get("/")["Location"] == reverse("overview")


def test_every_page_says_that_this_is_the_sandbox(client: Client) -> None:
    for page in (client.get("/"), client.get("/accounts/login/"), make_tenant().client.get("/overview/")):
        assert "Sandbox: no mail leaves this machine" in page.content.decode()


def test_live_mode_says_so_and_has_no_sandbox(client: Client, settings: Settings) -> None:
    settings.SANDBOX, settings.MODE = False, "live"

    page = make_tenant().client.get("/overview/").content.decode()

    assert "Live mode" in page
    assert "Inbox" not in page
    assert client.get("/sandbox/inbox/").status_code == 404


def test_the_checklist_leads_from_domain_to_webhook_and_can_be_put_away() -> None:
    tenant = make_tenant()

    def page() -> str:
        return tenant.client.get("/overview/").content.decode()

    assert "0 of 4 done" in page()
    assert f'action="{reverse("domain_add")}"' in page()  # on the spot
    domain = make_domain(tenant.organization, verified=False)
    assert "0 of 4 done" in page()
    assert reverse("domain", args=[domain.pk]) in page()
    domain.delete()
    domain = make_domain(tenant.organization)
    assert "1 of 4 done" in page()
    assert f'action="{reverse("smtp_user_create")}"' in page()
    smtp_user = make_smtp_user(domain)
    assert "2 of 4 done" in page()
    assert smtp_user.address in page()
    make_message(domain, state="submitted")
    assert "2 of 4 done" in page()
    assert "It is with us" in page()
    make_message(domain)
    assert "3 of 4 done" in page()
    assert f'action="{reverse("webhook_create")}"' in page()

    other = Client()
    other.force_login(tenant.user)
    other.post(reverse("checklist_put_away"))
    assert "of 4 done" not in page()
    assert "Latest messages" in page()
    other.post(reverse("checklist_put_away"), {"again": "1"})
    assert "3 of 4 done" in page()
    create_endpoint(tenant.organization, "https://hooks.example/")
    assert "of 4 done" not in page()


def test_the_overview_tells_what_wants_action() -> None:
    tenant = make_tenant()
    endpoint = create_endpoint(tenant.organization, "https://hooks.example/")
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(state="gone", state_reason="It answered 410.")
    ends_at = timezone.now() + timedelta(days=2)
    key = create_api_key(tenant.organization, "Nightly", [Scope.SEND], expires_at=ends_at).api_key

    page = tenant.client.get("/overview/").content.decode()

    assert "https://hooks.example/ is gone." in page
    assert reverse("webhook", args=[endpoint.pk]) in page
    assert "Nightly stops" in page
    assert reverse("api_key", args=[key.pk]) in page


def test_the_overview_shows_ready_code_for_the_readers_own_user(settings: Settings) -> None:
    settings.SMTP_PUBLIC_HOST, settings.SMTP_PORT = "smtp.here.test", 2999
    tenant = make_tenant()
    domain = make_domain(tenant.organization)
    user = make_smtp_user(domain, "shop")
    make_smtp_user(domain, "newest")
    ApiKey.objects.filter(smtp_user_key__smtp_user=user).update(last_used_at=timezone.now())

    page = tenant.client.get("/overview/").content.decode()

    assert "swaks --server smtp.here.test:2999" in page
    assert "Send as shop@acme.test" in page  # who was used last, not who was made last


def test_someone_without_an_organization_makes_one(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root@people.test", "x"))

    assert client.get("/overview/")["Location"] == reverse("organization_create")
    client.post("/organizations/new/", {"name": "Operators"})
    assert "Operators" in client.get("/overview/").content.decode()


def test_an_organization_is_renamed_and_an_empty_name_is_refused() -> None:
    tenant = make_tenant()

    assert "Fill this in." in tenant.client.post("/settings/", {"name": " "}).content.decode()
    tenant.client.post("/settings/", {"name": "Acme Rockets", "outgoing_tls": "opportunistic"})

    tenant.organization.refresh_from_db()
    assert tenant.organization.name == "Acme Rockets"


def test_probes_answer(client: Client) -> None:
    assert client.get("/healthz").content == b"ok"
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_has_a_help_page(code: str, client: Client) -> None:
    page = client.get(f"/errors/{code}/").content.decode()

    assert code in page
    assert "What to do" in page


def test_the_index_names_each_refusal_and_an_unknown_one_is_not_found(client: Client) -> None:
    page = client.get("/errors/").content.decode()
    assert all(code in page for code in REFUSALS)
    assert client.get("/errors/nonsense/").status_code == 404


def test_a_wrong_address_gets_a_page_that_leads_on(client: Client) -> None:
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()


def test_pages_bring_no_inline_script_or_style() -> None:
    tenant = make_tenant()
    domain = make_domain(tenant.organization)
    message = make_message(domain)
    for url in ("/", "/overview/", "/domains/", f"/domains/{domain.pk}/", f"/messages/{message.pk}/", "/settings/"):
        page = tenant.client.get(url, follow=True).content.decode()
        assert not re.search(r"<script>|<style|<[^>]+ (style|on[a-z]+)=", page)
        assert len(page) < 100_000


@pytest.mark.parametrize("state", LOOKS)
def test_each_state_has_an_icon(state: str) -> None:
    assert _render_icon(LOOKS[state].icon, 16).startswith("<svg")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-2, "just now"),
        (2, "any moment"),
        (-59, "59 s ago"),
        (90, "in 1 min"),
        (-7200, "2 h ago"),
        (86400 * 3, "in 3 d"),
    ],
)
def test_times_read_naturally(seconds: float, words: str) -> None:
    assert relative(seconds) == words


def test_a_list_shows_the_address_of_a_from_field() -> None:
    fields = {
        "Acme <shop@acme.test>": "shop@acme.test",
        '"Acme, Inc." <shop@acme.test>': "shop@acme.test",
        "shop@acme.test": "shop@acme.test",
        "a@acme.test, b@acme.test": "a@acme.test, b@acme.test",
        "nobody": "nobody",
        "": "",
    }
    assert {field: mailbox(field) for field in fields} == fields


def test_what_a_field_refuses_says_what_to_do() -> None:
    field = IntegerField(min_value=2, max_value=9)
    said = {}
    for value in ("", "1", "10"):
        with pytest.raises(ValidationError) as refused:
            field.clean(value)
        said[value] = plainly(refused.value.messages[0])
    assert said == {"": "Fill this in.", "1": "Take 2 or more.", "10": "Take 9 or less."}
    with pytest.raises(ValidationError) as refused:
        EmailField(max_length=5).clean("not an address")
    assert [plainly(one) for one in refused.value.messages] == [
        "This is no email address. Write it like name@example.com.",
        "Shorten it to 5 characters: it has 14.",
    ]


def test_a_point_that_stands_alone_is_drawn_as_wide_as_a_bar() -> None:
    chart = line_chart("c", "C", ["a", "b", "c", "d"], [Series("C", "ok", [1, 1, None, 2])], str)
    assert [path for line in chart.lines for path in line.paths] == ["M125.0,100.0 L375.0,100.0", "M775.0,0.0 h200.0"]


def test_the_stylesheet_is_built_once_until_a_source_changes(settings: Settings) -> None:
    static_files.build()
    css = settings.VAR / "css" / "app.css"

    assert ".button-primary" in css.read_text()
    assert list((Path(settings.STATIC_ROOT) / "css").glob("app.*.css.gz"))  # as it is sent
    assert not static_files.build()
    (css.parent / static_files.CSS_STAMP).write_text("of another version")
    assert static_files.build()


def test_a_file_not_collected_yet_keeps_its_plain_name() -> None:
    assert (
        static_files.Storage(location="/nonexistent", base_url="/static/").url("css/app.css") == "/static/css/app.css"
    )
