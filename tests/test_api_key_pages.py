"""Making, seeing and revoking API keys."""

import re

import pytest
from django.urls import reverse

from accounts.api_keys import create_api_key, digest_of
from accounts.models import ApiKey
from tests.factories import make_domain, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db


def test_a_new_keys_secret_is_shown_once() -> None:
    tenant = make_tenant()

    answer = tenant.client.post("/api-keys/new/", {"name": "Web app", "scopes": ["send", "read"]})

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


@pytest.mark.parametrize("form", [{"name": "", "scopes": ["send"]}, {"name": "x"}, {"name": "x", "scopes": ["admin"]}])
def test_a_key_needs_a_name_and_known_scopes(form: dict[str, object]) -> None:
    tenant = make_tenant()

    tenant.client.post("/api-keys/new/", form)

    assert not ApiKey.objects.exists()


def test_everything_contains_the_other_scopes() -> None:
    tenant = make_tenant()
    tenant.client.post("/api-keys/new/", {"name": "x", "scopes": ["send", "full"]})
    assert ApiKey.objects.get().scopes == ["full"]


def test_revoking_asks_first() -> None:
    tenant = make_tenant()
    key = create_api_key(tenant.organization, "Web app").api_key
    url = reverse("api_key_revoke", args=[key.pk])

    assert "refused at once" in tenant.client.get(url).content.decode()
    key.refresh_from_db()
    assert not key.is_revoked

    page = tenant.client.post(url, follow=True).content.decode()
    key.refresh_from_db()
    assert key.is_revoked
    assert "is revoked" in page


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
