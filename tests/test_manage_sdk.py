"""The official `resend` SDK manages domains, API keys and suppressions, over real HTTP, with its base URL changed only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import resend
from resend.exceptions import ResendError

from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Organization
from domains.models import SendingDomain
from relay.sandbox.zone import publish
from relay.submission.desk import shared_desk
from tests.factories import make_tenant
from tests.sandbox_servers import HOST, dns_over_database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture
def secret(acme: Organization) -> str:
    return create_api_key(acme, "SDK").secret


@pytest.fixture(autouse=True)
def url(live_server: Any, secret: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the API is; the SDK is told, too."""
    monkeypatch.setattr(
        "relay.submission.desk._shared", None
    )  # one of our own: its connections keep the database in use
    monkeypatch.setattr(resend, "api_url", f"{live_server.url}/api/v1")
    monkeypatch.setattr(resend, "api_key", secret)
    yield resend.api_url
    shared_desk().close()


def test_domains(acme: Organization, settings: Any) -> None:
    created = resend.Domains.create({"name": "sdk.test"})
    assert (created["name"], created["status"]) == ("sdk.test", "not_started")
    assert {record["record"] for record in created["records"] or ()} >= {"DKIM", "SPF"}
    assert resend.Domains.get(created["id"])["records"] == created["records"]
    listed = resend.Domains.list({"limit": 1})
    assert ([row["id"] for row in listed["data"]], listed["has_more"]) == ([created["id"]], False)

    with dns_over_database() as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]
        assert resend.Domains.verify(created["id"])["status"] == "pending"
        publish(SendingDomain.objects.get(pk=created["id"]))
        assert resend.Domains.verify(created["id"])["id"] == created["id"]
    domain = resend.Domains.get(created["id"])
    assert domain["status"] == "verified"
    assert {record["status"] for record in domain["records"] or ()} == {"verified"}

    assert resend.Domains.update({"id": created["id"], "open_tracking": False})["id"] == created["id"]
    with pytest.raises(ResendError):
        resend.Domains.update({"id": created["id"], "click_tracking": True})
    with pytest.raises(ResendError):
        resend.Domains.create({"name": "sdk.test"})
    assert resend.Domains.remove(created["id"])["deleted"] is True
    with pytest.raises(ResendError):
        resend.Domains.get(created["id"])


def test_api_keys(url: str) -> None:
    made = resend.ApiKeys.create({"name": "Shop", "permission": "sending_access"})
    assert [key["name"] for key in resend.ApiKeys.list()["data"]] == ["Shop", "SDK"]
    resend.ApiKeys.update({"id": made["id"], "name": "Web shop"})
    assert resend.ApiKeys.list({"limit": 1})["data"][0]["name"] == "Web shop"

    headers = {"Authorization": f"Bearer {made['token']}"}
    assert requests.get(f"{url}/api-keys", headers=headers, timeout=20).json()["code"] == "insufficient_scope"
    assert resend.ApiKeys.remove(made["id"])["deleted"] is True
    assert ApiKey.objects.get(pk=made["id"]).is_revoked


def test_suppressions() -> None:
    added = resend.Suppressions.add({"email": "Odd/One@inbox.test"})
    assert resend.Suppressions.add({"email": "odd/one@inbox.test"})["id"] == added["id"]
    for which in (added["id"], "odd/one@INBOX.test"):
        assert resend.Suppressions.get(which)["email"] == "odd/one@inbox.test"
    batch = resend.Suppressions.Batch.add({"emails": ["a@inbox.test", "b@inbox.test", "A@inbox.test"]})
    assert len(batch["data"]) == 2
    assert len(resend.Suppressions.list({"origin": "manual", "limit": 2})["data"]) == 2
    assert resend.Suppressions.list({"origin": "bounce"})["data"] == []
    removed = resend.Suppressions.Batch.remove({"ids": [batch["data"][0]["id"]]})
    assert [row["deleted"] for row in removed["data"]] == [True]
    assert resend.Suppressions.Batch.remove({"emails": ["a@inbox.test", "b@inbox.test"]})["data"][0]["deleted"]
    assert resend.Suppressions.remove("odd/one@inbox.test")["id"] == added["id"]
    with pytest.raises(ResendError):
        resend.Suppressions.get(added["id"])


def test_parallel_repeats_over_http_make_one_key(url: str, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "deploy-7"}

    def create(_: int) -> requests.Response:
        return requests.post(f"{url}/api-keys", json={"name": "Deploy"}, headers=headers, timeout=20)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(create, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum(answer.headers.get("Idempotent-Replayed") == "true" for answer in answers) == 7
    assert ApiKey.objects.filter(name="Deploy").count() == 1


def test_a_session_cookie_opens_nothing(url: str) -> None:
    cookies = {"plugsend_session": make_tenant("Person").client.cookies["plugsend_session"].value}
    for path in ("domains", "smtp-users", "api-keys", "suppressions"):
        answer = requests.get(f"{url}/{path}", cookies=cookies, timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_required")
