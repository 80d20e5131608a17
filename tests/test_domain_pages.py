"""Domains, their DNS records, and the SMTP users on them."""

import re
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.audit import Actor
from domains.models import DomainStatus, RecordStatus, SendingDomain, SmtpUser
from tests.factories import Tenant, make_domain, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def test_an_added_domain_shows_the_records_to_publish(tenant: Tenant) -> None:
    page = tenant.client.post("/domains/add/", {"name": "Acme.test"}, follow=True).content.decode()

    domain = SendingDomain.objects.of(tenant.organization).get()
    assert domain.name == "acme.test"
    for record in domain.records.all():
        assert record.name in page
        assert record.value.split(";")[0] in page
    assert "Waiting for DNS" in page
    assert "Publish these records in the sandbox zone" in page


@pytest.mark.parametrize("name", ["", "https://acme.test/", "ada@acme.test", "127.0.0.1", "com", "a..test"])
def test_what_is_no_domain_is_refused_with_advice(name: str, tenant: Tenant) -> None:
    page = tenant.client.post("/domains/add/", {"name": name}).content.decode()

    assert "field-error" in page
    assert not SendingDomain.objects.exists()


def test_a_record_that_differs_shows_what_was_found_instead(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization, verified=False)
    record = domain.records.get(purpose="ownership")
    record.status, record.found, record.explanation = RecordStatus.DIFFERENT, ["something=<else>"], "Replace it."
    record.save()

    page = tenant.client.get(reverse("domain", args=[domain.pk])).content.decode()

    assert "Different" in page
    assert "something=&lt;else&gt;" in page
    assert "Replace it." in page


def test_the_check_button_asks_dns_again(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = make_domain(tenant.organization, verified=False)

    def all_found(checked: SendingDomain, by: Actor) -> SendingDomain:
        checked.records.update(status=RecordStatus.FOUND)
        checked.status, checked.verified_at = DomainStatus.VERIFIED, timezone.now()
        checked.save()
        return checked

    monkeypatch.setattr("domains.looking.check_domain", all_found)
    url = reverse("domain_check", args=[domain.pk])

    fragment = tenant.client.post(url, headers=HTMX).content.decode()
    assert "Verified." in fragment
    assert "<html" not in fragment
    assert "Create SMTP user" in fragment
    assert tenant.client.post(url)["Location"] == reverse("domain", args=[domain.pk])
    assert tenant.client.get(url).status_code == 405


def test_a_poll_brings_nothing_until_something_is_new_and_ends_when_verified(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization, verified=False)
    url = reverse("domain", args=[domain.pk])
    poll = re.search(r'hx-get="([^"]+)"', tenant.client.get(url).content.decode())
    assert poll

    assert tenant.client.get(poll[1], headers=HTMX).status_code == 204
    domain.records.filter(purpose="dkim").update(status=RecordStatus.FOUND)
    fresh = tenant.client.get(poll[1], headers=HTMX)
    assert fresh.status_code == 200
    assert "hx-get" in fresh.content.decode()

    SendingDomain.objects.update(status=DomainStatus.VERIFIED)
    assert "hx-get" not in tenant.client.get(poll[1], headers=HTMX).content.decode()


def test_a_record_that_is_not_required_says_why_and_is_not_missing(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    domain.records.filter(required=False).update(status=RecordStatus.MISSING)
    page = tenant.client.get(reverse("domain", args=[domain.pk])).content.decode()
    for text in ("DKIM key, Ed25519", "· optional", "a second, Ed25519 signature", "DMARC", "· recommended"):
        assert text in page, text
    assert page.count("Not published") == 3
    assert "Missing" not in page


def test_removing_a_domain_asks_first_and_names_the_users_that_stop(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    make_smtp_user(domain, "shop")
    url = reverse("domain_remove", args=[domain.pk])

    assert "shop@acme.test" in tenant.client.get(url).content.decode()
    assert SendingDomain.objects.exists()
    assert "is removed" in tenant.client.post(url, follow=True).content.decode()
    assert not SendingDomain.objects.exists()


def test_a_new_smtp_users_password_is_shown_once_with_examples(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)

    answer = tenant.client.post("/smtp-users/new/", {"local_part": "shop", "domain": str(domain.pk)})

    page = answer.content.decode()
    secret = re.search(r"ps_live_\w{38}", page)
    assert secret
    for client in ("swaks", "curl", "smtplib", "EMAIL_HOST_PASSWORD", "nodemailer"):
        assert client in page
    assert "no-store" in answer["Cache-Control"]
    smtp_user = SmtpUser.objects.of(tenant.organization).get()
    assert smtp_user.address == "shop@acme.test"
    later = tenant.client.get(reverse("smtp_user", args=[smtp_user.pk])).content.decode()
    assert secret[0] not in later
    assert smtp_user.live_keys[0].prefix in later


def test_an_smtp_user_cannot_be_made_on_another_organizations_domain(tenant: Tenant) -> None:
    theirs = make_domain(make_tenant("Rival").organization, "rival.test")

    page = tenant.client.post("/smtp-users/new/", {"local_part": "shop", "domain": str(theirs.pk)}).content.decode()

    assert "ps_live_" not in page
    assert not SmtpUser.objects.exists()


def test_a_taken_name_is_refused_in_words(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    make_smtp_user(domain, "shop")

    page = tenant.client.post("/smtp-users/new/", {"local_part": "shop", "domain": str(domain.pk)}).content.decode()

    assert "already" in page
    assert SmtpUser.objects.count() == 1


def test_without_a_verified_domain_the_page_leads_to_one(tenant: Tenant) -> None:
    assert reverse("domain_add") in tenant.client.get("/smtp-users/new/").content.decode()
    domain = make_domain(tenant.organization, verified=False)
    assert reverse("domain", args=[domain.pk]) in tenant.client.get("/smtp-users/new/").content.decode()


def test_publishing_in_the_sandbox_zone_writes_the_records_there(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relay.sandbox.models import ZoneRecord

    checked: list[Any] = []
    monkeypatch.setattr("relay.sandbox.views.check_again", lambda domain, *_, **__: checked.append(domain))
    domain = make_domain(tenant.organization, verified=False)

    answer = tenant.client.post(reverse("sandbox:publish", args=[domain.pk]))

    assert answer["Location"] == reverse("domain", args=[domain.pk])
    assert checked == [domain]
    published = set(ZoneRecord.objects.values_list("name", flat=True))
    assert {record.name for record in domain.records.all()} <= published
