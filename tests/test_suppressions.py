"""Addresses that are not mailed any more: kept, listed, added, removed, and told where they matter."""

import html
import re
from datetime import timedelta
from functools import partial

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User
from relay.finding.exporting import pieces_of, work_on_exports
from relay.models import (
    ExchangerGroup,
    IpPool,
    MessageExport,
    PoolAssignment,
    Suppression,
    SuppressionImport,
    SuppressionImportPiece,
)
from relay.suppressing.importing import work_on_imports
from relay.suppressing.suppressions import (
    AddressRefused,
    normalized,
    suppress,
    suppressions_of,
    suppressions_page,
    unsuppress,
)
from tests.factories import Tenant, add_recipient, make_domain, make_message, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def page(tenant: Tenant, path: str = "/suppressions/") -> str:
    return html.unescape(tenant.client.get(path).content.decode())


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace@EXAMPLE.com", "ada.lovelace@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
        ("Jürgen@example.com", "jürgen@example.com"),
        ('"Odd One"@example.com', '"odd one"@example.com'),
        ("nobody", None),
        ("a@b@example.com", None),
        ("", None),
    ],
)
def test_addresses_are_kept_in_one_form(address: str, kept: str | None) -> None:
    assert normalized(address) == kept


def test_the_first_suppression_of_an_address_stays(tenant: Tenant) -> None:
    first, is_new = suppress(tenant.organization, "Gone@inbox.test", reason="no_such_address", reply="550 5.1.1")
    second, is_new_again = suppress(tenant.organization, "gone@INBOX.test")

    assert (is_new, is_new_again, second.pk, second.reason) == (True, False, first.pk, "no_such_address")
    with pytest.raises(AddressRefused, match="“nobody” is not a valid address"):
        suppress(tenant.organization, " nobody ")


def test_another_organization_may_still_mail_it(tenant: Tenant) -> None:
    rival = make_tenant("Rival")
    suppression, _ = suppress(tenant.organization, "gone@inbox.test")

    assert suppressions_page(rival.organization).rows == []
    assert not unsuppress(rival.organization, suppression.pk)
    assert suppress(rival.organization, "gone@inbox.test")[1]
    assert unsuppress(tenant.organization, suppression.pk)
    assert [one.organization_id for one in Suppression.objects.all()] == [rival.organization.pk]


def test_recipients_are_found_in_whatever_case_they_were_written(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization), to="GONE@inbox.test", state="suppressed")
    fine = add_recipient(message, "fine@inbox.test", "delivered")
    gone = type(fine).objects.get(address="GONE@inbox.test")
    suppression, _ = suppress(tenant.organization, "gone@inbox.test")

    assert suppressions_of(tenant.organization, [gone, fine]) == {gone.pk: suppression}


def test_an_address_is_added_by_hand_and_removed_after_a_question(tenant: Tenant) -> None:
    assert "No address is suppressed" in page(tenant)

    refused = tenant.client.post("/suppressions/add/", {"address": "ada@"}).content.decode()
    assert "“ada@” is not a valid address" in html.unescape(refused)
    added = tenant.client.post("/suppressions/add/", {"address": "Ada@Bücher.test"}, follow=True)
    assert "ada@xn--bcher-kva.test is suppressed" in added.content.decode()
    assert "Added by hand" in added.content.decode()
    again = tenant.client.post("/suppressions/add/", {"address": "ada@bücher.test"}, follow=True)
    assert "was suppressed already" in again.content.decode()

    suppression = Suppression.objects.get()
    url = reverse("suppression_remove", args=[suppression.pk])
    assert "Send to ada@xn--bcher-kva.test again?" in page(tenant, url)
    assert Suppression.objects.exists()
    assert "Mail to it is sent again" in tenant.client.post(url, follow=True).content.decode()
    assert not Suppression.objects.exists()


def test_the_list_tells_why_and_leads_to_the_message(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization), to="gone@inbox.test", state="bounced")
    suppress(
        tenant.organization,
        "gone@inbox.test",
        reason="no_such_address",
        message_id=message.pk,
        reply="550 5.1.1 <Unknown>",
    )

    shown = page(tenant)

    assert "The address does not exist" in shown
    assert "550 5.1.1 <Unknown>" in shown
    link = reverse("message", args=[message.pk])
    assert link in shown

    message.delete()  # its retention is over
    assert "gone@inbox.test" in page(tenant)
    assert link not in page(tenant)


def test_the_list_is_searched_and_paged(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.suppressing.views.suppressions_page", partial(suppressions_page, limit=2))
    for number in range(3):
        suppress(tenant.organization, f"person{number}@inbox.test")
    suppress(tenant.organization, "other@elsewhere.test")

    first = page(tenant, "/suppressions/?q=person")
    assert "person2@" in first
    assert "person1@" in first
    assert "person0@" not in first
    assert "other@" not in first
    older = re.search(r'href="(\?before=[^"]+)"', first)
    assert older
    second = page(tenant, "/suppressions/" + older[1])
    assert "person0@" in second
    assert "person1@" not in second
    assert "other@elsewhere.test" in page(tenant, "/suppressions/?q=OTHER@elsewhere.test")
    assert "Mail to it is sent" in page(tenant, "/suppressions/?q=%00nobody")
    assert "This is the end" in page(tenant, "/suppressions/?before=00000000-0000-7000-8000-000000000000")


def test_a_suppressed_recipient_says_why_and_leads_to_the_suppression(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization), to="Gone@inbox.test", state="suppressed")
    suppression, _ = suppress(tenant.organization, "gone@inbox.test", reason="no_such_address")
    url = reverse("message", args=[message.pk])

    shown = page(tenant, url)
    assert "Not sent: the address is suppressed" in shown
    assert "The address does not exist" in shown
    assert "/suppressions/?q=gone%40inbox.test" in shown

    unsuppress(tenant.organization, suppression.pk)
    assert "It is not suppressed any more" in page(tenant, url)


def test_a_bounce_that_suppressed_its_address_says_so(tenant: Tenant) -> None:
    message = make_message(
        make_domain(tenant.organization), to="gone@inbox.test", state="bounced", reason="no_such_address"
    )
    url = reverse("message", args=[message.pk])
    assert "no more mail is sent to it" not in page(tenant, url)
    suppress(tenant.organization, "gone@inbox.test", reason="no_such_address", message_id=message.pk)
    assert "no more mail is sent to it" in page(tenant, url)


def test_an_owner_chooses_encryption_and_never_twice(tenant: Tenant) -> None:
    assert "Nothing is sent in the clear" in page(tenant, "/settings/")
    form = {"name": "Acme", "outgoing_tls": "verified", "never_twice": "on"}

    tenant.client.post("/settings/", form)
    tenant.organization.refresh_from_db()
    assert (tenant.organization.outgoing_tls, tenant.organization.never_twice) == ("verified", True)
    assert re.search(r'value="verified"[^>]* checked', page(tenant, "/settings/"))

    refused = tenant.client.post("/settings/", form | {"outgoing_tls": "none"}).content.decode()
    assert "none is not one of the available choices" in refused
    tenant.client.post("/settings/", {"name": "Acme", "outgoing_tls": "opportunistic"})
    tenant.organization.refresh_from_db()
    assert (tenant.organization.outgoing_tls, tenant.organization.never_twice) == ("opportunistic", False)


# ---- The admin -------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    return client


def test_an_operator_finds_and_removes_a_suppression(operator: Client, tenant: Tenant) -> None:
    suppression, _ = suppress(tenant.organization, "gone@inbox.test")
    suppress(make_tenant("Rival").organization, "other@inbox.test")

    found = operator.get("/admin/relay/suppression/?q=Gone@Inbox.test").content.decode()
    assert "gone@inbox.test" in found
    assert "other@inbox.test" not in found
    found = operator.get(f"/admin/relay/suppression/?q={tenant.organization.pk}").content.decode()
    assert "gone@inbox.test" in found
    assert "other@inbox.test" not in found
    assert operator.get("/admin/relay/suppression/?q=nobody").status_code == 200
    operator.post(f"/admin/relay/suppression/{suppression.pk}/delete/", {"post": "yes"})
    assert not Suppression.objects.filter(pk=suppression.pk).exists()


def test_an_operator_resumes_a_suspended_group(operator: Client) -> None:
    group = ExchangerGroup.objects.create(
        name="mx1.inbox.test mx2.inbox.test", connections=1, messages_per_second=0.1, failures=7,
        suspended_until=timezone.now() + timedelta(hours=1), reason="unreachable", changed_at=timezone.now(),
    )  # fmt: skip
    url = "/admin/relay/exchangergroup/"
    assert operator.post(f"{url}add/").status_code == 403

    told = operator.post(url, {"action": "resume_now", "_selected_action": [group.pk]}, follow=True)

    assert "1 resumed." in told.content.decode()
    group.refresh_from_db()
    assert (group.suspended_until, group.connections, group.messages_per_second, group.failures) == (None, 5, None, 0)


def test_an_operator_pins_an_organization_to_a_pool(operator: Client, tenant: Tenant) -> None:
    inline = {"addresses-TOTAL_FORMS": "1", "addresses-INITIAL_FORMS": "0", "addresses-0-is_active": "on",
              "addresses-0-address": "192.0.2.1"}  # fmt: skip
    refused = operator.post("/admin/relay/ippool/add/", {"name": "Main", **inline, "addresses-0-ehlo_name": "no name!"})
    assert "reverse DNS name" in html.unescape(refused.content.decode())
    operator.post("/admin/relay/ippool/add/", {"name": "Main", **inline, "addresses-0-ehlo_name": "Out1.Example.com"})
    pool = IpPool.objects.get()
    assert [(one.address, one.ehlo_name) for one in pool.addresses.all()] == [("192.0.2.1", "out1.example.com")]

    domain = make_domain(tenant.organization)
    url, both = "/admin/relay/poolassignment/add/", {"organization": tenant.organization.pk, "domain": domain.pk}
    for values in ({}, both):
        answer = operator.post(url, {"pool": pool.pk, **values}).content.decode()
        assert "one of them, not both" in answer
    operator.post(url, {"pool": pool.pk, "organization": tenant.organization.pk})
    assert PoolAssignment.objects.get().organization == tenant.organization


def test_an_operator_sets_weight_and_limits_of_an_organization(operator: Client, tenant: Tenant) -> None:
    url = f"/admin/accounts/organization/{tenant.organization.pk}/change/"
    form = {"name": "Acme", "outgoing_tls": "encrypted", "delivery_weight": "3", "message_size_limit": "1000000",
            "never_twice": "on", "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}  # fmt: skip

    operator.post(url, form | {"delivery_weight": "0"})
    tenant.organization.refresh_from_db()
    assert tenant.organization.delivery_weight == 1
    operator.post(url, form)
    tenant.organization.refresh_from_db()
    organization = tenant.organization
    assert (organization.delivery_weight, organization.message_size_limit) == (3, 1_000_000)
    assert (organization.outgoing_tls, organization.never_twice) == ("encrypted", True)


# ---- Lists: filters, imports, exports --------------------------------------------------------------------------------


def test_the_list_is_narrowed_by_origin_stream_and_days(tenant: Tenant) -> None:
    for address, reason, stream in (
        ("dead@inbox.test", "no_such_address", ""),
        ("full@inbox.test", "soft_bounces", ""),
        ("cross@inbox.test", "complaint", ""),
        ("tired@inbox.test", "unsubscribe", "news"),
        ("hand@inbox.test", "manual", "offers"),
    ):
        suppress(tenant.organization, address, reason=reason, stream=stream, note=f"note of {address}")
    today = f"{timezone.now():%Y-%m-%d}"

    def shown(query: str) -> set[str]:
        return set(re.findall(r"break-all\">(\w+)@inbox\.test", page(tenant, f"/suppressions/?{query}")))

    assert shown("origin=bounce") == {"dead", "full"}
    assert shown("origin=unsubscribe") == shown("stream=news") == {"tired"}
    assert shown(f"since={today}&until={today}&q=a") == {"dead", "hand"}
    assert shown("until=2020-01-01") == set()
    assert len(shown("stream=&origin=&since=x&q=")) == 5
    assert "note of hand@inbox.test" in page(tenant)


def imported(tenant: Tenant, content: bytes, **fields: str) -> SuppressionImport:
    file = SimpleUploadedFile("list.csv", content)
    answer = tenant.client.post("/suppressions/import/", {"file": file, "stream": "", "note": "", **fields})
    assert answer.status_code == 302, html.unescape(answer.content.decode())
    while work_on_imports(5):
        pass
    return SuppressionImport.objects.of(tenant.organization).latest("id")


def test_a_list_is_imported_in_pieces_and_bad_lines_are_told(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.suppressing.importing.PIECE_LINES", 3)
    suppress(tenant.organization, "known@inbox.test", reason="no_such_address")
    lines = ["Ada@Inbox.test", "", "known@inbox.test", "nobody", '"bob@bücher.example",', "ada@inbox.test"]
    made = imported(tenant, "\r\n".join(lines).encode(), note="Moved here")

    assert (made.state, made.lines, made.added, made.known, made.refused) == ("done", 5, 2, 2, 1)
    assert made.refusals == [[3, "nobody", "no valid address"]]
    assert "nobody" in page(tenant, f"/suppressions/import/{made.pk}/")
    found = dict(Suppression.objects.of(tenant.organization).values_list("address", "reason"))
    assert found == {
        "ada@inbox.test": "manual",
        "known@inbox.test": "no_such_address",
        "bob@xn--bcher-kva.example": "manual",
    }
    one = Suppression.objects.get(address="ada@inbox.test")
    assert (one.note, one.added_by) == ("Moved here", tenant.user.email)
    assert not SuppressionImportPiece.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="suppression_import").order_by("id")
    assert list(actions.values_list("action", flat=True)) == [
        "suppression_import.requested",
        "suppression_import.finished",
    ]


def test_what_is_exported_can_be_imported_elsewhere(tenant: Tenant) -> None:
    suppress(tenant.organization, "=cmd|x@inbox.test", reason="complaint", note="=1+1")
    suppress(tenant.organization, "tired@inbox.test", reason="unsubscribe", stream="news", note='says "no", twice')
    answer = tenant.client.post("/suppressions/export/", {"query": "", "format": "csv"})
    assert answer.status_code == 302
    while work_on_exports(5):
        pass
    export = MessageExport.objects.of(tenant.organization).get()
    content = b"".join(pieces_of(export))
    assert (export.state, export.rows) == ("done", 2)
    assert b"'=cmd" in content
    assert "2 addresses" in page(tenant, "/messages/exports/")

    other = make_tenant("Other")
    made = imported(other, content)
    assert (made.added, made.refused) == (2, 0)
    columns = ("address", "stream", "reason", "note")
    kept = [set(Suppression.objects.of(one.organization).values_list(*columns)) for one in (tenant, other)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n\n", "The file is empty"),
        ("a@b.test\n".encode("utf-16"), "UTF-16"),
        (b"name,phone\nAda,1\n", "no column “email”"),
        (b"x" * 9000, "no list of addresses"),
    ],
)
def test_what_is_no_list_is_refused(tenant: Tenant, content: bytes, told: str) -> None:
    answer = tenant.client.post("/suppressions/import/", {"file": SimpleUploadedFile("list.csv", content)})
    assert told in html.unescape(answer.content.decode())
    assert not SuppressionImport.objects.exists()


def test_one_import_at_a_time_and_it_can_be_cancelled(tenant: Tenant) -> None:
    for _ in range(2):
        answer = tenant.client.post(
            "/suppressions/import/", {"file": SimpleUploadedFile("list.csv", b"ada@inbox.test\n")}
        )
    assert "Another import is under way" in answer.content.decode()
    made = SuppressionImport.objects.get()
    tenant.client.post(f"/suppressions/import/{made.pk}/cancel/")
    assert not work_on_imports(1)
    assert not Suppression.objects.exists()


def test_a_removal_says_why_in_the_audit_log(tenant: Tenant) -> None:
    suppression, _ = suppress(tenant.organization, "full@inbox.test", reason="soft_bounces")
    tenant.client.post(f"/suppressions/{suppression.pk}/remove/", {"because": "Works again"})
    assert AuditEntry.objects.get(action="suppression.removed").after == {"because": "Works again"}
