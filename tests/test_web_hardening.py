"""What every page is sent with, what it refuses, and what an installation in production is set to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import User
from domains.models import SmtpUser
from plugsend.browser_policy import PERMISSIONS
from tests.factories import PASSWORD, make_domain, make_tenant
from tests.full_tenant import make_full_tenant
from tests.test_crossed_tenants import addresses, page_patterns

REPO = Path(__file__).resolve().parent.parent
PRODUCTION = {"PLUGSEND_MODE": "live", "WEB_URL": "https://mail.example.com", "BEHIND_PROXY": "true"}
PREFIXED = "__Host-plugsend_session __Host-plugsend_csrf"
COOKIES = """
import django; django.setup()
from django.conf import settings as s
print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_SSL_REDIRECT,
      s.SECURE_HSTS_SECONDS, s.SECURE_PROXY_SSL_HEADER)
"""


def run(tmp_path: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "css").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PLUGSEND_VAR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "plugsend.settings",
        **settings,
    }
    return subprocess.run(
        [sys.executable, *command], cwd=REPO, env=environment, capture_output=True, text=True, check=False
    )


def test_djangos_check_finds_nothing_in_production(tmp_path: Path) -> None:
    checked = run(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert (checked.returncode, checked.stdout.splitlines()[0]) == (
        0,
        "System check identified no issues (2 silenced).",
    )


@pytest.mark.parametrize(
    ("settings", "printed"),
    [
        (PRODUCTION, f"{PREFIXED} True True True 31536000 ('HTTP_X_FORWARDED_PROTO', 'https')"),
        # A proxy that tells us nothing: nobody is sent in circles.
        (PRODUCTION | {"BEHIND_PROXY": ""}, f"{PREFIXED} True True False 31536000 None"),
        ({"WEB_URL": "http://localhost:8000"}, "plugsend_session plugsend_csrf False False False 0 None"),
    ],
)  # fmt: skip
def test_cookies_and_redirects_follow_the_mode(tmp_path: Path, settings: dict[str, str], printed: str) -> None:
    assert run(tmp_path, "-c", COOKIES, **settings).stdout.strip() == printed


@pytest.mark.parametrize("wrong", [{"DEBUG": "true"}, {"CONTENT_HOST": "mail.example.com"}])
def test_dangerous_settings_are_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    assert run(tmp_path, "-c", COOKIES, **PRODUCTION, **wrong).returncode == 1


@pytest.mark.django_db
def test_every_address_refuses_a_post_without_a_token() -> None:
    tenant = make_full_tenant("tokens")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("operator@people.test", "x"))
    for number, (name, route, _) in enumerate(page_patterns()):
        if name == "unsubscribe":  # mail programs press its button, and have no token (RFC 8058, 3.2)
            continue
        address, _ = next(addresses(tenant, route))
        for method in ("POST", ("PUT", "PATCH", "DELETE")[number % 3]):  # all that are not safe are one to the check
            answer = client.generic(method, address)
            assert answer.status_code == 403, f"{method} {address} ({name}): {answer.status_code}"
            assert "The form has expired" in answer.content.decode()


@pytest.mark.django_db
def test_every_answer_tells_browsers_what_it_may_do(client: Client, settings: Settings) -> None:
    tenant = make_tenant()
    for url, status in (
        ("/", 302),
        ("/overview/", 200),
        ("/nowhere/", 404),
        ("/static/nothing", 404),
        ("/healthz", 200),
    ):
        answer = tenant.client.get(url)
        assert answer.status_code == status
        policy = answer["Content-Security-Policy"]
        assert "'unsafe" not in policy
        for directive in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'",
                          f"form-action 'self' {settings.WEB_URL}", "base-uri 'none'", "object-src 'none'"):  # fmt: skip
            assert directive in policy.split("; ")
        assert answer["Permissions-Policy"] == PERMISSIONS
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "'unsafe-eval'" in client.get("/admin/login/")["Content-Security-Policy"]
    assert client.get("/api/v1/emails")["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.django_db
def test_https_is_remembered_and_http_led_there(client: Client, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 60
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    fresh = Client()
    assert fresh.get("/accounts/login/")["Location"] == "https://testserver/accounts/login/"
    assert fresh.get("/healthz").status_code == 200
    assert fresh.get("/api/v1/nothing").status_code == 404
    there = fresh.get("/accounts/login/", headers={"x-forwarded-proto": "https"})
    assert there["Strict-Transport-Security"] == "max-age=60"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "status", "heading"),
    [
        ({"data": {"name": "x" * 3_000_000}}, 413, "more than a form may hold"),
        ({"data": {str(number): "" for number in range(2000)}}, 400, "cannot be understood"),
        ({"headers": {"host": "evil.test"}}, 400, "cannot be understood"),
    ],
)
def test_what_is_refused_unseen_is_told_in_our_look(given: dict[str, Any], status: int, heading: str) -> None:
    tenant = make_tenant()
    tenant.client.raise_request_exception = False
    answer = tenant.client.post("/settings/", **given)
    assert answer.status_code == status
    assert heading in answer.content.decode()
    for leaked in ("evil.test", "Traceback", "ALLOWED_HOSTS", "DATA_UPLOAD"):
        assert leaked not in answer.content.decode()
    assert "script-src 'self'" in answer["Content-Security-Policy"]


@pytest.mark.django_db
def test_our_own_error_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_tenant()
    tenant.client.raise_request_exception = False
    monkeypatch.setattr("plugsend.overview.checklist", lambda *_: 1 / 0)
    answer = tenant.client.get("/overview/")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.content.decode()
    assert "division" not in answer.content.decode()


# ---- Sessions, redirects, forms --------------------------------------------------------------------------------------


def sign_in(client: Client, following: str = "") -> Any:
    form = {"login": "acme@people.test", "password": PASSWORD, "next": following}
    return client.post(reverse("account_login"), form)


@pytest.mark.django_db
def test_signing_in_begins_a_new_session(client: Client) -> None:
    make_tenant()
    session = client.session
    session["planted"] = "yes"
    session.save()
    planted = session.session_key
    client.cookies["plugsend_session"] = planted
    sign_in(client)
    assert client.get("/overview/").status_code == 200
    assert client.session.session_key != planted
    assert not client.session.exists(planted)


@pytest.mark.django_db
def test_what_somebody_was_shown_does_not_stay_in_the_browser(client: Client) -> None:
    make_tenant()
    assert "Cache-Control" not in client.get("/errors/").headers
    sign_in(client)
    kept = {url: client.get(url)["Cache-Control"] for url in ("/overview/", "/errors/", "/api-keys/new/")}
    assert kept["/overview/"] == "private, no-cache"
    assert "no-store" in kept["/api-keys/new/"]  # a secret may be shown
    assert "Clear-Site-Data" not in client.get(reverse("account_logout")).headers
    assert client.post(reverse("account_logout"))["Clear-Site-Data"] == '"cache"'


@pytest.mark.django_db
@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.test/", "//evil.test/", "/\\evil.test", "\\\\evil.test", "https:evil.test", "javascript:alert(1)",
     "http://testserver@evil.test/", " //evil.test", "/\t/evil.test", "https://testserver.evil.test/"],
)  # fmt: skip
def test_nobody_is_led_elsewhere_after_signing_in(client: Client, elsewhere: str) -> None:
    make_tenant()
    assert sign_in(client, elsewhere)["Location"] == "/overview/"


@pytest.mark.django_db
def test_a_form_takes_only_its_fields() -> None:
    tenant = make_tenant()
    more = {
        "is_system": "on",
        "suspended_at": "2026-01-01",
        "plan": "1",
        "delivery_weight": "99",
        "api_rate_limit": "9",
    }
    tenant.client.post("/settings/", {"name": "Renamed", "outgoing_tls": "opportunistic", **more})
    before = tenant.organization
    tenant.organization.refresh_from_db()
    assert tenant.organization.name == "Renamed"
    assert (before.is_system, before.suspended_at, before.plan_id, before.delivery_weight, before.api_rate_limit) == (
        False, None, None, 1, None,
    )  # fmt: skip


@pytest.mark.django_db
def test_a_choice_of_a_form_is_ones_own() -> None:
    tenant, other = make_tenant(), make_tenant("Rival")
    make_domain(tenant.organization)
    theirs = make_domain(other.organization, "rival.test")
    page = tenant.client.post("/smtp-users/new/", {"local_part": "me", "domain": theirs.pk})
    assert page.status_code == 200
    assert "Select a valid choice" in page.content.decode()
    assert not SmtpUser.objects.filter(domain=theirs).exists()
