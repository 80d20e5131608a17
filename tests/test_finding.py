"""The message list's search, its saved filters, and exports of what it finds."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.ids import uuid7
from accounts.models import AuditEntry, Organization
from domains.models import SendingDomain
from relay.finding import exporting
from relay.finding.asked import Asked
from relay.finding.export_rows import COLUMNS, Writer
from relay.finding.exporting import end_export, forget_expired, pieces_of, progress_of, request_export, work_on_exports
from relay.finding.naming import sought_of
from relay.finding.search import TookTooLong
from relay.models import ExportState, MessageExport, MessageExportPiece, Recipient, SavedFilter
from relay.reading.selectors import messages_page
from tests.factories import Tenant, add_recipient, make_domain, make_message, make_smtp_user, make_tenant
from tests.sent_mail import Sent, queries, sent, stored, wanted_of

pytestmark = pytest.mark.django_db

ID = "019abae8-7a63-7c1e-8f3d-5b7f0c2d9e41"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def domain(tenant: Tenant) -> SendingDomain:
    return make_domain(tenant.organization)


# ---- What is typed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "understood", "unread"),
    [
        ("", "", ""),
        ("bob@inbox.test", "recipient=bob@inbox.test", ""),
        ("@inbox.test", "recipient=@inbox.test", ""),
        ("bo_b", "recipient=bo_b", ""),
        (ID, f"id={ID}", ""),
        (ID.replace("-", "").upper(), f"id={ID}", ""),
        ("<a.1@app.test>", "message_id=a.1@app.test", ""),
        (f"{ID}@acme.test", f"message_id={ID}@acme.test", ""),
        ("message-id:a.1@app.test", "message_id=a.1@app.test", ""),
        ("your receipt", "subject=your receipt", ""),
        ('"receipt"', "subject=receipt", ""),
        ('subject:"your receipt" bob@inbox.test', "recipient=bob@inbox.test&subject=your receipt", ""),
        ("from:ada@acme.test tag:kind:news tag:b", "sender=ada@acme.test&tag=kind:news&tag=b", ""),
        ("TAG:a STATE:Bounced is:x", "state=bounced&tag=a", "is:x"),
        ("state:open reason:mailbox_full", "state=open&reason=mailbox_full", ""),
        ('reason:"mailbox full"', "reason=mailbox_full", ""),
        ("mx:MX1.Inbox.test. user:shop@acme.test key:App", "exchanger=mx1.inbox.test&smtp_user=shop@acme.test&api_key=App", ""),
        ('meta:order=42 meta:"who=Ada L" domain:acme.test', "domain=acme.test&metadata=order=42&metadata=who=Ada L", ""),
        ("last:24h since:2026-11-01 until:2026-11-02T10:30", "last=24h&since=2026-11-01&until=2026-11-02T10:30", ""),
        ("reason:bad since:now tag:a,b meta:order last:0d", "", "reason:bad since:now tag:a,b meta:order last:0d"),
        ("to:a@b.test eve@b.test", "recipient=a@b.test", "eve@b.test"),
        ("http://x", "recipient=http://x", ""),
        ("to:a@b.test some words", "recipient=a@b.test&subject=some words", ""),
        ('" \0 <', "subject=<", ""),
    ],
)  # fmt: skip
def test_the_search_field_understands(typed: str, understood: str, unread: str) -> None:
    query = QueryDict(mutable=True)
    query["q"] = typed
    asked = Asked.read(query)
    assert "&".join(f"{name}={value}" for name, value in asked.values) == understood
    assert asked.unread == unread
    assert Asked.parse(asked.query) == asked  # what stays in the address says the same


@given(st.text(max_size=60))
def test_whatever_is_typed_is_read_and_stays_what_it_is(typed: str) -> None:
    query = QueryDict(mutable=True)
    query["q"] = typed
    asked = Asked.read(query)
    list(asked.chips())
    asked.between(datetime.now(UTC))
    assert Asked.parse(asked.query) == asked


# ---- Searching, against a model --------------------------------------------------------------------------------------

_PAGE = {"metadata[order]": "order", "metadata[a]b]": "a]b"}


def asked_for(query: dict[str, Any]) -> Asked:
    """The same as GET /emails takes, in the list's own words. Its times are minutes: seconds are cut off."""
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        if name in _PAGE:
            pairs.append(("metadata", f"{_PAGE[name]}={value}"))
        else:
            pairs += [(name, one) for one in (value if isinstance(value, list) else [value])]
    return Asked.parse(urlencode(pairs))


def to_the_minute(query: dict[str, Any], now: datetime) -> dict[str, Any]:
    cut = {name: now - (now - query[name]).replace(second=0) for name in {"since", "until"} & query.keys()}
    return query | cut


@pytest.fixture
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.finding.search.CANDIDATES_FIRST", 1)
    monkeypatch.setattr("relay.finding.search.CANDIDATES_MOST", 4)
    monkeypatch.setattr("relay.finding.search.SWEPT", 2)
    monkeypatch.setattr("relay.finding.exporting.LONGEST_REST_S", 0.0)
    monkeypatch.setattr("relay.finding.exporting.PIECE_BYTES", 300)
    monkeypatch.setattr("relay.upkeep.TURN_S", 0.0)  # one step, and the next begins from what is stored


@pytest.mark.usefixtures("_small_steps")
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(sent, max_size=12), queries, st.integers(1, 5))
def test_pages_in_both_directions_and_exports_hold_exactly_what_fits(
    messages: list[Sent], query: dict[str, Any], limit: int
) -> None:
    mail = stored(messages)
    query = to_the_minute(mail.of_ours(query), mail.now)
    asked = asked_for(mail.parameters(query))
    sought = sought_of(mail.organization, asked)
    expected = mail.expected(query)
    keys = [one.key for one in expected]

    pages = [messages_page(mail.organization, sought=sought, limit=limit)]
    while pages[-1].next:
        pages.append(messages_page(mail.organization, sought=sought, limit=limit, before=pages[-1].next))
    assert [row.message.pk for page in pages for row in page.rows] == keys
    assert all(len(page.rows) == limit for page in pages[:-1])

    back = [pages[-1]]
    while back[-1].previous:
        back.append(messages_page(mail.organization, sought=sought, limit=limit, after=back[-1].previous))
    assert [row.message.pk for page in reversed(back) for row in page.rows if row.message.pk in keys] == keys

    export = request_export(mail.organization, asked, "jsonl")
    assert not work_on_exports(60)
    export.refresh_from_db()
    assert (export.state, progress_of(export), export.messages) == (ExportState.DONE, 100, len(keys))
    rows = [json.loads(line) for line in b"".join(pieces_of(export)).splitlines()]
    assert [(row["id"], row["recipient"]) for row in rows] == [
        (str(one.key), receiver.address) for one in expected for receiver in wanted_of(one, query)
    ]


# ---- The page --------------------------------------------------------------------------------------------------------


def page_at(tenant: Tenant, address: str) -> str:
    answer = tenant.client.get(address, follow=True)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def test_what_is_typed_becomes_chips_each_of_which_can_be_taken_away(tenant: Tenant, domain: SendingDomain) -> None:
    smtp_user = make_smtp_user(domain)
    make_message(domain, to="ada@inbox.test", state="bounced", reason="mailbox_full", tags=["news"])
    make_message(domain, to="eve@inbox.test", smtp_user_id=smtp_user.pk, subject="Welcome", state="bounced")

    answer = tenant.client.get("/messages/?q=%40inbox.test+tag:news&state=bounced&subject=&tag=")
    assert answer["Location"] == "/messages/?recipient=%40inbox.test&state=bounced&tag=news"
    page = page_at(tenant, answer["Location"])
    assert "ada@inbox.test" in page
    assert "eve@inbox.test" not in page
    links = re.findall(r'class="chip" href="([^"]+)"', page)
    assert links == [
        "/messages/?state=bounced&tag=news",
        "/messages/?recipient=%40inbox.test&tag=news",
        "/messages/?recipient=%40inbox.test&state=bounced",
    ]
    assert "eve@inbox.test" in page_at(tenant, links[2])
    assert "eve@inbox.test" in page_at(tenant, f"/messages/?q=user:{smtp_user.address}")
    assert "Not understood" in page_at(tenant, "/messages/?q=reason:bad_weather")


def test_an_id_leads_to_its_message_and_what_is_not_there_is_looked_for_elsewhere(
    tenant: Tenant, domain: SendingDomain
) -> None:
    message = make_message(domain, message_id_header="a.1@app.test")
    other = make_tenant("Globex")
    url = f"/messages/?q={message.pk}"
    assert tenant.client.get(url)["Location"] == f"/messages/{message.pk}/"
    assert "Nothing matches" in page_at(other, url)
    assert "bob@inbox.test" in page_at(tenant, "/messages/?q=<a.1@app.test>")

    page = page_at(tenant, "/messages/?q=a.1@app.test")
    assert "Nothing matches" in page
    [link] = re.findall(r'href="([^"]+)">Look for it as a Message-ID', page)
    assert "bob@inbox.test" in page_at(tenant, link)


def test_acts_are_offered_only_where_they_do_what_the_list_shows(tenant: Tenant, domain: SendingDomain) -> None:
    make_message(domain, state="deferred", reason="greylisted", tags=["news"])
    assert "/messages/cancel/?reason=greylisted" in page_at(tenant, "/messages/?reason=greylisted")
    assert "/messages/cancel/" not in page_at(tenant, "/messages/?state=deferred&tag=news")
    assert "and nothing else" in page_at(tenant, "/messages/cancel/?state=deferred&tag=news")


def test_a_search_that_takes_too_long_says_how_to_narrow_it(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: Any, **__: Any) -> Any:
        raise TookTooLong

    monkeypatch.setattr("relay.reading.list_views.messages_page", give_up)
    page = page_at(tenant, "/messages/?subject=receipt")
    assert "That search took too long" in page
    assert "/messages/?subject=receipt&last=24h" in page
    assert "Shorten the time" in page_at(tenant, "/messages/?subject=receipt&last=7d")


def test_the_pages_lead_back(tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "relay.reading.selectors.messages_page.__kwdefaults__", {**messages_page.__kwdefaults__, "limit": 2}
    )  # type: ignore[dict-item]
    for number in range(5):
        make_message(domain, subject=f"Number {number}", tags=["a"])

    def shown(page: str) -> list[str]:
        return re.findall(r'title="Number (\d)"', page)

    def link(page: str, rel: str) -> str:
        return "/messages/" + re.findall(rf'href="([^"]+)" rel="{rel}"', page)[0]

    first = page_at(tenant, "/messages/?tag=a")
    second = page_at(tenant, link(first, "next"))
    third = page_at(tenant, link(second, "next"))
    assert [shown(page) for page in (first, second, third)] == [["4", "3"], ["2", "1"], ["0"]]
    assert shown(page_at(tenant, link(third, "prev"))) == ["2", "1"]
    assert tenant.client.get(link(second, "prev"))["Location"] == "/messages/?tag=a"  # the first, whole


@pytest.mark.parametrize(
    ("terms", "index"),
    [("reason=mailbox_full", "recipient_by_reason"), ("message_id=a.1@app.test", "message_by_message_id")],
)
def test_an_index_leads_to_what_is_rare(tenant: Tenant, domain: SendingDomain, terms: str, index: str) -> None:
    message = make_message(domain)
    recipient = Recipient.objects.get(message_id=message.pk)
    for number in range(300):
        message.pk, message.message_id_header = uuid7(), f"{number}@app.test"
        message.save(force_insert=True)
        recipient.pk, recipient.message_id = uuid7(), message.pk
        recipient.save(force_insert=True)
    with CaptureQueriesContext(connection) as captured, connection.cursor() as cursor:
        cursor.execute("ANALYZE relay_message, relay_recipient")
        messages_page(tenant.organization, sought=sought_of(tenant.organization, Asked.parse(terms)))
        search = next(one["sql"] for one in captured.captured_queries if terms.partition("=")[2] in one["sql"])
        cursor.execute(f"EXPLAIN {search}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [index])
        assert any(row[0] in plan for row in cursor.fetchall()), plan


# ---- Saved filters ---------------------------------------------------------------------------------------------------


def test_a_filter_is_saved_for_all_members_and_removed(tenant: Tenant, domain: SendingDomain) -> None:
    make_message(domain, state="bounced")

    def save(name: str, query: str) -> str:
        return tenant.client.post("/messages/filters/", {"name": name, "query": query}, follow=True).content.decode()

    assert "is saved for everybody" in save("  Lost   mail ", "state=bounced&last=7d")
    assert "Filter the list first" in save("Everything", "")
    assert "Give the filter a name" in save(" ", "state=bounced")
    saved = SavedFilter.objects.get()
    assert (saved.name, saved.query) == ("Lost mail", "state=bounced&last=7d")
    assert 'aria-current="page">Lost mail' in page_at(tenant, "/messages/?state=bounced&last=7d")
    save("Lost mail", "state=deferred")
    assert SavedFilter.objects.get().query == "state=deferred"

    globex = make_tenant("Globex")
    assert "Lost mail" not in page_at(globex, "/messages/")
    assert globex.client.post(f"/messages/filters/{saved.pk}/remove/").status_code == 404
    tenant.client.post(f"/messages/filters/{saved.pk}/remove/")
    assert not SavedFilter.objects.exists()
    told = AuditEntry.objects.filter(object_type="saved_filter").order_by("id").values_list("action", flat=True)
    assert list(told) == ["saved_filter.added", "saved_filter.changed", "saved_filter.removed"]


def test_there_are_not_too_many_of_them(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.finding.saved_filters.MOST", 1)
    for name in ("One", "Two"):
        answer = tenant.client.post("/messages/filters/", {"name": name, "query": "state=bounced"}, follow=True)
    assert "which is the most" in answer.content.decode()
    assert SavedFilter.objects.count() == 1


# ---- Exports ---------------------------------------------------------------------------------------------------------


def download(tenant: Tenant, export: MessageExport) -> Any:
    return tenant.client.post(f"/messages/exports/{export.pk}/download/")


def body(answer: Any) -> bytes:
    pieces: Iterator[bytes] = answer.streaming_content
    return b"".join(pieces)


def test_an_export_is_asked_for_made_and_downloaded(tenant: Tenant, domain: SendingDomain) -> None:
    smtp_user = make_smtp_user(domain)
    subjects = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\ry", 'Say "hi", Ö', "plain"]
    for subject in subjects:
        make_message(
            domain, subject=subject, state="bounced", reason="mailbox_full", smtp_user_id=smtp_user.pk, tags=["a", "b:c"],
            metadata={"order": "42"},
        )  # fmt: skip
    make_message(domain, state="delivered")

    page = page_at(tenant, "/messages/?state=bounced")
    sent_with = dict(re.findall(r'name="(query)" value="([^"]*)"', page))
    answer = tenant.client.post("/messages/exports/start/", sent_with | {"format": "csv"}, follow=True)
    assert "Waits for its turn" in answer.content.decode()
    again = tenant.client.post("/messages/exports/start/", sent_with | {"format": "jsonl"}, follow=True)
    assert "An export is under way" in again.content.decode()
    export = MessageExport.objects.get()
    assert "has no file" in tenant.client.post(f"/messages/exports/{export.pk}/download/", follow=True).content.decode()

    assert not work_on_exports(30)
    shown = tenant.client.get("/messages/exports/", headers={"HX-Request": "true"}).content.decode()
    assert "8 messages, 8 recipients" in shown
    assert "hx-get" not in shown  # nothing moves any more
    answer = download(tenant, export)
    file = body(answer)
    assert answer["Content-Length"] == str(len(file))
    assert re.search(r'filename="messages-acme-.*\.csv"', answer["Content-Disposition"])
    header, *rows = csv.reader(io.StringIO(file.decode(), newline=""))
    assert header == COLUMNS
    cells = [dict(zip(header, row, strict=True)) for row in reversed(rows)]
    assert [one["subject"] for one in cells] == [
        *(f"'{subject}" for subject in subjects[:6]), 'Say "hi", Ö', "plain",
    ]  # fmt: skip
    assert cells[0]["tags"] == "a b:c"
    assert json.loads(cells[0]["metadata"]) == {"order": "42"}
    assert (cells[0]["smtp_user"], cells[0]["domain"]) == (smtp_user.address, domain.name)
    assert cells[0]["reason_in_words"] == "The mailbox is full"

    entries = AuditEntry.objects.filter(object_type="message_export").order_by("id")
    assert [(entry.action.partition(".")[2], entry.actor_kind) for entry in entries] == [
        ("requested", "user"), ("finished", "system"), ("downloaded", "user"),
    ]  # fmt: skip
    globex = make_tenant("Globex")
    assert download(globex, export).status_code == 404
    assert "All messages" not in page_at(globex, "/messages/exports/")


def test_what_a_dying_process_had_begun_is_done_once_by_the_next(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.finding.search.SWEPT", 2)
    for number in range(6):
        add_recipient(
            make_message(domain, to=f"a{number}@inbox.test", recipient_count=2), f"b{number}@inbox.test", "held"
        )
    export = request_export(tenant.organization, Asked(), "csv")
    flush, flushed = Writer.flush, 0

    def die(writer: Writer) -> None:
        nonlocal flushed
        flush(writer)
        flushed += 1
        if flushed in {1, 2, 4}:  # the header is written, then rows: and nothing of it is committed
            raise SystemExit

    monkeypatch.setattr(Writer, "flush", die)
    for _ in range(3):
        with pytest.raises(SystemExit):
            work_on_exports(30)
    assert not work_on_exports(30)

    export.refresh_from_db()
    lines = b"".join(pieces_of(export)).decode().splitlines()
    assert [line.split(",")[2] for line in lines[1:]] == [
        f"{who}{n}@inbox.test" for n in range(5, -1, -1) for who in "ab"
    ]
    assert (export.rows, export.messages, export.failures) == (12, 6, 0)


def test_an_export_that_kills_whoever_makes_it_is_given_up(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise SystemExit

    make_message(domain)
    export = request_export(tenant.organization, Asked(), "csv")
    monkeypatch.setattr(Writer, "flush", die)
    for _ in range(exporting.TRIES):
        with pytest.raises(SystemExit):
            work_on_exports(30)
    assert not work_on_exports(30)
    export.refresh_from_db()
    assert export.state == ExportState.FAILED
    assert "could not be made" in page_at(tenant, "/messages/exports/")


def test_a_cancelled_export_stops_and_leaves_nothing(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.finding.search.SWEPT", 1)
    for _ in range(4):
        make_message(domain)
    export = request_export(tenant.organization, Asked(), "csv")
    step = exporting._step

    def cancelled_meanwhile(*args: Any) -> bool:
        monkeypatch.setattr(exporting, "_step", step)
        going_on = step(*args)
        end_export(export)
        return going_on

    monkeypatch.setattr(exporting, "_step", cancelled_meanwhile)
    assert not work_on_exports(30)
    export.refresh_from_db()
    assert (export.state, export.messages) == (ExportState.CANCELLED, 1)
    assert not MessageExportPiece.objects.exists()
    request_export(tenant.organization, Asked(), "csv")  # the next may begin

    tenant.client.post(f"/messages/exports/{export.pk}/end/")
    assert not MessageExport.objects.filter(pk=export.pk).exists()


def test_exports_take_turns_and_are_deleted_in_time(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.finding.search.SWEPT", 1)
    monkeypatch.setattr("relay.upkeep.TURN_S", 0.0)
    globex = make_tenant("Globex")
    other = make_domain(globex.organization, "globex.test")
    order: list[UUID] = []
    step = exporting._step

    def noted(export: MessageExport, *args: Any) -> bool:
        order.append(export.organization_id)
        return step(export, *args)

    monkeypatch.setattr(exporting, "_step", noted)
    exports = []
    for one in (domain, other):
        for _ in range(3):
            make_message(one)
        exports.append(request_export(one.organization, Asked(), "jsonl"))
    assert not work_on_exports(30)
    ours, theirs = tenant.organization.pk, globex.organization.pk
    assert order[:4] == [ours, theirs, ours, theirs]

    forget_expired()
    assert MessageExport.objects.count() == 2
    MessageExport.objects.filter(pk=exports[0].pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    forget_expired()
    assert [one.pk for one in MessageExport.objects.all()] == [exports[1].pk]
    assert set(MessageExportPiece.objects.values_list("export_id", flat=True)) == {exports[1].pk}
    assert AuditEntry.objects.filter(action="message_export.expired", organization=tenant.organization).exists()


def test_a_file_that_grows_too_large_is_cut_and_says_so(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.finding.search.SWEPT", 1)
    monkeypatch.setattr("relay.finding.exporting.MOST_BYTES", 600)
    for _ in range(4):
        make_message(domain)
    export = request_export(tenant.organization, Asked(), "jsonl")
    work_on_exports(30)
    export.refresh_from_db()
    assert (export.state, export.is_cut, export.rows) == (ExportState.DONE, True, 1)
    assert "newest only" in page_at(tenant, "/messages/exports/")


def test_an_export_of_an_organization_without_mail_is_empty() -> None:
    organization = Organization.objects.create(name=f"Empty {uuid4()}")
    export = request_export(organization, Asked.parse("since=2030-01-01"), "csv")
    assert not work_on_exports(30)
    export.refresh_from_db()
    assert b"".join(pieces_of(export)).decode().strip().split(",") == COLUMNS
