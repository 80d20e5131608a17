"""The audit log's page, a domain's history, and what pages say of a domain in trouble."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.audit import SYSTEM, Actor, note
from accounts.audit_export import safe_cell
from accounts.audit_log import PAGE_SIZE
from accounts.audit_words import told
from accounts.ids import uuid7
from accounts.models import AuditEntry, Membership, Role, User
from accounts.permissions import PERMISSIONS, Permission
from accounts.services import change_settings
from domains.models import DomainStatus, RecordStatus, SendingDomain
from relay.suppressing.suppressions import suppress_all
from tests.factories import Tenant, make_domain, make_message, make_tenant
from tests.rest import Api, make_api, refused

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
    domain.records.filter(purpose="return_path").update(found=["b.example"])  # the same fault, another value
    assert (
        "b.example" in tenant.client.get(poll[1].replace("&amp;", "&"), headers={"HX-Request": "true"}).content.decode()
    )
    for opened in ("0", "x", "٣", "9" * 30, "99999999999"):
        assert tenant.client.get(f"{url}?opened={opened}").status_code == 200
    assert tenant.client.get("/settings/audit-log/?until=9999-12-31").status_code == 200


# ---- Found, taken along, kept ----------------------------------------------------------------------------------------


@pytest.fixture
def busy(tenant: Tenant) -> dict[str, AuditEntry]:
    """Entries by several actors about several objects, by a name for each."""
    acme, other = make_domain(tenant.organization), make_domain(tenant.organization, "other.test")
    shop = Actor("api_key", uuid7(), "=Shop", "192.0.2.9")
    ada, root = Actor("user", tenant.user.pk, tenant.user.email), Actor("operator", tenant.user.pk, "root@people.test")

    def made(actor: Actor, action: str, thing: SendingDomain) -> AuditEntry:
        return note(actor, action, thing, organization_id=tenant.organization.pk, after={"n": 1})

    return {
        "ada": made(ada, "domain.removed", acme),
        "shop": made(shop, "smtp_user.disabled", other),
        "root": made(root, "organization.changed", acme),
        "clock": made(SYSTEM, "domain.warned", other),
    }


def test_the_log_is_narrowed_by_who_what_object_and_day(tenant: Tenant, busy: dict[str, AuditEntry]) -> None:
    ada, shop = busy["ada"], busy["shop"]
    today = f"{timezone.now():%Y-%m-%d}"
    for query, expected in [
        (f"who=user.{ada.actor_id}", {"ada"}),  # and not what the same person did as an operator
        (f"who=api_key.{shop.actor_id}", {"shop"}),
        ("who=operator", {"root"}),
        (f"who=operator.{ada.actor_id}", set()),
        ("who=system&q=other.test&about=domain", {"clock"}),
        ("about=smtp_user", {"shop"}),
        (f"object={ada.object_id}", {"ada", "root"}),
        ("q=acme.test&about=domain&who=user", {"ada"}),
        (f"since={today}&until={today}", set(busy)),
        ("until=2026-01-01", set()),
        ("since=tomorrow&until=%00&who=x.y&q=nothing", set()),
    ]:
        rows = tenant.client.get(f"/settings/audit-log/?{query}").context["rows"]
        found = {name for name, entry in busy.items() if entry.pk in {row.entry.pk for row in rows}}
        assert found == expected, query
    page = tenant.client.get("/settings/audit-log/")
    assert ("operator", "PlugSend operator") in page.context["actors"]
    assert "root@people.test" not in page.content.decode()


def test_the_log_is_taken_along_whole_or_filtered_and_that_is_an_entry(
    tenant: Tenant, busy: dict[str, AuditEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.audit_search.CHUNK", 2)
    every = list(AuditEntry.objects.order_by("id"))
    make_domain(make_tenant("Rival").organization, "secret.test")

    def taken(**sent: str) -> str:
        answer = tenant.client.post("/settings/audit-log/export/", sent)
        return b"".join(answer).decode()  # type: ignore[arg-type]

    lines = [json.loads(line) for line in taken(format="jsonl").splitlines()]
    assert [line["id"] for line in lines] == [str(entry.pk) for entry in every]
    rows = list(csv.DictReader(io.StringIO(taken(format="csv"))))
    assert [row["id"] for row in rows] == [str(entry.pk) for entry in every] + [rows[-1]["id"]]
    assert rows[-1]["in_words"] == f"{tenant.user.email} exported the audit log"
    assert {row["actor"] for row in rows} == {"PlugSend", "acme@people.test", "'=Shop", "PlugSend operator"}
    assert [json.loads(line)["action"] for line in taken(format="jsonl", about="smtp_user").splitlines()] == [
        "smtp_user.disabled"
    ]
    last = AuditEntry.objects.of(tenant.organization).order_by("id").last()
    assert last
    assert last.after == {"format": "jsonl", "about": "smtp_user"}
    assert tenant.client.post("/settings/audit-log/export/", {"format": "exe"}).status_code == 404


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(sign: str) -> None:
    assert safe_cell(f"{sign}1") == f"'{sign}1"
    assert safe_cell(f"a{sign}1") == f"a{sign}1"


def test_programs_with_full_rights_list_the_log(tenant: Tenant, busy: dict[str, AuditEntry]) -> None:
    refused(make_api(tenant.organization, "full").get("audit-log"), 403, "audit_log_not_open")  # made by nobody
    developer = User.objects.create_user("dev@people.test", "x")
    Membership.objects.create(organization=tenant.organization, user=developer, role="developer")
    made = [
        create_api_key(tenant.organization, "A key", ["full"], created_by=user) for user in (developer, tenant.user)
    ]
    refused(Api(made[0].api_key).get("audit-log"), 403, "audit_log_not_open")
    api = Api(made[1].api_key)
    every = [str(entry.pk) for entry in AuditEntry.objects.order_by("-id")]
    first = api.get("audit-log?limit=6").json()
    assert ([entry["id"] for entry in first["data"]], first["has_more"]) == (every[:6], True)
    second = api.get(f"audit-log?limit=100&after={every[5]}").json()
    assert ([entry["id"] for entry in second["data"]], second["has_more"]) == (every[6:], False)
    operator = next(entry for entry in first["data"] if entry["id"] == str(busy["root"].pk))
    assert operator["actor"] == {"kind": "operator", "id": None, "name": "PlugSend operator"}
    for query, expected in [
        (f"actor_id={busy['ada'].actor_id}", {"ada"}),
        ("action=domain.warned", {"clock"}),
        ("target_type=smtp_user&actor_kind=api_key", {"shop"}),
        (f"target_id={busy['ada'].object_id}", {"ada", "root"}),
        ("target_name=other.test&until=2026-01-01T00:00:00Z", set()),
    ]:
        ids = {entry["id"] for entry in api.get(f"audit-log?{query}").json()["data"]}
        assert {name for name, entry in busy.items() if str(entry.pk) in ids} == expected, query
    refused(make_api(tenant.organization, "read").get("audit-log"), 403, "insufficient_scope")
    refused(
        make_api(tenant.organization, "full", only_domain="acme.test").get("audit-log"), 403, "key_restricted_to_domain"
    )
    rival = make_tenant("Rival")
    theirs = Api(create_api_key(rival.organization, "A key", ["full"], created_by=rival.user).api_key)
    assert theirs.get(f"audit-log?after={every[0]}").json()["data"] == []


@pytest.mark.parametrize("role", [role.value for role in Role])
def test_only_who_may_read_the_log_sees_and_takes_it(tenant: Tenant, role: str) -> None:
    tenant.organization.memberships.update(role=role)
    expected = 200 if Permission.READ_AUDIT in PERMISSIONS[role] else 403
    assert tenant.client.get("/settings/audit-log/").status_code == expected
    assert tenant.client.post("/settings/audit-log/export/", {"format": "csv"}).status_code == expected


@pytest.mark.parametrize(
    "statement",
    ["UPDATE accounts_auditentry SET actor_name = 'x'", "DELETE FROM accounts_auditentry"],
)
def test_nobody_alters_the_log(tenant: Tenant, busy: dict[str, AuditEntry], statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.filter(pk=busy["ada"].pk, actor_name=busy["ada"].actor_name).exists()


def test_what_people_did_stays_when_they_and_the_objects_are_gone(tenant: Tenant, busy: dict[str, AuditEntry]) -> None:
    SendingDomain.objects.all().delete()
    owner = User.objects.create_user("next@people.test", "correct-horse-battery")
    tenant.organization.memberships.create(user=owner)
    tenant.user.delete()
    tenant.client.force_login(owner)
    page = tenant.client.get("/settings/audit-log/").content.decode()
    assert "acme@people.test</span> removed the domain" in page
    assert "acme.test" in page


@pytest.mark.parametrize(
    ("action", "before", "after", "sentence"),
    [
        (
            "domain.changed",
            {"allow_subdomains": False},
            {"allow_subdomains": True},
            "turned on subdomains for acme.test",
        ),
        (
            "organization.changed",
            {"never_twice": True},
            {"never_twice": False},
            "turned off “never twice” for acme.test",
        ),
        (
            "organization.changed",
            {"suspended_at": None},
            {"suspended_at": "2026-11-26T08:00:00Z"},
            "suspended acme.test",
        ),
        ("member.role_changed", None, {"role": "admin"}, "changed the role of the member acme.test"),
        ("api_key.revoked", None, None, "revoked the API key acme.test"),
    ],
)
def test_a_sentence_for_each_act(tenant: Tenant, action: str, before: Any, after: Any, sentence: str) -> None:
    actor = Actor("user", None, "Ada")
    domain = make_domain(tenant.organization)
    entry = note(actor, action, domain, organization_id=tenant.organization.pk, before=before, after=after)
    assert told(entry).sentence == f"Ada {sentence}"


def test_an_act_on_many_is_one_entry_with_their_number(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    for number in range(3):
        make_message(domain, to=f"p{number}@inbox.test", state="deferred")
    tenant.client.post("/messages/hold/?state=deferred")
    entry = AuditEntry.objects.get(action="message.held")
    assert (entry.object_name, entry.after) == (
        "3 messages",
        {"recipients": 3, "chosen": "recipients that are deferred"},
    )
    suppress_all(tenant.organization, [f"p{number}@inbox.test" for number in range(12)])
    entry = AuditEntry.objects.get(action="suppression.added")
    assert told(entry).sentence == "PlugSend suppressed 12 addresses"
    assert told(entry).changes[0].after == "12"
    assert told(entry).changes[1].after.endswith("and 2 more")


def test_an_act_in_batches_says_how_many_there_are_at_most(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.acting.actions.BATCH", 2)
    domain = make_domain(tenant.organization)
    for number in range(5):
        make_message(domain, to=f"p{number}@inbox.test", state="deferred")
    tenant.client.post("/messages/cancel/?state=deferred")
    assert AuditEntry.objects.get(action="message.cancelled").after == {
        "recipients_at_most": 5, "chosen": "recipients that are deferred",
    }  # fmt: skip


def test_settings_that_stay_the_same_leave_no_entry(tenant: Tenant) -> None:
    before = AuditEntry.objects.count()
    change_settings(tenant.organization, name=" Acme ", never_twice=False)
    assert AuditEntry.objects.count() == before
    change_settings(tenant.organization, name="Acme", never_twice=True)
    entry = AuditEntry.objects.get(action="organization.changed")
    assert (entry.before, entry.after) == ({"never_twice": False}, {"never_twice": True})
