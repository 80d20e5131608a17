"""What owners, programs and operators do with mail in the queue: retry now, hold, release, cancel."""

import html
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import redis
import requests
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.api_keys import create_api_key
from accounts.audit import Actor
from accounts.models import Scope, User
from domains.models import SendingDomain
from events.models import Event
from relay.acting import actions
from relay.acting.actions import Acted, Action, act, act_on_message, count, possible_actions
from relay.acting.words import notice
from relay.database import database_url
from relay.finding.filters import read_filter
from relay.finding.search import Sought, TookTooLong, within
from relay.lanes import Lane
from relay.models import Message, Recipient, RecipientState
from relay.reading.selectors import messages_page
from relay.submission.desk import shared_desk
from relay.tasks import deliver
from tests.factories import Tenant, add_recipient, make_domain, make_message, make_tenant
from tests.platform import Platform, wait_for

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
ADA = Actor("user", None, "ada@people.test")
OPEN_STATES = {"submitted", "deferred", "in_doubt", "held"}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def domain(tenant: Tenant) -> SendingDomain:
    return make_domain(tenant.organization)


def recipient_of(message: Message) -> Recipient:
    return Recipient.objects.get(message_id=message.pk)


def events_of(message: Message) -> list[tuple[str, Any]]:
    events = Event.objects.filter(message_id=message.pk).order_by("id")
    return [(event.type, event.detail.get("by")) for event in events]


def lease(message: Message) -> None:
    Recipient.objects.filter(message_id=message.pk).update(leased_by=uuid4())


def is_woken(destination: str) -> bool:
    """Whether a wake-up in the broker's queue names it. Nobody takes them out in this test run."""
    with redis.Redis.from_url(settings.REDIS_URL) as broker:
        waiting = [json.loads(one) for one in broker.lrange("celery", 0, -1)]
    wakes = [json.loads(b64decode(one["body"])) for one in waiting if one["headers"]["task"] == deliver.name]
    lanes = [Lane.parse(lane) for [[lanes], *_] in wakes for lane in lanes]
    return destination in {lane.destination for lane in lanes}


@pytest.fixture
def destination() -> str:
    return f"{uuid4().hex}.test"


# ---- What each does --------------------------------------------------------------------------------------------------


def test_retry_now_makes_it_due_and_wakes_a_worker(tenant: Tenant, domain: SendingDomain, destination: str) -> None:
    message = make_message(domain, to=f"bob@{destination}", state="deferred", reason="greylisted")
    assert not is_woken(destination)

    acted = act_on_message(Action.RETRY, tenant.organization, message.pk, by=ADA)

    assert acted == Acted(changed=1)
    recipient = recipient_of(message)
    assert recipient.next_attempt_at is not None
    assert recipient.next_attempt_at <= timezone.now()
    assert (recipient.state, recipient.reason) == ("deferred", "greylisted")
    assert events_of(message)[-1] == ("retry_requested", "ada@people.test")
    assert is_woken(destination)


def test_what_is_due_already_is_not_asked_for_again(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred")
    act_on_message(Action.RETRY, tenant.organization, message.pk, by=ADA)

    assert act_on_message(Action.RETRY, tenant.organization, message.pk, by=ADA) == Acted(0, not_applicable=1)
    assert [kind for kind, _ in events_of(message)].count("retry_requested") == 1


def test_what_is_held_is_due_only_when_it_expires(tenant: Tenant, domain: SendingDomain, destination: str) -> None:
    message = make_message(domain, to=f"bob@{destination}", state="submitted")

    assert act_on_message(Action.HOLD, tenant.organization, message.pk, by=ADA).changed == 1

    recipient = recipient_of(message)
    assert (recipient.state, recipient.next_attempt_at) == ("held", recipient.expires_at)
    assert recipient.state_at > message.submitted_at
    assert events_of(message)[-1] == ("held", "ada@people.test")
    assert not is_woken(destination)


@pytest.mark.parametrize(("attempts", "state"), [(0, "submitted"), (3, "deferred")])
def test_a_released_recipient_is_due_in_the_state_it_comes_from(
    tenant: Tenant, domain: SendingDomain, attempts: int, state: str, destination: str
) -> None:
    message = make_message(domain, to=f"bob@{destination}", state="held")
    Recipient.objects.filter(message_id=message.pk).update(attempts=attempts)

    assert act_on_message(Action.RELEASE, tenant.organization, message.pk, by=ADA).changed == 1

    recipient = recipient_of(message)
    assert recipient.state == state
    assert recipient.next_attempt_at is not None
    assert recipient.next_attempt_at <= timezone.now()
    assert events_of(message)[-1] == ("released", "ada@people.test")
    assert is_woken(destination)


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
def test_a_cancelled_recipient_leaves_the_queue_for_good(tenant: Tenant, domain: SendingDomain, state: str) -> None:
    message = make_message(domain, state=state, reason="greylisted")

    assert act_on_message(Action.CANCEL, tenant.organization, message.pk, by=ADA).changed == 1

    recipient = recipient_of(message)
    assert (recipient.state, recipient.next_attempt_at, recipient.reason) == ("cancelled", None, "")
    assert events_of(message)[-1] == ("cancelled", "ada@people.test")
    for action in Action:
        assert act_on_message(action, tenant.organization, message.pk, by=ADA).changed == 0


@pytest.mark.parametrize("action", Action)
def test_what_is_being_delivered_is_told_and_not_touched(tenant: Tenant, domain: SendingDomain, action: Action) -> None:
    message = make_message(domain, state="held" if action == Action.RELEASE else "deferred")
    lease(message)
    before = Recipient.objects.filter(message_id=message.pk).values().get()

    assert act_on_message(action, tenant.organization, message.pk, by=ADA) == Acted(0, busy=1)
    assert Recipient.objects.filter(message_id=message.pk).values().get() == before
    assert len(events_of(message)) == 2


def test_what_a_page_offers_is_what_can_be_done(tenant: Tenant, domain: SendingDomain) -> None:
    """The rule for a row in memory and the condition in the database are the same, for each state a row may have."""
    now, later = timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(minutes=5)
    for state, due, lease_ in product(RecipientState.values, [None, now, later], [None, uuid4()]):
        message = make_message(domain, state=state)
        Recipient.objects.filter(message_id=message.pk).update(next_attempt_at=due, leased_by=lease_)
        row = Recipient.objects.filter(message_id=message.pk)
        offered = possible_actions(row.get(), timezone.now())
        assert offered == {action for action in Action if count(action, row).possible}, (state, due, lease_)
        if due is None or lease_ is not None:
            assert not offered


def test_one_recipient_of_several_is_meant(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred", recipient_count=3)
    second = add_recipient(message, "second@inbox.test", "deferred")
    add_recipient(message, "third@inbox.test", "delivered")

    acted = act_on_message(Action.CANCEL, tenant.organization, message.pk, by=ADA, recipient_id=second.pk)
    assert acted == Acted(1)
    assert set(Recipient.objects.filter(state="cancelled").values_list("address", flat=True)) == {"second@inbox.test"}
    assert act_on_message(Action.CANCEL, tenant.organization, message.pk, by=ADA) == Acted(1, not_applicable=2)


def test_many_are_changed_in_batches_and_steps(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "BATCH", 2)
    monkeypatch.setattr(actions, "MOST_AT_ONCE", 5)
    message = make_message(domain, state="deferred")
    for number in range(6):
        add_recipient(message, f"r{number}@inbox.test", "deferred")
    everyone = Recipient.objects.of(tenant.organization)

    assert act(Action.HOLD, everyone, by=ADA) == Acted(5, more=True)
    assert everyone.filter(state="held").count() == 5
    assert act(Action.HOLD, everyone, by=ADA) == Acted(2)
    assert Event.objects.filter(type="held").count() == 7


def test_what_was_tried_again_meanwhile_has_had_its_retry(tenant: Tenant, domain: SendingDomain) -> None:
    """Else a retry of many that fail again would never end."""
    make_message(domain, state="deferred")
    started = timezone.now()
    again = make_message(domain, state="deferred")
    wanted = read_filter("deferred", "")

    acted = actions.act_on_matching(Action.RETRY, tenant.organization, wanted, by=ADA, started=started)

    assert acted.changed == 1
    assert events_of(again)[-1][0] == "deferred"


@pytest.mark.django_db(transaction=True)
def test_a_claim_at_the_same_moment_wins() -> None:
    """The action waits for the claim's lock, looks again, and leaves alone what is being delivered by then."""
    tenant = make_tenant()
    message = make_message(make_domain(tenant.organization), state="deferred")
    acted: list[Acted] = []

    def cancel() -> None:
        acted.append(act_on_message(Action.CANCEL, tenant.organization, message.pk, by=ADA))
        connection.close()

    with psycopg.connect(database_url()) as engine:
        claim = "UPDATE relay_recipient SET leased_by = %s, next_attempt_at = now() + interval '1 minute'"
        engine.execute(claim, [uuid4()])
        canceller = Thread(target=cancel)
        canceller.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'"
        with psycopg.connect(database_url(), autocommit=True) as onlooker:
            wait_for(lambda: onlooker.execute(waits).fetchall()[0][0], "the action waits for the claim")
        engine.commit()
        canceller.join(20)

    assert acted == [Acted(0, busy=1)]
    assert recipient_of(message).state == "deferred"
    assert [kind for kind, _ in events_of(message)] == ["submitted", "deferred"]


@pytest.mark.xdist_group("platform")
def test_what_is_released_is_delivered_at_once_and_what_is_cancelled_never(platform: Platform) -> None:
    def call_for(message_id: UUID, verb: str) -> requests.Response:
        key = {"Authorization": f"Bearer {platform.demo['API_KEY']}"}
        return requests.post(f"{platform.demo['API_URL']}/emails/{message_id}/{verb}", headers=key, timeout=20)

    def in_full(message_id: UUID, verb: str) -> None:
        """Nobody can act while an attempt goes on, which here lasts for milliseconds."""
        wait_for(lambda: call_for(message_id, verb).status_code == 200, f"{verb} of {message_id}")

    released, retried, cancelled = (platform.send(f"greylist+{name}@actions.test") for name in "abc")
    for message_id in (released, retried, cancelled):
        platform.wait_event(message_id, "deferred")
        in_full(message_id, "hold")
    in_full(cancelled, "cancel")
    in_full(released, "release")
    assert platform.wait_event(released, "delivered") == ["submitted", "deferred", "held", "released", "delivered"]

    in_full(retried, "release")
    platform.wait_event(retried, "delivered")
    assert call_for(retried, "retry").json()["code"] == "nothing_to_act_on"
    assert platform.types(cancelled) == ["submitted", "deferred", "held", "cancelled"]
    assert platform.inbox("greylist+c@actions.test") == []


# ---- The filter ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "typed", "found"),
    [
        ("", "", {"ada@one.test", "Bob@two.test", "bo_b@xn--bcher-kva.test", "eve@two.test"}),
        ("deferred", "", {"ada@one.test"}),
        ("held", "", {"Bob@two.test"}),
        ("open", "", {"ada@one.test", "Bob@two.test", "bo_b@xn--bcher-kva.test"}),
        ("delivered", "", {"eve@two.test"}),
        ("submitted", "", {"bo_b@xn--bcher-kva.test"}),
        ("", "@two.test", {"Bob@two.test", "eve@two.test"}),
        ("", "@Two.Test", {"Bob@two.test", "eve@two.test"}),
        ("", "@bücher.test", {"bo_b@xn--bcher-kva.test"}),
        ("open", "@two.test", {"Bob@two.test"}),
        ("", "bob@two.test", {"Bob@two.test"}),
        ("", "BOB", {"Bob@two.test"}),
        ("", "o_b", {"bo_b@xn--bcher-kva.test"}),  # not a pattern
        ("", "%", set()),
        ("", "@", {"ada@one.test", "Bob@two.test", "bo_b@xn--bcher-kva.test", "eve@two.test"}),
        ("nonsense", "\0", {"ada@one.test", "Bob@two.test", "bo_b@xn--bcher-kva.test", "eve@two.test"}),
    ],
)
def test_a_filter_finds(tenant: Tenant, domain: SendingDomain, state: str, typed: str, found: set[str]) -> None:
    make_message(domain, to="ada@one.test", state="deferred")
    make_message(domain, to="Bob@two.test", state="held")
    make_message(domain, to="bo_b@xn--bcher-kva.test", state="submitted")
    make_message(domain, to="eve@two.test", state="delivered")
    wanted = read_filter(state, typed)

    rows = messages_page(tenant.organization, sought=Sought(wanted)).rows

    assert {row.recipients[0].address for row in rows} == found
    assert {r.address for r in Recipient.objects.filter(wanted.condition())} == found
    assert {r.address for r in Recipient.objects.all() if wanted.matches(r)} == found


def test_a_filtered_list_pages_and_shows_the_recipient_that_matched(tenant: Tenant, domain: SendingDomain) -> None:
    for number in range(3):
        message = make_message(domain, to=f"first{number}@one.test", state="bounced", recipient_count=2)
        add_recipient(message, f"second{number}@two.test", "held")

    for wanted in (read_filter("held", ""), read_filter("", "@two.test")):
        page = messages_page(tenant.organization, sought=Sought(wanted), limit=2)
        assert [(row.first.address, row.state) for row in page.rows if row.first] == [
            ("second2@two.test", "held"),
            ("second1@two.test", "held"),
        ]
        last = messages_page(tenant.organization, sought=Sought(wanted), limit=2, before=page.next)
        assert [row.first.address for row in last.rows if row.first] == ["second0@two.test"]
        assert last.next is None


def test_a_search_that_takes_too_long_is_ended(tenant: Tenant) -> None:
    with pytest.raises(TookTooLong), within(0.05):
        connection.cursor().execute("SELECT pg_sleep(5)")


# ---- Pages -----------------------------------------------------------------------------------------------------------


def page_of(tenant: Tenant, message: Message) -> str:
    return html.unescape(tenant.client.get(reverse("message", args=[message.pk])).content.decode())


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("deferred", {"Retry now", "Hold", "Cancel…"}),
        ("held", {"Release", "Cancel…"}),
        ("delivered", set()),
        ("cancelled", set()),
        ("unknown_outcome", set()),
    ],
)
def test_the_message_page_offers_what_applies(
    tenant: Tenant, domain: SendingDomain, state: str, offered: set[str]
) -> None:
    page = page_of(tenant, make_message(domain, state=state))

    assert set(re.findall(r"(Retry now|Hold|Release|Cancel…)</(?:button|a)>", page)) == offered


def test_nothing_is_offered_while_it_is_being_delivered(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred")
    lease(message)

    page = page_of(tenant, message)

    assert "Being delivered now" in page
    assert "Cancel…" not in page


def test_a_click_holds_and_the_page_tells_who_did_it(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred")
    recipient = recipient_of(message)
    url = f"{reverse('message_act', args=[message.pk, 'hold'])}?recipient={recipient.pk}"

    fragment = html.unescape(tenant.client.post(url, headers=HTMX).content.decode())

    assert "1 recipient is held." in fragment
    assert "<html" not in fragment
    assert "Held: nothing is tried until it is released" in fragment
    assert f"by {tenant.user.email}" in fragment
    assert recipient_of(message).state == "held"


def test_without_scripts_the_page_is_led_back_to(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="held")

    answer = tenant.client.post(reverse("message_act", args=[message.pk, "release"]), follow=True)

    assert answer.redirect_chain == [(reverse("message", args=[message.pk]), 302)]
    assert "1 recipient is released." in answer.content.decode()


def test_cancelling_asks_first(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred")
    url = reverse("message_act", args=[message.pk, "cancel"])

    asked = html.unescape(tenant.client.get(url).content.decode())
    assert "This cannot be undone" in asked
    assert recipient_of(message).state == "deferred"

    tenant.client.post(url)
    assert recipient_of(message).state == "cancelled"
    assert "Cancelled" in page_of(tenant, message)


def test_the_page_says_what_is_being_delivered(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred", recipient_count=2)
    lease(message)
    add_recipient(message, "second@inbox.test", "deferred")
    url = reverse("message_act", args=[message.pk, "cancel"])

    assert "One of them is being delivered right now" in tenant.client.get(url).content.decode()
    told = tenant.client.post(url, follow=True).content.decode()
    assert "1 recipient is cancelled. 1 recipient is being delivered right now and is not touched." in told


def test_all_that_match_are_counted_then_acted_on(tenant: Tenant, domain: SendingDomain) -> None:
    for to, state in (("a@one.test", "deferred"), ("b@one.test", "deferred"), ("c@two.test", "deferred"),
                      ("d@one.test", "delivered")):  # fmt: skip
        make_message(domain, to=to, state=state)

    shown = html.unescape(tenant.client.get("/messages/?state=deferred&q=@one.test", follow=True).content.decode())
    link = re.search(r'href="(/messages/cancel/[^"]+)"', shown)
    assert link
    asked = html.unescape(tenant.client.get(link[1]).content.decode())
    assert "Cancel delivery to 2 recipients?" in asked
    assert "Recipients that are deferred at one.test." in asked

    told = tenant.client.post(link[1], follow=True)

    assert "2 recipients are cancelled." in told.content.decode()
    assert set(Recipient.objects.filter(state="cancelled").values_list("address", flat=True)) == {
        "a@one.test", "b@one.test",
    }  # fmt: skip


def test_a_long_work_goes_on_in_steps(tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "MOST_AT_ONCE", 2)
    for number in range(5):
        make_message(domain, to=f"r{number}@one.test", state="deferred")
    url = "/messages/hold/?state=deferred"

    page = tenant.client.post(url).content.decode()
    assert "2 recipients so far" in page
    fields = dict(re.findall(r'name="(started|done)" value="([^"]+)"', page))
    page = tenant.client.post(url, fields, headers=HTMX).content.decode()
    assert "4 recipients so far" in page
    assert "<html" not in page
    fields = dict(re.findall(r'name="(started|done)" value="([^"]+)"', page))
    last = tenant.client.post(url, fields, headers=HTMX)

    assert last["HX-Redirect"] == "/messages/?state=deferred"
    assert "5 recipients are held." in tenant.client.get(last["HX-Redirect"]).content.decode()
    assert Recipient.objects.filter(state="held").count() == 5


def test_nothing_is_done_to_all_mail_by_a_filter_that_is_none(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred")

    answer = tenant.client.post("/messages/cancel/?state=nonsense", follow=True)

    assert "Choose a state, a reason or an address first" in answer.content.decode()
    assert recipient_of(message).state == "deferred"


def test_a_filtered_list_follows_and_keeps_its_filter(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred", subject="Waits")
    page = tenant.client.get("/messages/?state=open").content.decode()
    poll = re.search(r'hx-get="([^"]+)"', page)
    assert poll

    assert tenant.client.get(html.unescape(poll[1]), headers=HTMX).status_code == 204
    act_on_message(Action.CANCEL, tenant.organization, message.pk, by=ADA)
    fragment = tenant.client.get(html.unescape(poll[1]), headers=HTMX).content.decode()
    assert "Nothing matches" in fragment


def test_the_list_sees_a_deferred_message_delivered(tenant: Tenant, domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred")
    page = tenant.client.get("/messages/").content.decode()
    poll = re.search(r'hx-get="([^"]+)"', page)
    assert poll
    Recipient.objects.filter(message_id=message.pk).update(state="delivered", next_attempt_at=None)

    assert "Delivered" in tenant.client.get(html.unescape(poll[1]), headers=HTMX).content.decode()


def test_a_list_of_many_states_costs_no_more_queries(
    tenant: Tenant, domain: SendingDomain, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for state in RecipientState.values:
        make_message(domain, state=state)
    tenant.client.get("/messages/")  # the first request of a session notes it
    with django_assert_max_num_queries(14):
        tenant.client.get("/messages/?state=held")


@pytest.mark.parametrize("state", ["unknown_outcome", "held", "cancelled", "suppressed"])
def test_each_new_state_has_its_words(tenant: Tenant, domain: SendingDomain, state: str) -> None:
    page = page_of(tenant, make_message(domain, state=state, reason="outcome_unknown"))

    assert {"unknown_outcome": "never twice", "held": "until it is released", "cancelled": "Cancelled",
            "suppressed": "Not sent"}[state] in page  # fmt: skip
    assert "tries again" not in page


@pytest.mark.parametrize(
    ("acted", "words"),
    [
        (Acted(1), "1 recipient is held."),
        (Acted(1200), "1,200 recipients are held."),
        (Acted(0), "Nothing was changed. None of them is in the queue and not held already."),
        (Acted(0, busy=2), "Nothing was changed. 2 recipients are being delivered right now and are not touched."),
    ],
)
def test_what_was_done_is_told_in_words(acted: Acted, words: str) -> None:
    assert notice(Action.HOLD, acted).text == words


# ---- REST ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _own_desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its connections would keep the test database from being dropped."""
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield
    shared_desk().close()


def call(key: str, message_id: UUID, verb: str) -> Any:
    return Client().post(f"/api/v1/emails/{message_id}/{verb}", headers={"Authorization": f"Bearer {key}"})


@pytest.mark.usefixtures("_own_desk")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", Action)
def test_a_program_acts_and_is_answered_with_the_email(verb: Action) -> None:
    tenant = make_tenant()
    message = make_message(
        make_domain(tenant.organization), state="held" if verb == Action.RELEASE else "deferred", subject="Secret words"
    )
    full = create_api_key(tenant.organization, "Ops", [Scope.FULL])
    sending = create_api_key(tenant.organization, "App", [Scope.SEND])

    answer = call(full.secret, message.pk, verb)
    assert answer.status_code == 200, answer.content
    email = answer.json()
    assert (email["object"], email["id"], email["subject"]) == ("email", str(message.pk), "Secret words")
    assert email["recipients"][0]["events"][-1]["detail"]["by"] == "API key Ops"

    # Once more is no error; a key that may only send learns nothing of the content.
    again = call(sending.secret, message.pk, verb)
    assert again.status_code == 200, again.content
    assert again.json() == {
        "object": "email",
        "id": str(message.pk),
        "last_event": email["last_event"],
        "state": email["state"],
    }


@pytest.mark.usefixtures("_own_desk")
@pytest.mark.django_db(transaction=True)
def test_a_program_is_told_why_not() -> None:
    tenant = make_tenant()
    domain, other = make_domain(tenant.organization), make_domain(tenant.organization, "other.test")
    delivered, deferred = make_message(domain), make_message(domain, state="deferred")
    key = create_api_key(tenant.organization, "App", [Scope.SEND]).secret
    reading = create_api_key(tenant.organization, "Reader", [Scope.READ]).secret
    elsewhere = create_api_key(tenant.organization, "Shop", [Scope.SEND], only_domain=other.name).secret
    stranger = create_api_key(make_tenant("Rival").organization, "Eve", [Scope.FULL]).secret

    def refusal(key: str, message_id: UUID, verb: str) -> tuple[int, str]:
        answer = call(key, message_id, verb)
        return answer.status_code, answer.json()["code"]

    assert refusal(key, delivered.pk, "cancel") == (409, "nothing_to_act_on")
    assert "1 delivered" in call(key, delivered.pk, "cancel").json()["detail"]
    assert refusal(reading, deferred.pk, "cancel") == (403, "insufficient_scope")
    assert refusal(elsewhere, deferred.pk, "cancel") == (404, "not_found")
    assert refusal(stranger, deferred.pk, "cancel") == (404, "not_found")
    assert refusal(key, uuid4(), "hold") == (404, "not_found")
    lease(deferred)
    assert refusal(key, deferred.pk, "cancel") == (409, "being_delivered")
    assert recipient_of(deferred).state == "deferred"


# ---- The admin -------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    return client


LIST = "/admin/relay/recipient/"


def test_an_operator_cancels_chosen_recipients_after_being_asked(operator: Client, domain: SendingDomain) -> None:
    chosen, other = make_message(domain, state="deferred"), make_message(domain, state="deferred")
    form = {"action": "cancel", "_selected_action": [str(recipient_of(chosen).pk)]}

    asked = operator.post(LIST, form).content.decode()
    assert "Cancel delivery to 1 recipient?" in asked
    assert recipient_of(chosen).state == "deferred"
    told = operator.post(LIST, form | {"confirmed": "yes"}, follow=True).content.decode()

    assert "1 recipient is cancelled." in told
    assert events_of(chosen)[-1] == ("cancelled", "operator")
    assert recipient_of(other).state == "deferred"


def test_an_operator_acts_on_a_destination_or_an_organization(
    operator: Client, tenant: Tenant, domain: SendingDomain
) -> None:
    make_message(domain, to="a@one.test", state="deferred")
    make_message(domain, to="b@two.test", state="deferred")
    rival = make_domain(make_tenant("Rival").organization, "rival.test")
    make_message(rival, to="c@one.test", state="deferred")
    chosen = [str(pk) for pk in Recipient.objects.values_list("pk", flat=True)[:1]]
    form = {"confirmed": "yes", "select_across": "1", "_selected_action": chosen}

    operator.post(f"{LIST}?q={tenant.organization.pk}", form | {"action": "hold"})
    held = Recipient.objects.filter(state="held")
    assert set(held.values_list("address", flat=True)) == {"a@one.test", "b@two.test"}
    operator.post(f"{LIST}?q=one.test", form | {"action": "cancel"})
    cancelled = Recipient.objects.filter(state="cancelled")
    assert set(cancelled.values_list("address", flat=True)) == {"a@one.test", "c@one.test"}
    operator.post(f"{LIST}?queue=open&state__exact=held", form | {"action": "release"})
    assert not Recipient.objects.filter(state="held").exists()


def test_staff_without_the_right_are_not_offered_it(domain: SendingDomain) -> None:
    message = make_message(domain, state="deferred")
    onlooker = User.objects.create_user("onlooker@people.test", "correct-horse-battery", is_staff=True)
    onlooker.user_permissions.add(Permission.objects.get(codename="view_recipient"))
    client = Client()
    client.force_login(onlooker)

    page = client.get(LIST).content.decode()
    assert "bob@inbox.test" in page
    assert 'value="cancel"' not in page
    client.post(LIST, {"action": "cancel", "confirmed": "yes", "_selected_action": [str(recipient_of(message).pk)]})
    assert recipient_of(message).state == "deferred"
