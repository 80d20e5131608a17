"""The status page: what probes find, what becomes an incident, what everybody is shown, also while the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import AuditEntry, Organization, User
from plugsend.status import board, facts, probes
from plugsend.status.components import COMPONENTS, State
from plugsend.status.course import Standing, advance, by_day
from plugsend.status.models import ComponentDay, ComponentState, Incident
from plugsend.status.probes import Found
from plugsend.status.throughput import difference
from plugsend.status.watch import Watch
from tests.factories import make_domain, make_message, make_tenant

OK, SLOW, DOWN, UNKNOWN = State.OK, State.DEGRADED, State.DOWN, State.UNKNOWN
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_known(settings: Settings, tmp_path: Any) -> Iterator[None]:
    settings.VAR = tmp_path
    cache.clear()
    board.forget()
    yield
    board.forget()


# ---- What a finding makes of what was known --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([OK, DOWN, OK, DOWN, OK], OK),  # never twice in a row
        ([OK, DOWN, DOWN], DOWN),
        ([OK, SLOW, DOWN], DOWN),
        ([DOWN], UNKNOWN),  # of a platform that is only starting
        ([DOWN, DOWN], DOWN),
        ([OK, DOWN, DOWN, OK], DOWN),
        ([OK, DOWN, DOWN, OK, OK], OK),
        ([OK, DOWN, DOWN, SLOW], SLOW),  # still in trouble, another kind
        ([OK, UNKNOWN], OK),
        ([OK, UNKNOWN, UNKNOWN], UNKNOWN),
        ([OK, UNKNOWN, DOWN], OK),  # neither twice
        ([OK, UNKNOWN, UNKNOWN, OK], OK),
        ([OK, UNKNOWN, UNKNOWN, DOWN], UNKNOWN),
    ],
)
def test_a_component_is_in_trouble_after_two_bad_findings_and_well_after_two_good_ones(
    found: list[State], expected: State
) -> None:
    standing: Standing | None = None
    for number, one in enumerate(found):
        standing = advance(standing, one, START + timedelta(seconds=number), 2)
    assert standing is not None
    assert standing.state == expected


def test_trouble_begins_with_the_first_bad_finding() -> None:
    standing: Standing | None = None
    for number, one in enumerate([OK, OK, DOWN, DOWN]):
        standing = advance(standing, one, START + timedelta(minutes=number), 2)
    assert standing == Standing(DOWN, START + timedelta(minutes=2))


def test_time_is_counted_for_the_days_in_which_it_was() -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    assert by_day(midnight - timedelta(seconds=5), midnight + timedelta(seconds=7)) == {
        date(2026, 3, 1): 5,
        date(2026, 3, 2): 7,
    }


def test_throughput_is_what_came_since_the_last_reading() -> None:
    ten, eleven = START, START + timedelta(hours=1)
    assert difference({ten: (5, 1, 0, 0)}, {ten: (9, 4, 1, 0)}) == (4, 3, 1, 0)
    assert difference({ten: (5, 1, 0, 0)}, {ten: (6, 1, 0, 0), eleven: (2, 2, 0, 0)}) == (3, 2, 0, 0)
    assert difference({ten: (5, 1, 0, 0)}, {ten: (2, 0, 0, 0)}) == (0, 0, 0, 0)  # counted anew


# ---- The watch -------------------------------------------------------------------------------------------------------


class World:
    """A watch over components of which we say how they are."""

    def __init__(self) -> None:
        self.found = dict.fromkeys(COMPONENTS, Found(OK))
        self.watch = Watch(run_probe=lambda code: self.found[code])

    def look(self, *, times: int = 2, **found: State) -> None:
        self.found |= {code: Found(state, "host 10.0.0.7 refused") for code, state in found.items()}
        for _ in range(times):
            self.watch.look()
        board.forget()


@pytest.mark.django_db(transaction=True)
def test_an_incident_opens_by_itself_grows_and_ends_by_itself(client: Client) -> None:
    world = World()
    world.look()
    assert client.get("/status.json").json()["status"] == "works"
    assert not Incident.objects.exists()

    world.look(smtp=DOWN)
    told = client.get("/status.json").json()
    assert [one["title"] for one in told["incidents"]] == ["Mail over SMTP is not accepted"]
    assert {one["code"]: one["status"] for one in told["components"]} == dict.fromkeys(COMPONENTS, "works") | {
        "smtp": "down"
    }
    world.look(webhooks=SLOW)
    page = client.get("/status/").content.decode()
    assert "SMTP and Webhooks are disturbed" in page
    assert "10.0.0.7" not in page  # which is for operators
    assert ComponentState.objects.get(code="smtp").words == "host 10.0.0.7 refused"

    world.look(smtp=OK)
    assert Incident.objects.get().ended_at is None
    world.look(webhooks=OK)
    incident = Incident.objects.get()
    assert incident.ended_at is not None
    assert [one.text.partition(" It lasted")[0] for one in incident.updates.order_by("at")][-1] == "All works again."
    entries = ElementTree.fromstring(client.get("/status.atom").content).findall("{*}entry")
    assert [entry.findtext("{*}title") for entry in entries] == ["SMTP and Webhooks are disturbed"]
    assert client.get(f"/status/incidents/{incident.pk}/").status_code == 200
    assert ComponentDay.objects.get(code="smtp").down_s > 0


@pytest.mark.django_db(transaction=True)
def test_what_is_known_survives_a_new_watch(client: Client) -> None:
    world = World()
    world.look(smtp=DOWN)
    since = ComponentState.objects.get(code="smtp").since

    following = World()
    following.look(smtp=DOWN, times=1)

    assert ComponentState.objects.get(code="smtp").since == since
    assert Incident.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_the_page_shows_what_the_watch_finds(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.look()
    client.get("/status/")
    known, board._cached = board._cached, None
    assert known is not None
    with monkeypatch.context() as patch:
        patch.setattr(board, "_read", lambda _: (_ for _ in ()).throw(OSError("gone")))
        world.look(database=DOWN, smtp=DOWN)
        for before in (None, known[1]):  # a web process that has just started, and one that knows the past
            shown = board.read(before)
            states = {row.component.code: row.state for row in shown.rows}
            assert states == dict.fromkeys(COMPONENTS, OK) | {
                "database": DOWN, "smtp": DOWN, "delivery": UNKNOWN, "webhooks": UNKNOWN,
            }  # fmt: skip
            assert not shown.has_history
        board.forget()
        answer = client.get("/status/")
        assert answer.status_code == 200
        assert "The database does not answer" in answer.content.decode()
        assert client.get("/status.json").json()["status"] == "down"

    world.look(database=OK, smtp=DOWN, times=1)  # what was found meanwhile is written now
    assert Incident.objects.get().components == ["smtp", "database"]
    assert ComponentDay.objects.get(code="database").down_s > 0


@pytest.mark.django_db(transaction=True)
def test_when_nobody_looks_any_more_nothing_is_claimed(client: Client) -> None:
    World().look()
    ComponentState.objects.update(checked_at=timezone.now() - timedelta(hours=1))
    board.forget()

    told = client.get("/status.json").json()

    assert (told["status"], told["is_current"]) == ("not_known", False)
    assert {one["status"] for one in told["components"]} == {"not_known"}


@pytest.mark.django_db(transaction=True)
def test_maintenance_is_no_outage(client: Client) -> None:
    now = timezone.now()
    Incident.objects.create(
        kind="maintenance", title="New disks", components=["database"], started_at=now - timedelta(minutes=1),
        ended_at=now + timedelta(hours=1),
    )  # fmt: skip
    world = World()
    world.look(database=SLOW, times=3)

    assert {one["code"]: one["status"] for one in client.get("/status.json").json()["components"]}[
        "database"
    ] == "maintenance"
    assert not Incident.objects.filter(is_automatic=True).exists()
    day = ComponentDay.objects.get(code="database")
    assert (day.degraded_s, day.down_s) == (0, 0)
    assert day.maintenance_s > 0


# ---- What everybody sees ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_page_is_the_same_for_all_and_may_be_cached(client: Client) -> None:
    World().look()
    day = timezone.now().date() - timedelta(days=3)
    ComponentDay.objects.create(code="rest", day=day, works_s=86400 - 600, down_s=600)
    board.forget()

    pages = [who.get("/status/") for who in (client, make_tenant().client)]

    assert pages[0].content == pages[1].content
    assert pages[0]["Cache-Control"] == "public, max-age=3"
    assert "Cookie" not in pages[0].get("Vary", "")
    assert not pages[0].cookies
    assert f"{day:%-d %b}: out of order for 10 min" in pages[0].content.decode()
    seen = client.get("/status/").content.decode().partition("seen=")[2].partition('"')[0]
    assert client.get(f"/status/live/?seen={seen}").status_code == 204
    assert client.post("/status/").status_code == 405


# ---- Operators -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_operator_tells_of_an_incident_and_the_platforms_log_tells_who(client: Client) -> None:
    Organization.objects.create(name="PlugSend", is_system=True)
    operator = User.objects.create_superuser("root@people.test", "x")
    client.force_login(operator)
    World().look()
    sent = {
        "kind": "incident", "title": "Gmail takes mail slowly", "components": ["delivery"], "impact": "degraded",
        "started_at_0": "2026-03-01", "started_at_1": "12:00:00", "ended_at_0": "", "ended_at_1": "",
        "updates-TOTAL_FORMS": "1", "updates-INITIAL_FORMS": "0", "updates-0-text": "We <look> into it.",
        "updates-0-at_0": "2026-03-01", "updates-0-at_1": "12:01:00",
    }  # fmt: skip
    answer = client.post(reverse("admin:status_incident_add"), sent)
    assert answer.status_code == 302, answer.content.decode()[:5000]
    board.forget()

    page = Client().get("/status/").content.decode()
    assert "Gmail takes mail slowly" in page
    assert "We &lt;look&gt; into it." in page
    assert 'data-component="delivery" data-state="degraded"' in page
    entries = AuditEntry.objects.filter(actor_kind="operator", actor_id=operator.pk)
    assert sorted(entries.values_list("action", flat=True)) == ["incident.added", "incident_update.added"]
    refused = client.post(reverse("admin:status_incident_add"), sent | {"kind": "maintenance"})
    assert "Say when the maintenance ends" in refused.content.decode()


# ---- Facts of the queue ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_mail_that_nobody_is_at_is_late_and_mail_whose_receiver_is_in_trouble_is_not() -> None:
    from relay.models import ExchangerGroup, Recipient

    domain = make_domain(make_tenant().organization)
    now = timezone.now()
    for name, ago, leased in (
        ("late.test", 90, False),
        ("slow.test", 500, False),
        ("new.test", 3, False),
        ("held.test", 80, True),
    ):
        message = make_message(domain, to=f"ada@{name}", state="submitted")
        Recipient.objects.filter(message_id=message.pk).update(next_attempt_at=now - timedelta(seconds=ago))
        if leased:
            worked_on = make_message(domain, to=f"bob@{name}", state="submitted")
            Recipient.objects.filter(message_id=worked_on.pk).update(
                next_attempt_at=now + timedelta(seconds=30), leased_by=message.pk
            )
    ExchangerGroup.objects.create(name="mx.slow.test", connections=1, reason="timeout", destinations=["slow.test"])

    with facts.bounded() as cursor:
        queue, ages = facts.queue(cursor), facts.ages(cursor)
        counted = facts.counted(cursor, ["late.test", "none.test"])

    assert [one.destination for one in queue.waiting] == ["slow.test", "late.test", "held.test", "new.test"]
    assert [one.destination for one in queue.waiting if one.is_neglected] == ["late.test"]
    assert ages.total == 5
    assert counted == {"late.test": 1, "none.test": 0}
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', 'plugsend engine 1', false)")
    assert (probes.delivery().state, probes.webhooks().state, probes.database().state) == (SLOW, OK, OK)
    with connection.cursor() as cursor:
        cursor.execute("RESET application_name")
    assert probes.delivery().state == DOWN
