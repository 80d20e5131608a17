"""Rollups are the event log, counted: against a plain Python model, through crashes between any two statements and two at once.

Then what pages, REST, alerts and the audit make of them.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core import mail
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import notices
from accounts.ids import first_id_at, uuid7
from accounts.models import AuditEntry, Organization, Plan
from domains.models import SendingDomain
from events.models import Event
from relay.models import Door, Message, Recipient
from relay.statistics import alerts, folding, rollup
from relay.statistics.audit import disagreements
from relay.statistics.folding import COUNTERS
from relay.statistics.latency import BOUNDS_MS, bucket_of, percentile
from relay.statistics.models import Alert, Failure, Progress, Rollup
from relay.templates import TemplateContent, create_template
from relay.usage import start_of
from tests.factories import DELIVERED, Tenant, make_domain, make_message, make_smtp_user, make_tenant
from tests.rest import make_api, refused

pytestmark = pytest.mark.django_db(transaction=True)

BEGIN = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)  # two hours before a midnight
END = first_id_at(BEGIN + timedelta(days=3))
UNTRIED = {"submitted", "suppressed", "cancelled"}
HARD = {"no_such_address", "mailbox_disabled", "no_such_domain", "no_mail_for_domain"}


# ---- A log, and the same counted plainly -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Mail:
    """A message to one recipient. `events`: (minutes after it was accepted, type, reason, exchanger)."""

    organization: int
    minute: int  # after BEGIN
    domain: int
    smtp_user: int | None
    template: int | None
    tags: tuple[str, ...]
    destination: str
    events: tuple[tuple[float, str, str, str], ...]


DOMAINS = [uuid7() for _ in range(4)]
EVENTS = st.sampled_from(
    [
        ("deferred", "greylisted", "mx1.inbox.test"),
        ("deferred", "rate_limited", "gmail-smtp-in.l.google.com"),
        ("delivered", "", "aspmx.l.google.com"),
        ("delivered", "", "mx1.inbox.test"),
        ("bounced", "no_such_address", "mx1.inbox.test"),
        ("bounced", "spam_suspected", "acme-com.mail.protection.outlook.com"),
        ("bounced", "expired", ""),
        ("complained", "", ""),
        ("suppressed", "suppressed", ""),
        ("cancelled", "", ""),
        ("unknown_outcome", "outcome_unknown", "mx1.inbox.test"),
        ("in_doubt", "outcome_unknown", "mx1.inbox.test"),
        ("held", "", ""),
    ]
)
MAILS = st.lists(
    st.builds(
        Mail,
        organization=st.integers(0, 1),
        minute=st.integers(0, 300),
        domain=st.integers(0, 3),
        smtp_user=st.none() | st.integers(0, 3),
        template=st.none() | st.integers(0, 3),
        tags=st.lists(st.sampled_from(["a", "b", "kind:welcome", "d", "e"]), unique=True, max_size=4).map(tuple),
        destination=st.sampled_from(["gmail.com", "inbox.test", "one.test", "two.test", "Three.Test", "mühle.test"]),
        events=st.lists(st.tuples(st.floats(0.0001, 200), EVENTS).map(lambda one: (one[0], *one[1])), max_size=4).map(
            lambda events: tuple(sorted(events))
        ),
    ),
    max_size=25,
)


@contextmanager
def ids_at() -> Iterator[Any]:
    """Gives ids of a moment, each greater than those of the same moment before."""
    made: Counter[datetime] = Counter()

    def make(moment: datetime) -> UUID:
        made[moment] += 1
        return UUID(int=first_id_at(moment).int + made[moment])

    yield make


def write(mails: list[Mail], organizations: list[Organization], begin: datetime = BEGIN) -> list[tuple[Message, Event]]:
    """Into the database. Returns the events with their messages, in the order of the log."""
    written: list[tuple[Message, Event]] = []
    with ids_at() as make:
        for mail in mails:
            moment, organization = begin + timedelta(minutes=mail.minute), organizations[mail.organization]
            message = Message(
                id=make(moment), organization=organization, domain_id=DOMAINS[mail.domain], door=Door.SMTP,
                smtp_user_id=None if mail.smtp_user is None else DOMAINS[mail.smtp_user],
                template_id=None if mail.template is None else DOMAINS[mail.template], tags=list(mail.tags), size_bytes=1,
                recipient_count=1, submitted_at=moment,
            )  # fmt: skip
            recipient_id = make(moment)
            for minutes, type_, reason, exchanger in ((0.0, "submitted", "", ""), *mail.events):
                at = moment + timedelta(milliseconds=int(minutes * 60_000))
                event = Event(
                    id=make(at), organization=organization, message_id=message.pk, recipient_id=recipient_id,
                    address=f"bob@{mail.destination}", type=type_, occurred_at=at, reason=reason,
                    detail={"exchanger": {"host": exchanger}} if exchanger else {},
                )  # fmt: skip
                written.append((message, event))
    Message.objects.bulk_create({message.pk: message for message, _ in written}.values())
    Event._base_manager.bulk_create(event for _, event in written)  # as they are, however old
    return sorted(written, key=lambda one: one[1].pk)


def counted_plainly(log: list[tuple[Message, Event]], most: int) -> tuple[dict[Any, Any], dict[Any, int]]:
    """Rows of Rollup and of Failure by their keys, an event after the other, as the documentation tells it."""
    rows: dict[Any, Counter[str]] = defaultdict(Counter)
    failures: Counter[Any] = Counter()
    places: dict[Any, list[str]] = defaultdict(list)
    complained: set[UUID] = set()
    hosts: dict[UUID, str] = {}
    for message, event in log:
        if event.type in {"in_doubt", "held"}:
            continue
        if event.type == "complained":
            if event.recipient_id in complained:
                continue
            complained.add(event.recipient_id)
        host = event.detail.get("exchanger", {}).get("host", "")
        if event.type == "delivered":
            hosts.setdefault(event.recipient_id, host)
        elif event.type == "complained":
            host = hosts.get(event.recipient_id, "")
        destination = {"Three.Test": "three.test", "mühle.test": "xn--mhle-0ra.test"}.get(
            name := event.address[4:], name
        )
        known = "gmail" if "google" in host or name == "gmail.com" else "microsoft" if "outlook" in host else ""
        values = {
            "all": [""], "provider": [] if event.type in UNTRIED else [known or destination], "tag": sorted(message.tags),
            "domain": [str(message.domain_id)],
            "smtp_user": [str(message.smtp_user_id)] if message.smtp_user_id else [],
            "template": [str(message.template_id)] if message.template_id else [],
        }  # fmt: skip
        hour = datetime.fromtimestamp((event.pk.int >> 80) / 1000 // 3600 * 3600, UTC)
        day = hour.replace(hour=0)
        name = event.type if event.type != "bounced" else f"bounced_{'hard' if event.reason in HARD else 'soft'}"
        latency = (event.occurred_at - message.submitted_at) / timedelta(milliseconds=1)
        for dimension, ones in values.items():
            mine = set()
            for value in ones:
                taken = places[event.organization_id, dimension, day]
                if value and value not in {"gmail", "microsoft"} and value not in taken and len(taken) < most:
                    taken.append(value)
                mine.add(value if value in {"gmail", "microsoft", *taken} else "")
            for value in mine:
                for step, starts_at in (("hour", hour), ("day", day)):
                    key = (event.organization_id, dimension, step, starts_at, value)
                    rows[key][name] += 1
                    if event.type == "delivered":
                        rows[key][f"latency {sum(bound <= latency for bound in BOUNDS_MS)}"] += 1
                    if event.type in {"bounced", "deferred", "unknown_outcome"}:
                        failures[(*key, event.type, event.reason)] += 1
    return dict(rows), dict(failures)


def stored() -> tuple[dict[Any, Any], dict[Any, int]]:
    rows = {}
    for row in Rollup.objects.all():
        counts = Counter({name: getattr(row, name) for name in COUNTERS if getattr(row, name)})
        counts |= Counter({f"latency {bucket}": count for bucket, count in enumerate(row.latency) if count})
        rows[row.organization_id, row.dimension, row.step, row.starts_at, row.value] = counts
    failures = {
        (one.organization_id, one.dimension, one.step, one.starts_at, one.value, one.type, one.reason): one.count
        for one in Failure.objects.all()
    }
    return rows, failures


def clear() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE events_event, relay_message, statistics_rollup, statistics_failure, statistics_progress,"
            " accounts_organization CASCADE"
        )


def two_organizations() -> list[Organization]:
    return [Organization.objects.create(name="Acme"), Organization.objects.create(name="Bolt")]


# ---- Exact, and once -------------------------------------------------------------------------------------------------


class Crash(Exception):
    pass


def crash_at(statement: int) -> Any:
    """Ends the work before the statement of that number."""
    seen = 0

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == statement:
            raise Crash
        return execute(sql, params, many, context)

    return connection.execute_wrapper(wrapper)


@given(
    mails=MAILS, at_once=st.integers(1, 12), crashes=st.lists(st.integers(1, 14), max_size=6), most=st.integers(1, 4)
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rollups_are_the_log_counted_whatever_crashes_in_between(
    mails: list[Mail], at_once: int, crashes: list[int], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup, "EVENTS_AT_ONCE", at_once)
        patch.setattr(folding, "VALUES_MOST", most)
        clear()
        log = write(mails, two_organizations())
        for statement in crashes:
            with crash_at(statement):
                try:
                    rollup.count_next(END)
                except Crash:
                    continue
        while rollup.count_next(END):
            pass
        assert stored() == counted_plainly(log, most)


def test_two_at_once_count_each_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "EVENTS_AT_ONCE", 3)
    mails = [Mail(number % 2, number * 7, number % 4, 1, None, ("a",), "inbox.test", ()) for number in range(40)]
    log = write(mails, two_organizations())
    turns = [0, 0]
    barrier = threading.Barrier(2)

    def work(number: int) -> None:
        barrier.wait()
        while Progress.objects.filter(counted_before__gt=log[-1][1].pk).first() is None:
            turns[number] += rollup.count_next(END)
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored() == counted_plainly(log, folding.VALUES_MOST)


def test_what_is_above_the_horizon_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    [organization, _] = two_organizations()
    event = {"organization": organization, "message_id": uuid7(), "recipient_id": uuid7(), "address": "a@b.test"}
    Event.objects.create(type="submitted", occurred_at=datetime.now(UTC), **event)
    assert rollup.roll_up(5)
    assert not Rollup.objects.exists()  # younger than the feed's margin
    monkeypatch.setattr("events.feed.MARGIN", timedelta(seconds=-1))
    for _ in range(2):
        assert rollup.roll_up(5)
    assert [row.submitted for row in Rollup.objects.filter(dimension="all", step="hour")] == [1]


def test_what_comes_while_it_counts_waits_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each few events that the horizon passes would be a transaction."""
    [organization, _] = two_organizations()
    event = {"organization": organization, "message_id": uuid7(), "recipient_id": uuid7(), "address": "a@b.test"}
    tops = []
    for _ in range(2):
        Event.objects.create(type="submitted", occurred_at=datetime.now(UTC), **event)
        tops.append(uuid7())
    monkeypatch.setattr(rollup, "horizon", iter(tops).__next__)
    for counted in (1, 2):
        assert rollup.roll_up(5)
        assert [row.submitted for row in Rollup.objects.filter(dimension="all", step="hour")] == [counted]


# ---- Latency ---------------------------------------------------------------------------------------------------------


@given(times=st.lists(st.floats(10, 200_000_000), min_size=1), share=st.floats(0.01, 1))
def test_a_percentile_from_buckets_is_near_the_true_one(times: list[float], share: float) -> None:
    counts = [0] * (len(BOUNDS_MS) + 1)
    for time in times:
        counts[bucket_of(time)] += 1
    true = sorted(times)[max(0, -(-len(times) * share // 1).__trunc__() - 1)]
    told = percentile(counts, share)
    assert told is not None
    assert true / 1.31 <= told <= true * 1.31  # bounds are whole milliseconds


# ---- The proof -------------------------------------------------------------------------------------------------------


def audited() -> list[str]:
    return [line.split(", ", 1)[1] for line in disagreements()]


def test_the_audit_finds_what_is_counted_wrong() -> None:
    acme, _ = organizations = two_organizations()
    now = datetime.now(UTC) - timedelta(minutes=3)
    log = write(
        [Mail(0, 0, 0, 1, None, ("a",), "inbox.test", ((1, "bounced", "policy", ""),))], organizations, begin=now
    )
    while rollup.count_next(first_id_at(now + timedelta(days=1))):
        pass
    assert audited() == []
    everything = Rollup.objects.filter(dimension="all", step="hour")
    for change, told in (
        ({"delivered": 1}, "1 delivered, in the log 0"),
        ({"bounced_soft": 0}, "0 bounced_soft, in the log 1"),
    ):
        everything.update(**change)
        assert [line.split(": ")[1] for line in audited()][:1] == [told]
        everything.update(delivered=0, bounced_soft=1)
    Rollup.objects.filter(dimension="tag").delete()
    assert all(line.startswith("tag a, ") for line in audited())
    assert audited()
    rollup.count_again(now.date())
    assert audited() == []

    with connection.cursor() as cursor:  # forgotten meanwhile: then none may be missing, and more may be there
        cursor.execute("TRUNCATE events_event")
    assert audited()
    Organization.objects.filter(pk=acme.pk).update(plan=Plan.objects.create(name="Short", event_days=5))
    assert audited() == []
    assert len(log) == 2


# ---- On the page and over REST ---------------------------------------------------------------------------------------


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def counted(tenant: Tenant, name: str = "acme.test") -> SendingDomain:
    """Mail of the present hour: six recipients, four of them delivered to, and what else there is."""
    domain = make_domain(tenant.organization, name)
    user = make_smtp_user(domain)
    template = create_template(tenant.organization, "Receipt", TemplateContent(subject="a", text="b"), alias="receipt")
    gmail = DELIVERED | {"exchanger": {"host": "aspmx.l.google.com", "address": "127.0.0.1", "port": 25}}
    for _ in range(3):
        make_message(domain, events=[("delivered", gmail)], smtp_user_id=user.pk, tags=["receipt"], raw=None)
    late = [("deferred", {}), ("deferred", {}), ("delivered", DELIVERED)]
    make_message(domain, to="eve@slow.test", reason="greylisted", state="delivered", events=late, raw=None)
    make_message(domain, to="no@inbox.test", state="bounced", reason="no_such_address", subject="Lost", raw=None)
    make_message(domain, state="bounced", reason="spam_suspected", template_id=template.pk, raw=None)
    message = Message.objects.of(tenant.organization).earliest("id")
    Event.objects.create(
        organization=tenant.organization, message_id=message.pk, type="complained", occurred_at=message.submitted_at,
        recipient_id=Recipient.objects.get(message_id=message.pk).pk, address="bob@inbox.test",
    )  # fmt: skip
    while rollup.count_next(first_id_at(datetime.now(UTC) + timedelta(hours=1))):
        pass
    return domain


def test_the_page_and_rest_tell_the_same_true_figures(tenant: Tenant) -> None:
    domain = counted(tenant)
    counted(make_tenant("Bolt"), "bolt.test")  # somebody else's
    api = make_api(tenant.organization, "read")
    for span, points in (("24h", 24), ("7d", None), ("30d", 30), ("90d", 90)):
        told = api.get(f"statistics?range={span}&by=provider").json()
        assert points is None or len(told["points"]) == points
        assert told["points"][-1]["figures"] == told["totals"]
        totals = told["totals"]
        assert {name: totals[name] for name in ("sent", "delivered", "bounced_hard", "bounced_soft", "deferred")} == {
            "sent": 6, "delivered": 4, "bounced_hard": 1, "bounced_soft": 1, "deferred": 2,
        }  # fmt: skip
        assert (totals["delivered_rate"], totals["complaint_rate"]) == (4 / 6, 1 / 4)
        assert 1600 < totals["latency_p50_ms"] < 2600 < 5000 < totals["latency_p95_ms"] < 7800
        groups = {one["value"]: one["figures"] for one in told["groups"]}
        assert {value: (one["delivered"], one["bounced"], one["complained"]) for value, one in groups.items()} == {
            "gmail": (3, 0, 1), "inbox.test": (0, 2, 0), "slow.test": (1, 0, 0),
        }  # fmt: skip
        reasons = [(one["type"], one["reason"], one["count"], len(one["examples"])) for one in told["reasons"]]
        assert reasons == [
            ("bounced", "no_such_address", 1, 1),
            ("bounced", "spam_suspected", 1, 1),
            ("deferred", "", 2, 1),
        ]

        page = tenant.client.get(f"/statistics/?range={span}&by=provider").content.decode()
        assert "66.7 %" in page
        assert "Gmail and Google Workspace" in page
        assert "The address does not exist" in page
        assert ">Lost</a>" in page
        assert " style=" not in page
        assert page.count('role="img"') == 7

    for what, sent in (
        (f"domain={domain.name}", 6), ("tag=receipt", 3), ("smtp_user=admin@acme.test", 3), ("template=receipt", 1),
        ("provider=gmail", 0), ("tag=nothing", 0),
    ):  # fmt: skip
        told = api.get(f"statistics?{what}").json()
        assert (told["totals"]["sent"], told["groups"]) == (sent, [])
    assert api.get("statistics?provider=gmail").json()["totals"]["delivered"] == 3
    for what, pointer in (
        ("domain=none.test", "/domain"), ("template=none", "/template"), ("range=1y", "/range"), ("by=all", "/by"),
        ("tag=a&provider=b", "/tag"), ("tag=a&by=tag", "/by"),
    ):  # fmt: skip
        refused(api.get(f"statistics?{what}"), 422, "validation_failed", pointer)

    names = {
        "domain": "acme.test",
        "provider": "Gmail",
        "tag": "receipt",
        "smtp_user": "admin@acme.test",
        "template": "Receipt",
    }
    for by, name in names.items():
        page = tenant.client.get(f"/statistics/?by={by}").content.decode()
        [link] = set(re.findall(rf'href="(\?range=7d[^"]+&amp;{by}=[^"]+)" title="{name}', page))
        shown = tenant.client.get(f"/statistics/{link.replace('&amp;', '&')}").content.decode()
        assert f"Statistics of {name}" in shown
    # From a reason to the messages that it is about.
    for query, subjects in (("", ["Lost"]), ("by=tag&tag=receipt", []), ("by=template", ["Lost"])):
        page = tenant.client.get(f"/statistics/?{query}").content.decode()
        links = re.findall(r'href="(/messages/\?state=bounced&amp;reason=no_such_address[^"]*)"', page)
        found = [tenant.client.get(link.replace("&amp;", "&"), follow=True).content.decode() for link in links]
        assert [name for name in subjects for one in found if f">{name}<" in one] == subjects
    for what in ("domain=x", "tag=%00"):
        assert tenant.client.get(f"/statistics/?{what}").status_code == 404


def test_a_key_of_one_domain_is_told_of_this_domain_only(tenant: Tenant) -> None:
    counted(tenant)
    make_domain(tenant.organization, "other.test")
    for name, sent in (("acme.test", 6), ("other.test", 0)):
        api = make_api(tenant.organization, "read", only_domain=name)
        assert api.get("statistics").json()["totals"]["sent"] == sent
        for what in ("by=tag", "tag=receipt", "smtp_user=admin@acme.test", "provider=gmail"):
            refused(api.get(f"statistics?{what}"), 403, "key_restricted_to_domain")
    refused(api.get("statistics?domain=acme.test"), 422, "validation_failed", "/domain")


def test_a_page_asks_for_as_little_however_much_was_sent(tenant: Tenant, django_assert_max_num_queries: Any) -> None:
    """Rollups alone, and rows by their keys."""
    counted(tenant)
    with django_assert_max_num_queries(20) as captured:
        tenant.client.get("/statistics/?range=90d")
    asked = " ".join(query["sql"] for query in captured.captured_queries)
    assert "events_event" not in asked
    assert "relay_recipient" not in asked


def test_what_was_delivered_long_ago_counts_for_the_checklist(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugsend.overview.NEWEST_EVENTS", 1)
    domain = make_domain(tenant.organization)
    make_smtp_user(domain)
    make_message(domain)
    make_message(domain, state="submitted")
    assert "2 of 4 done" in tenant.client.get("/overview/").content.decode()
    while rollup.count_next(first_id_at(datetime.now(UTC) + timedelta(hours=1))):
        pass
    assert "3 of 4 done" in tenant.client.get("/overview/").content.decode()


# ---- Alerts ----------------------------------------------------------------------------------------------------------


def set_rates(domain: SendingDomain, *, hours_ago: int = 0, **counts: int) -> None:
    """What was counted of a domain at a time, in place of what was before."""
    moment = datetime.now(UTC) - timedelta(hours=hours_ago)
    for step in ("hour", "day"):
        values = dict.fromkeys(COUNTERS, 0) | {"latency": []} | counts
        Rollup.objects.update_or_create(
            organization=domain.organization, dimension="domain", step=step, starts_at=start_of(step, moment),
            value=str(domain.pk), defaults=values,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "raised"),
    [
        ({"delivered": 98, "bounced_hard": 2}, [("hard_bounces", "warn")]),
        ({"delivered": 95, "bounced_hard": 5}, [("hard_bounces", "error")]),
        ({"delivered": 97, "bounced_hard": 2}, []),  # too few to judge
        ({"delivered": 981, "bounced_hard": 19}, []),
        ({"delivered": 900, "bounced_soft": 100}, []),
        ({"delivered": 1000, "complained": 1}, [("complaints", "warn")]),
        ({"delivered": 1000, "complained": 3}, [("complaints", "error")]),
        ({"delivered": 999, "complained": 3}, []),
    ],
)
def test_a_rate_that_passes_a_threshold_raises_an_alert(
    tenant: Tenant, counts: dict[str, int], raised: list[tuple[str, str]]
) -> None:
    domain = make_domain(tenant.organization)
    set_rates(domain, **counts)
    alerts.watch()
    assert list(Alert.objects.values_list("measure", "level")) == raised
    assert ("/statistics/?domain=" in tenant.client.get("/overview/").content.decode()) is bool(raised)


def test_owners_are_told_once_for_a_crossing(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)

    def told_after(**counts: int) -> list[str]:
        set_rates(domain, **counts)
        mail.outbox.clear()
        threads = [threading.Thread(target=lambda: (alerts.watch(), connection.close())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        notices.send_due()
        return [one.subject for one in mail.outbox]

    assert told_after(delivered=97, bounced_hard=3) == ["Hard bounces of acme.test: 3.0 %"]
    assert "2.0 %" in mail.outbox[0].body
    assert f"/statistics/?domain={domain.pk}" in mail.outbox[0].body
    assert told_after(delivered=196, bounced_hard=4) == []  # still
    assert told_after(delivered=197, bounced_hard=3) == []  # sways about the threshold
    assert told_after(delivered=196, bounced_hard=4) == []
    assert told_after(delivered=188, bounced_hard=12) == ["Hard bounces of acme.test: 6.0 %"]  # worse
    assert told_after(delivered=188, bounced_hard=5) == []
    assert Alert.objects.get().ended_at is None
    assert told_after(delivered=990, bounced_hard=10) == []
    assert Alert.objects.get().ended_at is not None
    assert told_after(delivered=970, bounced_hard=30) == ["Hard bounces of acme.test: 3.0 %"]  # anew
    entries = AuditEntry.objects.filter(action="domain.rate_alert").order_by("id")
    assert [entry.after["level"] for entry in entries] == ["warn", "error", "warn"]


def test_a_bad_day_alerts_though_the_week_was_good(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    set_rates(domain, hours_ago=50, delivered=10_000)
    set_rates(domain, delivered=950, bounced_hard=50)
    alerts.watch()
    assert list(Alert.objects.values_list("level", "days", "count", "of")) == [("error", 1, 50, 1000)]


def test_old_rollups_are_dropped(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    for days_ago in (0, 34, 36, 399, 401):
        set_rates(domain, hours_ago=24 * days_ago, delivered=1)
    rollup.forget_old()
    assert Counter(Rollup.objects.values_list("step", flat=True)) == {"hour": 2, "day": 4}
