"""The audit log's page, a domain's history, and what pages say of a domain in trouble."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.audit_log import PAGE_SIZE
from accounts.audit_words import told
from accounts.models import AuditEntry
from domains.models import DomainStatus, RecordStatus, SendingDomain
from tests.factories import Tenant, make_domain, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def test_the_log_says_who_did_what_from_where(tenant: Tenant) -> None:
    tenant.client.post("/domains/add/", {"name": "acme.test"}, REMOTE_ADDR="192.0.2.7")
    domain = SendingDomain.objects.get()
    tenant.client.post(reverse("domain_remove", args=[domain.pk]))

    page = tenant.client.get("/settings/audit-log/").content.decode()
    for text in ("added the domain", "removed the domain", "acme.test", "acme@people.test", "from 192.0.2.7"):
        assert text in page, text
    assert page.index("removed the domain") < page.index("added the domain")
    assert reverse("audit_log") in tenant.client.get("/settings/").content.decode()


def test_the_log_is_paged_and_anothers_is_not_in_it(tenant: Tenant) -> None:
    rival = make_tenant("Rival")
    theirs = make_domain(rival.organization, "secret.test")
    domain = make_domain(tenant.organization)
    for number in range(PAGE_SIZE + 5):
        note(SYSTEM, "domain.changed", domain, organization_id=tenant.organization.pk, after={"number": f"n{number}-"})

    first = tenant.client.get("/settings/audit-log/").content.decode()
    older = re.search(r'href="(\?before=[^"]+)"', first)
    assert older
    second = tenant.client.get("/settings/audit-log/" + older[1]).content.decode()
    shown = re.findall(r"n(\d+)-", first) + re.findall(r"n(\d+)-", second)
    assert shown == [str(number) for number in reversed(range(PAGE_SIZE + 5))]
    assert "secret.test" not in first + second
    assert "secret.test" not in tenant.client.get(f"/settings/audit-log/?object={theirs.pk}").content.decode()
    assert tenant.client.get("/settings/audit-log/?before=nonsense&object=x").status_code == 200


@pytest.mark.parametrize(
    ("actor", "who"),
    [
        (Actor("user", None, "ada@people.test"), "ada@people.test"),
        (Actor("api_key", None, "Shop"), "API key “Shop”"),
        (Actor("operator", None, "root@plugsend.test"), "PlugSend operator"),
        (SYSTEM, "PlugSend"),
    ],
)
def test_entries_are_told_in_words(tenant: Tenant, actor: Actor, who: str) -> None:
    domain = make_domain(tenant.organization)
    note(
        actor, "smtp_user.disabled", domain, organization_id=tenant.organization.pk,
        before={"status": "verified", "failing_since": None, "allow_subdomains": True},
        after={"status": "taken_over", "failing_since": "2026-11-26T08:00:00+00:00", "records": ["TXT a", "TXT b"]},
    )  # fmt: skip
    line = told(AuditEntry.objects.get(action="smtp_user.disabled"))
    assert line.sentence == f"{who} disabled the SMTP user acme.test"
    assert [(change.field, change.before, change.after) for change in line.changes] == [
        ("status", "verified", "taken over"),
        ("failing since", "", "26 Nov 2026, 08:00 UTC"),
        ("allow subdomains", "yes", ""),
        ("records", "", "TXT a, TXT b"),
    ]


def test_a_domains_page_shows_its_own_history(tenant: Tenant) -> None:
    domain, other = make_domain(tenant.organization), make_domain(tenant.organization, "other.test")
    note(SYSTEM, "domain.mine", domain, organization_id=tenant.organization.pk)
    note(SYSTEM, "domain.others", other, organization_id=tenant.organization.pk)
    page = tenant.client.get(reverse("domain_history", args=[domain.pk])).content.decode()
    assert "mine the domain" in page
    assert "others the domain" not in page


# ---- A domain in trouble ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "on_its_page", "elsewhere"),
    [
        ({}, "You can send from any address", None),
        ({"failing_since": -1}, "You can go on sending", None),
        ({"failing_since": -3, "warned_at": -2}, "Sending goes on until", "sending stops on"),
        ({"status": "stopped", "failing_since": -90, "warned_at": -89}, "Stopped: mail from", "is stopped"),
        ({"status": "taken_over"}, "Taken over: another organization", "was taken over"),
    ],
)
def test_pages_say_what_is_wrong_and_when_sending_stops(
    tenant: Tenant, facts: dict[str, object], on_its_page: str, elsewhere: str | None
) -> None:
    domain = make_domain(tenant.organization)
    domain.records.filter(purpose="return_path").update(status=RecordStatus.MISSING)
    now = timezone.now()
    changes = {name: now + timedelta(hours=value) if isinstance(value, int) else value for name, value in facts.items()}
    SendingDomain.objects.update(checked_at=now, next_check_at=now + timedelta(minutes=5), **changes)

    page = tenant.client.get(reverse("domain", args=[domain.pk])).content.decode()
    assert on_its_page in page
    assert ('hx-trigger="every' in page) == bool(facts)
    lost = "psrp.acme.test</span>: missing"
    assert (lost in page) == (bool(facts) and facts.get("status") != DomainStatus.TAKEN_OVER)
    for url in ("/domains/", "/overview/"):
        page = tenant.client.get(url).content.decode()
        if elsewhere is None:
            assert "tone-bad" not in page
        else:
            assert elsewhere in page


def test_a_poll_tells_of_a_look_that_found_nothing_new_and_swaps_nothing(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization, verified=False)
    SendingDomain.objects.update(checked_at=timezone.now())
    url = reverse("domain", args=[domain.pk])
    poll = re.search(r'hx-get="([^"]+)"', tenant.client.get(url).content.decode())
    assert poll
    answer = tenant.client.get(poll[1].replace("&amp;", "&"), headers={"HX-Request": "true"})
    assert answer["HX-Reswap"] == "none"
    assert 'id="checked"' in answer.content.decode()
    assert "<h2" not in answer.content.decode()
    for opened in ("0", "x", "٣", "9" * 30, "99999999999"):
        assert tenant.client.get(f"{url}?opened={opened}").status_code == 200
