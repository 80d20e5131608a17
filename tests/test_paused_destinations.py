"""Operators pause a destination for everybody, and see what waits for which destination."""

from __future__ import annotations

import asyncio
import html
import re

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Organization, User
from relay import destinations
from relay.delivery.engine import Engine
from relay.models import PausedDestination, Recipient
from tests.factories import make_domain, make_message, make_tenant
from tests.peer import Peer
from tests.plans import indexes_of
from tests.test_fairness import at_work, states, submit, wait_until
from tests.test_suspension import all_are_delivered, tenant_named, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator() -> Client:
    Organization.objects.create(name="PlugSend", is_system=True)
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    return client


def plain(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_nothing_goes_to_a_paused_destination_until_it_is_resumed(operator: Client) -> None:
    tenant, other = tenant_named("acme"), tenant_named("other")
    url = reverse("admin:relay_pauseddestination_at", args=["away.test"])

    async def main() -> None:
        async with (
            Peer() as away,
            Peer() as well,
            at_work({"away.test": away.port, "well.test": well.port}) as (desk, engine),
        ):
            engine._pauses._read_at = float("-inf")
            await sync_to_async(operator.post)(f"{url}pause/", {"reason": "Its users say that all mail is doubled."})
            await wait_for(lambda: _is_paused(engine, {"away.test"}))
            for organization in (tenant.organization, other.organization):
                await submit(desk, engine, organization, "bob@away.test", "ada@well.test")
            await wait_for(lambda: all_are_delivered("well.test"))
            assert set(await states("away.test")) == {"submitted"}
            waiting = await Recipient.objects.filter(
                destination="away.test", organization_id=tenant.organization.pk
            ).afirst()
            assert waiting is not None
            assert waiting.attempts == 0
            page = reverse("message", args=[waiting.message_id])
            told = plain((await sync_to_async(tenant.client.get)(page)).content.decode())
            assert "operators have paused mail to away.test" in told
            assert "Its users say that all mail is doubled." in told
            assert "Waits until mail to away.test is resumed" in told
            listed = plain(
                (
                    await sync_to_async(operator.get)(reverse("admin:relay_pauseddestination_changelist"))
                ).content.decode()
            )
            assert "away.test" in listed

            await sync_to_async(operator.post)(f"{url}resume/")
            await wait_for(lambda: _is_paused(engine, set()))
            await wait_for(lambda: is_delivered(engine))

    asyncio.run(main())
    assert [entry.action for entry in AuditEntry.objects.filter(object_name="away.test").order_by("id")] == [
        "destination.paused", "destination.resumed",
    ]  # fmt: skip


def test_what_was_claimed_for_it_and_not_begun_goes_back_untried() -> None:
    tenant = tenant_named("acme")

    async def main() -> None:
        async with Peer(delay_s=0.3) as slow, at_work({"slow.test": slow.port}) as (desk, engine):
            await submit(desk, engine, tenant.organization, *(f"r{n}@slow.test" for n in range(200)))
            await wait_until(lambda: len(slow.messages) > 2)
            await PausedDestination.objects.acreate(pk="slow.test", reason="Try.", paused_by="operator@people.test")
            await wait_until(lambda: engine._pauses.destinations and not engine.held)
            arrived = len(slow.messages)
            await engine.look()
            waiting = Recipient.objects.filter(destination="slow.test", state="submitted")
            assert await waiting.acount() == 200 - arrived > 0
            assert not await waiting.exclude(attempts=0, leased_by=None).aexists()
            assert len(slow.messages) == arrived

    asyncio.run(main())


async def is_delivered(engine: Engine) -> bool:
    await engine.look()  # which does nothing where the last one was a moment ago
    return await all_are_delivered("away.test")


async def _is_paused(engine: Engine, names: set[str]) -> bool:
    return set(engine._pauses.destinations) == names


def test_what_waits_is_counted_as_far_as_needed(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = make_domain(make_tenant().organization)
    for number, (name, state) in enumerate(
        [
            ("a.test", "deferred"),
            ("a.test", "held"),
            ("b.test", "submitted"),
            ("b.test", "delivered"),
            ("c.test", "delivered"),
        ]
    ):
        make_message(domain, to=f"r{number}@{name}", state=state)
    assert [(w.destination, w.waiting, w.deferred, w.held) for w in destinations.waiting()] == [
        ("a.test", 2, 1, 1), ("b.test", 1, 0, 0),
    ]  # fmt: skip
    assert [w.destination for w in destinations.waiting("a.test")] == ["b.test"]
    assert [w.destination for w in destinations.waiting(most=1)] == ["a.test"]
    assert destinations.waiting_for("c.test").waiting == 0
    assert operator.get(reverse("admin:relay_pauseddestination_at", args=["a.test"])).status_code == 200
    with connection.cursor() as cursor:
        assert "recipient_lane" in indexes_of(cursor, destinations._WAITING, {"after": "", "most": 50})


def test_a_name_that_is_none_is_not_paused(operator: Client) -> None:
    answer = operator.post(reverse("admin:relay_pauseddestination_at", args=["not a name"]) + "pause/", {"reason": "x"})
    assert answer.status_code == 404
    assert not PausedDestination.objects.exists()
