"""What a program finds and reads over REST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from accounts.api_keys import create_api_key
from domains.models import SendingDomain
from events.models import Event
from relay.finding.search import TookTooLong
from relay.models import Door, Message
from relay.rest.contents import address_fields
from tests.factories import RAW, Tenant, add_recipient, make_domain, make_message, make_smtp_user, make_tenant
from tests.rest import credential, get
from tests.sent_mail import Sent, queries, sent, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def domain(tenant: Tenant) -> SendingDomain:
    return make_domain(tenant.organization)


def ids(answer: Any) -> list[UUID]:
    assert answer.status_code == 200, answer.data
    return [UUID(str(item["id"])) for item in answer.data["data"]]


# ---- Searching, against a model --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_small_steps")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(sent, max_size=12), queries, st.integers(1, 5))
def test_paging_through_a_search_gives_exactly_what_fits(
    messages: list[Sent], query: dict[str, Any], limit: int
) -> None:
    mail = stored(messages)
    query = mail.of_ours(query)
    expected = [one.key for one in mail.expected(query)]
    organization, terms = mail.organization, mail.parameters(query)
    if "smtp_user" in query and limit % 2:
        terms["smtp_user"] = str(mail.users[query["smtp_user"]].pk)

    found, after = [], {}
    while True:
        answer = get(organization, "/emails", terms | {"limit": limit} | after)
        page = ids(answer)
        found += page
        assert len(page) <= limit
        if not answer.data["has_more"]:
            break
        assert len(page) == limit
        after = {"after": str(page[-1])}
    assert found == expected

    back: list[UUID] = []
    before = str(UUID(int=0))
    while True:
        answer = get(organization, "/emails", terms | {"limit": limit, "before": before})
        page = ids(answer)
        back = page + back
        if not answer.data["has_more"]:
            break
        before = str(page[0])
    assert back == expected


@pytest.fixture
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.finding.search.CANDIDATES_FIRST", 1)
    monkeypatch.setattr("relay.finding.search.CANDIDATES_MOST", 4)


def test_a_search_that_takes_too_long_is_told(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: Any, **__: Any) -> Any:
        raise TookTooLong

    monkeypatch.setattr("relay.rest.reading.find_messages", give_up)
    answer = get(tenant.organization, "/emails", {"subject": "receipt"})
    assert (answer.status_code, answer.data["code"]) == (422, "search_took_too_long")
    assert "since" in answer.data["advice"]


def test_a_search_really_ends(tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        make_message(domain)
    monkeypatch.setattr("relay.finding.search.SEARCH_S", 0.0)
    assert get(tenant.organization, "/emails", {"tag": "kind"}).data["code"] == "search_took_too_long"
    assert len(ids(get(tenant.organization, "/emails"))) == 20  # what the key alone finds needs no patience


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"stat": "bounced"}, "/stat"),
        ({"reason": "bad_weather"}, "/reason"),
        ({"recipient": "@"}, "/recipient"),
        ({"sender": "a\0b"}, "/sender"),
        ({"state": "lost"}, "/state"),
        ({"recipient": "bob"}, "/recipient"),
        ({"recipient": "bob\0@inbox.test"}, "/recipient"),
        ({"subject": "a\0b"}, "/subject"),
        ({"tag": "no spaces"}, "/tag/0"),
        ({"tag": "a:b:c"}, "/tag/0"),
        ({"metadata": "42"}, "/metadata"),
        ({"metadata[a\0]": "42"}, "/metadata/a\0"),
        ({"metadata[]": "42"}, "/metadata[]"),
        ({"state": ["bounced", "held"]}, "/state"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-11-25T10:00:00"}, "/since"),
        ({"since": "2026-11-25T10:00:00 02:00"}, "/since"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "101"}, "/limit"),
        ({"after": "x"}, "/after"),
        ({"after": str(uuid4()), "before": str(uuid4())}, "/before"),
        ({"domain": "http://x"}, "/domain"),
        ({"domain": "unknown.test"}, "/domain"),
        ({"smtp_user": "nobody@acme.test"}, "/smtp_user"),
        ({"smtp_user": str(uuid4())}, "/smtp_user"),
        ({"api_key": str(uuid4())}, "/api_key"),
        ({"api_key": "ps_live_x"}, "/api_key"),
    ],
)
def test_a_filter_that_means_nothing_is_named(tenant: Tenant, query: dict[str, Any], pointer: str) -> None:
    answer = get(tenant.organization, "/emails", query)
    assert (answer.status_code, answer.data["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.data["errors"]] == [pointer]


@pytest.mark.parametrize("cursor", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"])
def test_any_id_is_a_cursor(tenant: Tenant, domain: SendingDomain, cursor: str) -> None:
    message = make_message(domain)
    is_high = cursor.startswith("f")
    for more in ({}, {"tag": "none"}, {"state": "delivered"}, {"recipient": "bob@inbox.test"}):
        found = [] if more == {"tag": "none"} else [message.pk]
        assert ids(get(tenant.organization, "/emails", {"after": cursor} | more)) == (found if is_high else [])
        assert ids(get(tenant.organization, "/emails", {"before": cursor} | more)) == ([] if is_high else found)


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_times_far_away_are_no_error(tenant: Tenant, domain: SendingDomain, since: str) -> None:
    make_message(domain)
    for name in ("since", "until"):
        assert get(tenant.organization, "/emails", {name: since, "tag": "none"}).status_code in {200, 422}
        assert get(tenant.organization, "/events", {name: since}).status_code in {200, 422}


def test_emails_are_found_by_key(tenant: Tenant, domain: SendingDomain) -> None:
    key = create_api_key(tenant.organization, "App").api_key
    message = make_message(domain, api_key_id=key.pk, door=Door.REST)
    make_message(domain)
    assert ids(get(tenant.organization, "/emails", {"api_key": str(key.pk)})) == [message.pk]


# ---- What a list holds -----------------------------------------------------------------------------------------------


def test_an_item_has_resends_members_and_ours(tenant: Tenant, domain: SendingDomain) -> None:
    raw = (
        b"From: Ada <ada@acme.test>\r\nTo: Bob <bob@inbox.test>,\r\n =?utf-8?q?Doe=2C_J=C3=BCrgen?= <doe@inbox.test>\r\n"
        b"Cc: cc@inbox.test\r\nReply-To: desk@acme.test\r\n\r\nHello\r\n"
    )
    message = make_message(
        domain, raw=raw, tags=["kind:receipt"], metadata={"order": "42"}, recipient_count=4, state="bounced"
    )
    for address in ("doe@inbox.test", "CC@inbox.test", "secret@inbox.test"):
        add_recipient(message, address, "delivered")

    [item] = get(tenant.organization, "/emails").data["data"]

    assert item["to"] == ["Bob <bob@inbox.test>", '"Doe, Jürgen" <doe@inbox.test>']
    assert (item["cc"], item["bcc"]) == (["cc@inbox.test"], ["secret@inbox.test"])
    assert item["reply_to"] == ["desk@acme.test"]
    assert (item["from"], item["subject"], item["scheduled_at"]) == ("Ada <ada@acme.test>", "Your receipt", None)
    assert (item["last_event"], item["recipient_count"]) == ("bounced", 4)
    assert item["recipient_states"] == {"bounced": 1, "delivered": 3}
    assert item["tags"] == [{"name": "kind", "value": "receipt"}]
    assert item["metadata"] == {"order": "42"}


def test_an_item_without_content_tells_the_envelope(tenant: Tenant, domain: SendingDomain) -> None:
    make_message(domain, raw=None)
    [item] = get(tenant.organization, "/emails").data["data"]
    assert (item["to"], item["cc"], item["bcc"]) == (["bob@inbox.test"], [], [])


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"To: a@b.test\r\n\r\n", {"to": ["a@b.test"]}),
        (b'To: "B, A" <a@b.test>\r\n\r\n', {"to": ['"B, A" <a@b.test>']}),
        (b"TO : A <a@b.test>\r\n\r\n", {"to": ["A <a@b.test>"]}),
        (b"To: a@b.test,\r\n\tc@d.test\r\n\r\n", {"to": ["a@b.test", "c@d.test"]}),
        (b"To: a@b.test, c@d.te", {"to": ["a@b.test"]}),  # cut off
        (b"To: undisclosed-recipients:;\r\n\r\n", {"to": []}),
        (b"To: \xff\xfe\r\n\r\n", {"to": []}),
        (b"To: =?utf-8?q?J=C3=BCrgen?= <a@b.test>\r\n\r\n", {"to": ["Jürgen <a@b.test>"]}),
        (b"\r\n\r\nTo: a@b.test\r\n", {}),
        (b"", {}),
    ],
)
def test_addresses_are_read_from_a_head(head: bytes, found: dict[str, list[str]]) -> None:
    assert address_fields(head) == found


@given(st.binary(max_size=200))
def test_no_head_is_an_error(octets: bytes) -> None:
    for name in (b"To: ", b"Cc: ", b"Reply-To:"):
        address_fields(name + octets + b"\r\n\r\n")


# ---- One email -------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tenant: Tenant, domain: SendingDomain) -> Message:
    """To 60 recipients."""
    message = make_message(domain, recipient_count=60)
    for number in range(59):
        add_recipient(message, f"r{number}@inbox.test", "bounced" if number % 2 else "delivered")
    return message


def test_an_email_is_told_in_full(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain)
    email = get(tenant.organization, f"/emails/{message.pk}").data
    assert (email["object"], email["id"]) == ("email", str(message.pk))
    assert (email["text"].strip(), "<h1" in email["html"]) == ("Thank you for your order.", True)
    [recipient] = email["recipients"]
    assert [event["type"] for event in recipient["events"]] == ["submitted", "delivered"]
    assert not email["has_more_recipients"]


def test_an_email_to_many_stays_small(
    tenant: Tenant, large: Message, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(6):
        email = get(tenant.organization, f"/emails/{large.pk}").data
    assert email["recipient_states"] == {"bounced": 29, "delivered": 31}
    assert email["last_event"] == "bounced"
    assert len(email["bcc"]) == 59  # the header names bob alone
    assert len(email["recipients"]) == 20
    assert email["has_more_recipients"]
    [item] = get(tenant.organization, "/emails").data["data"]
    assert (item["recipient_count"], item["bcc"], item["to"]) == (60, [], ["bob@inbox.test"])


def test_recipients_are_paged_in_the_envelopes_order(tenant: Tenant, large: Message) -> None:
    path, found, after = f"/emails/{large.pk}/recipients", [], {}
    while True:
        answer = get(tenant.organization, path, {"limit": 25} | after).data
        found += [one["address"] for one in answer["data"]]
        if not answer["has_more"]:
            break
        after = {"after": answer["data"][-1]["id"]}
    assert found == ["bob@inbox.test", *(f"r{number}@inbox.test" for number in range(59))]

    bounced = get(tenant.organization, path, {"state": "bounced", "limit": 2}).data["data"]
    assert [one["address"] for one in bounced] == ["r1@inbox.test", "r3@inbox.test"]
    assert [event["type"] for event in bounced[0]["events"]] == ["submitted", "bounced"]
    previous = get(tenant.organization, path, {"before": bounced[1]["id"], "limit": 2}).data
    assert [one["address"] for one in previous["data"]] == ["r1@inbox.test", "r2@inbox.test"]
    assert previous["has_more"]


def test_events_of_an_email_are_paged(tenant: Tenant, large: Message) -> None:
    path, found, after = f"/emails/{large.pk}/events", [], {}
    while True:
        answer = get(tenant.organization, path, {"limit": 50} | after).data
        found += answer["data"]
        if not answer["has_more"]:
            break
        after = {"after": found[-1]["id"]}
    expected = Event.objects.filter(message_id=large.pk).order_by("id")
    assert [one["id"] for one in found] == [str(event.pk) for event in expected]
    assert {one["email_id"] for one in found} == {str(large.pk)}
    assert found[-1]["recipient"] == "r58@inbox.test"
    assert "transcript" not in found[0]


def test_the_source_is_what_was_accepted(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain)
    answer = get(tenant.organization, f"/emails/{message.pk}/raw")
    assert (answer.content, answer["Content-Type"]) == (RAW, "message/rfc822")

    gone = make_message(domain, raw=None)
    refused = get(tenant.organization, f"/emails/{gone.pk}/raw")
    assert (refused.status_code, refused.data["code"]) == (410, "content_expired")
    email = get(tenant.organization, f"/emails/{gone.pk}").data
    assert (email["html"], email["text"], email["to"]) == (None, None, ["bob@inbox.test"])


# ---- Walls -----------------------------------------------------------------------------------------------------------

OF_AN_EMAIL = ["", "/recipients", "/events", "/raw"]


@pytest.mark.parametrize("path", OF_AN_EMAIL)
def test_another_organizations_email_is_not_found(tenant: Tenant, domain: SendingDomain, path: str) -> None:
    message = make_message(domain)
    for stranger in (make_tenant("Rival").organization, credential(tenant.organization, only_domain="other.test")):
        answer = get(stranger, f"/emails/{message.pk}{path}")
        assert (answer.status_code, answer.data["code"]) == (404, "not_found")


def test_lists_hold_nothing_of_another_organization(tenant: Tenant, domain: SendingDomain) -> None:
    message, rival = make_message(domain), make_tenant("Rival").organization
    for query in ({}, {"state": "delivered"}, {"recipient": "bob@inbox.test"}, {"subject": "receipt"}):
        assert ids(get(rival, "/emails", query)) == []
        assert ids(get(tenant.organization, "/emails", query)) == [message.pk]
    user, key = make_smtp_user(domain), create_api_key(tenant.organization, "App").api_key
    for query in ({"domain": domain.name}, {"smtp_user": user.address}, {"smtp_user": str(user.pk)},
                  {"api_key": str(key.pk)}):  # fmt: skip
        assert get(rival, "/emails", query).status_code == 422


@pytest.mark.parametrize(
    "path", ["/emails", "/events", *(f"/emails/0192a7c1-5d2b-7c3a-9f10-2b7c8d9e0f11{path}" for path in OF_AN_EMAIL)]
)
def test_a_key_that_may_only_send_reads_nothing(tenant: Tenant, path: str) -> None:
    answer = get(credential(tenant.organization, "send"), path)
    assert (answer.status_code, answer.data["code"]) == (403, "insufficient_scope")


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events need not be seconds old. The statistics that a transaction has looked at stay as they were: read anew."""
    monkeypatch.setattr("events.feed.MARGIN", timedelta(seconds=-1))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")


@pytest.mark.usefixtures("_at_once")
def test_a_key_of_one_domain_reads_that_domain_only(tenant: Tenant, domain: SendingDomain) -> None:
    other = make_domain(tenant.organization, "other.test")
    mine, foreign = make_message(domain), make_message(other)
    key = credential(tenant.organization, only_domain=domain.name)

    for query in ({}, {"state": "delivered"}, {"recipient": "bob@inbox.test"}, {"domain": domain.name}):
        assert ids(get(key, "/emails", query)) == [mine.pk]
    assert get(key, f"/emails/{mine.pk}").status_code == 200
    assert get(key, f"/emails/{foreign.pk}").status_code == 404
    assert get(key, "/emails", {"domain": "other.test"}).status_code == 422
    assert {one["email_id"] for one in get(key, "/events").data["data"]} == {str(mine.pk)}
    assert ids(get(credential(tenant.organization, only_domain="never.test"), "/emails")) == []
    assert {one["email_id"] for one in get(tenant.organization, "/events").data["data"]} == {
        str(mine.pk), str(foreign.pk),
    }  # fmt: skip


# ---- The feed --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("examined_most", [10, 10_000])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"type": "bounced"},
        {"type": ["bounced", "deferred"]},
        {"type": ["bounced", "delivered"]},
        {"domain": "other.test"},
        {"tag": "kind"},
        {"tag": "kind:news", "type": "bounced"},
        {"type": "cancelled"},
    ],
)
def test_the_feed_gives_every_event_once_in_order(
    tenant: Tenant, domain: SendingDomain, query: dict[str, Any], examined_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.feed.EXAMINED_MOST", examined_most)
    other = make_domain(tenant.organization, "other.test")
    for number in range(24):
        make_message(
            other if number % 3 else domain, raw=None, tags=[["kind:news"], ["kind:x"], []][number % 3],
            state=["delivered", "bounced", "deferred"][number // 8],
        )  # fmt: skip
    make_message(make_domain(make_tenant("Rival").organization, "rival.test"), raw=None)
    types = [query["type"]] if isinstance(query.get("type"), str) else query.get("type", [])
    messages = Message.objects.of(tenant.organization)
    if "domain" in query:
        messages = messages.filter(domain_id=other.pk)
    fitting = {m.pk for m in messages if "tag" not in query or any(t.startswith(query["tag"]) for t in m.tags)}
    expected = [
        str(event.pk)
        for event in Event.objects.of(tenant.organization).order_by("id")
        if event.message_id in fitting and (not types or event.type in types)
    ]

    found, after = [], {}
    for _ in range(100):
        page = get(tenant.organization, "/events", query | {"limit": 5} | after).data
        found += [one["id"] for one in page["data"]]
        after = {"after": page["next"]}
        if not page["has_more"]:
            break
    assert found == expected

    # What comes later is found from there, too.
    if not found:
        return  # the cursor is the horizon, which is ahead of the time in this test
    make_message(other, raw=None, tags=["kind:news"], state=types[0] if types else "bounced")
    later = get(tenant.organization, "/events", query | after).data
    assert [one["type"] for one in later["data"]] == ([types[0]] if types else ["submitted", "bounced"])


@pytest.mark.usefixtures("_at_once")
def test_an_empty_feed_has_a_cursor(tenant: Tenant, domain: SendingDomain) -> None:
    page = get(tenant.organization, "/events").data
    assert (page["data"], page["has_more"]) == ([], False)
    again = get(tenant.organization, "/events", {"after": page["next"]}).data
    assert again["next"] == page["next"]


def test_the_feed_is_some_seconds_behind(tenant: Tenant, domain: SendingDomain) -> None:
    make_message(domain)
    assert get(tenant.organization, "/events").data["data"] == []


@pytest.mark.usefixtures("_at_once")
def test_the_feed_takes_a_time_range(tenant: Tenant, domain: SendingDomain) -> None:
    make_message(domain)
    first, second = Event.objects.order_by("id")
    cut = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert len(ids(get(tenant.organization, "/events", {"until": cut}))) == 2
    assert ids(get(tenant.organization, "/events", {"since": cut})) == []
    assert {first.type, second.type} == {"submitted", "delivered"}
