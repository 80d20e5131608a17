"""Making, seeing and revoking API keys."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import create_api_key, digest_of
from accounts.models import ApiKey
from tests.factories import make_domain, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db

FORM: dict[str, Any] = {"name": "Web app", "scopes": ["send"], "expiry": "never"}


def test_a_new_keys_secret_is_shown_once() -> None:
    tenant = make_tenant()

    answer = tenant.client.post("/api-keys/new/", FORM | {"scopes": ["send", "read"]})

    secret = re.search(r"ps_live_\w{38}", answer.content.decode())
    assert secret
    key = ApiKey.objects.of(tenant.organization).get()
    assert bytes(key.digest) == digest_of(secret[0])
    assert key.scopes == ["read", "send"]
    assert key.created_by == tenant.user
    assert "no-store" in answer["Cache-Control"]
    listed = tenant.client.get("/api-keys/").content.decode()
    assert key.prefix in listed
    assert secret[0] not in listed


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": ""}, "Fill this in."),
        ({"scopes": []}, "Choose at least one."),
        ({"scopes": ["admin"]}, "Select a valid choice."),
        ({"expiry": "31"}, "Select a valid choice."),
        ({"expiry": "date"}, "Choose the day."),
        ({"expiry": "date", "expires_on": "2026-01-31"}, "Choose today or a day to come."),
        ({"domain": "rivals"}, "Select a valid choice."),
        ({"allowed_networks": "192.0.2.0/33"}, "is not a network"),
    ],
)
def test_a_form_that_makes_no_key_says_why(wrong: dict[str, Any], told: str) -> None:
    tenant = make_tenant()
    rivals = make_domain(make_tenant("Rival").organization, "rival.test")
    form = FORM | {field: str(rivals.pk) if value == "rivals" else value for field, value in wrong.items()}

    assert told in tenant.client.post("/api-keys/new/", form).content.decode()
    assert not ApiKey.objects.exists()


def test_a_key_is_made_as_the_form_says() -> None:
    tenant = make_tenant()
    domain = make_domain(tenant.organization)
    more = {"scopes": ["send", "full"], "domain": str(domain.pk), "allowed_networks": "192.0.2.7\n2001:DB8::/32"}
    for expiry, ends in (
        ({"expiry": "90"}, timezone.now() + timedelta(days=90)),
        ({"expiry": "date", "expires_on": "2126-02-28"}, datetime(2126, 3, 1, tzinfo=UTC)),
    ):
        tenant.client.post("/api-keys/new/", FORM | more | expiry)
        key = ApiKey.objects.latest("created_at")
        assert (key.scopes, key.only_domain) == (["full"], domain.name)
        assert key.allowed_networks == ["192.0.2.7/32", "2001:db8::/32"]
        assert key.expires_at
        assert abs(key.expires_at - ends) < timedelta(minutes=1)
        page = tenant.client.get(reverse("api_key", args=[key.pk])).content.decode()
        for told in ("acme.test only", "192.0.2.7/32", "2001:db8::/32", tenant.user.email, key.prefix):
            assert told in page


def test_rotating_shows_the_new_key_and_when_the_old_one_stops() -> None:
    tenant = make_tenant()
    old = create_api_key(tenant.organization, "Web app").api_key
    rotate = reverse("api_key_rotate", args=[old.pk])

    page = tenant.client.post(rotate, {"keep_old_hours": "24"})

    secret = re.search(r"ps_live_\w{38}", page.content.decode())
    assert secret
    new = ApiKey.objects.get(digest=digest_of(secret[0]))
    assert (new.name, new.created_by) == ("Web app", tenant.user)
    assert "The old key stops on " in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    old.refresh_from_db()
    assert old.replaced_by == new
    url = reverse("api_key", args=[old.pk])
    assert "Nothing has used it since" in tenant.client.get(url).content.decode()
    ApiKey.objects.filter(pk=old.pk).update(last_used_at=timezone.now(), last_used_from="192.0.2.7")
    assert "Some program still uses it" in tenant.client.get(url).content.decode()
    assert "was replaced already" in tenant.client.post(rotate, {"keep_old_hours": "0"}).content.decode()
    assert ApiKey.objects.count() == 2


def test_a_key_is_renamed_and_kept_to_networks() -> None:
    tenant = make_tenant()
    key = create_api_key(tenant.organization, "Web app").api_key
    url = reverse("api_key_change", args=[key.pk])
    tenant.client.post(url, {"name": "Shop", "allowed_networks": "192.0.2.0/24"})
    key.refresh_from_db()
    assert (key.name, key.allowed_networks) == ("Shop", ["192.0.2.0/24"])
    assert 'value="Shop"' in tenant.client.get(url).content.decode()


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("developer", 200)])
def test_who_may_not_manage_credentials_sees_keys_and_changes_none(role: str, status: int) -> None:
    tenant = make_tenant()
    key = create_api_key(tenant.organization, "Web app").api_key
    tenant.organization.memberships.update(role=role)
    listed, shown = tenant.client.get("/api-keys/"), tenant.client.get(reverse("api_key", args=[key.pk]))
    for page in (listed, shown):
        assert (page.status_code, "Web app" in page.content.decode()) == (200, True)
    assert ("Create API key" in listed.content.decode()) is (status == 200)
    assert (reverse("api_key_revoke", args=[key.pk]) in shown.content.decode()) is (status == 200)
    for name in ("api_key_change", "api_key_rotate", "api_key_revoke"):
        url = reverse(name, args=[key.pk])
        assert tenant.client.get(url).status_code == status
        if status == 403:
            assert tenant.client.post(url, {"keep_old_hours": "0", "name": "x"}).status_code == 403
    assert tenant.client.get("/api-keys/new/").status_code == status
    key.refresh_from_db()
    assert key.is_live


def test_revoking_asks_first() -> None:
    tenant = make_tenant()
    key = create_api_key(tenant.organization, "Web app").api_key
    url = reverse("api_key_revoke", args=[key.pk])

    assert "refused at once" in tenant.client.get(url).content.decode()
    key.refresh_from_db()
    assert not key.is_revoked

    page = tenant.client.post(url, {"reason": "Leaked"}, follow=True).content.decode()
    key.refresh_from_db()
    assert (key.is_revoked, key.revoke_reason) == (True, "Leaked")
    assert "is revoked" in page
    assert "Leaked" in page


def test_the_password_of_an_smtp_user_is_not_among_the_keys() -> None:
    tenant = make_tenant()
    smtp_user = make_smtp_user(make_domain(tenant.organization))

    assert smtp_user.live_keys[0].prefix not in tenant.client.get("/api-keys/").content.decode()
    revoke = reverse("api_key_revoke", args=[smtp_user.live_keys[0].pk])
    assert tenant.client.post(revoke).status_code == 404


def test_a_key_for_one_domain_says_so() -> None:
    tenant = make_tenant()
    create_api_key(tenant.organization, "Shop", only_domain="shop.test")
    assert "for shop.test only" in tenant.client.get("/api-keys/").content.decode()
