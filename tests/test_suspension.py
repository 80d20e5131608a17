"""Exchangers that are left alone for a while: who waits for them is told so, and an operator can end it."""

import asyncio
import html
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from events.models import Event
from relay.delivery.throttle import ThrottleLimits
from relay.expiry import expire
from relay.models import ExchangerGroup, Recipient
from relay.tasks import forget_exchangers
from tests.factories import Tenant, add_recipient, make_domain, make_message, make_tenant
from tests.peer import Peer
from tests.test_fairness import at_work, states, submit, wait_until

NOT_NOW = b"421 4.3.2 not now\r\n"
LONG_PAUSES = ThrottleLimits(first_pause_s=600.0, longest_pause_s=600.0)


def plain(page: str) -> str:
    """What a reader reads."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def message_page(tenant: Tenant, recipient: Recipient) -> str:
    url = reverse("message", args=[recipient.message_id])
    return plain(tenant.client.get(url).content.decode())


# ---- With an engine --------------------------------------------------------------------------------------------------


class Away(Peer):
    """Takes nothing until it is back."""

    def __init__(self) -> None:
        super().__init__(lambda verb, connection: NOT_NOW if self.is_away and verb == b"EHLO" else None)
        self.is_away = True


async def wait_for(is_so: Callable[[], Awaitable[object]], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await is_so():
            await asyncio.sleep(0.05)


async def names_in_the_row(*destinations: str) -> bool:
    rows = ExchangerGroup.objects.filter(suspended_until__isnull=False, destinations__contains=list(destinations))
    return await rows.aexists()


def tenant_named(name: str) -> Tenant:
    """As the fairness tests name their organizations: ada@<name>.test sends."""
    tenant = make_tenant(name)
    make_domain(tenant.organization, f"{name}.test")
    return tenant


@pytest.mark.django_db(transaction=True)
def test_who_waits_is_told_why_and_an_operator_lets_the_mail_go(settings: Settings) -> None:
    settings.RETRY_SCALE = 0.0001  # of the attempts that failed; the pause is long
    tenant, operator = tenant_named("acme"), Client()
    operator.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    away = Away()

    async def main() -> None:
        async with away, at_work({"away.test": away.port}, throttle=LONG_PAUSES) as (desk, engine):
            await submit(desk, engine, tenant.organization, *(f"r{n}@away.test" for n in range(30)))
            await wait_for(lambda: names_in_the_row("away.test"))
            await wait_until(lambda: not engine.held)
            assert await ExchangerGroup.objects.filter(suspended_since__lte=timezone.now()).acount() == 1
            untried = await Recipient.objects.filter(attempts=0).afirst()
            assert untried
            page = await sync_to_async(message_page)(tenant, untried)
            assert "Waiting for the mail servers of away.test" in page
            assert "The receiver's server is busy: " in page
            assert "421 4.3.2 not now" in page
            assert re.search(r"Since \d+ \w+, \d\d:\d\d UTC \(.*\) nothing is tried there but a probe", page)
            assert re.search(r"Waits for the next probe in 9 min", page)

            away.is_away = False
            url, chosen = "/admin/relay/exchangergroup/", {"action": "resume_now", "_selected_action": ["mx.away.test"]}
            listed = plain((await sync_to_async(operator.get)(url)).content.decode())
            assert "away.test" in listed
            assert "9 minutes from now" in listed
            row = await sync_to_async(operator.get)(f"{url}mx.away.test/change/")
            assert "away.test" in plain(row.content.decode())
            await sync_to_async(operator.post)(url, chosen)
            await wait_for(lambda: all_are_delivered("away.test"))
            await wait_for(nothing_is_told)  # the row is gone, though no worker wrote it last

    asyncio.run(main())
    page = message_page(tenant, Recipient.objects.all()[0])
    assert "Waiting for" not in page


async def all_are_delivered(destination: str) -> bool:
    return set(await states(destination)) == {"delivered"}


async def nothing_is_told() -> bool:
    return not await ExchangerGroup.objects.aexists()


@pytest.mark.django_db(transaction=True)
def test_mail_that_comes_later_is_told_too_and_expires_in_time() -> None:
    early, late = tenant_named("early"), tenant_named("late")
    away = Away()

    async def main() -> None:
        async with away, at_work({"away.test": away.port}, throttle=LONG_PAUSES) as (desk, engine):
            await submit(desk, engine, early.organization, *(f"r{n}@away.test" for n in range(10)))
            await wait_for(lambda: names_in_the_row("away.test"))
            # Another worker's row: its own destinations stay when this one adds its own.
            await ExchangerGroup.objects.aupdate(destinations=["other.test"])
            engine.groups["mx.away.test"].destinations.clear()
            await submit(desk, engine, late.organization, "late@away.test")
            await wait_for(lambda: names_in_the_row("away.test", "other.test"))
            asked = away.connections

            waiting = await Recipient.objects.aget(address="late@away.test")
            assert "Waiting for the mail servers of away.test" in await sync_to_async(message_page)(late, waiting)
            await Recipient.objects.filter(pk=waiting.pk).aupdate(expires_at=timezone.now())
            assert await sync_to_async(expire)() == 1
            assert away.connections == asked

    asyncio.run(main())
    ended = Recipient.objects.get(address="late@away.test")
    assert (ended.state, ended.reason, ended.attempts) == ("bounced", "expired", 0)
    assert Event.objects.filter(recipient_id=ended.pk).order_by("id").values_list("type", flat=True)[1] == "bounced"


@pytest.mark.django_db(transaction=True)
def test_exchangers_that_never_come_back_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.delivery.groups.TROUBLE_REMEMBERED_S", 4.0)  # seconds after the last attempt
    tenant, away = tenant_named("acme"), Away()

    async def main() -> None:
        async with away, at_work({"away.test": away.port}) as (desk, engine):
            await submit(desk, engine, tenant.organization, "bob@away.test")
            await wait_for(ExchangerGroup.objects.filter(name="mx.away.test").aexists)
            assert engine.groups["mx.away.test"].throttle.is_troubled
            await wait_until(lambda: not engine.groups)
            await wait_for(nothing_is_told)

    asyncio.run(main())
    assert Recipient.objects.get().state == "deferred"


@pytest.mark.django_db
def test_what_a_dead_worker_left_is_forgotten_after_a_day() -> None:
    for name, hours in (("new.test", 23), ("old.test", 25)):
        suspend(name)
        changed_at = timezone.now() - timedelta(hours=hours)
        ExchangerGroup.objects.filter(name=f"mx.{name}").update(changed_at=changed_at)
    forget_exchangers()
    assert ExchangerGroup.objects.get().name == "mx.new.test"


# ---- The page --------------------------------------------------------------------------------------------------------


def suspend(destination: str, **fields: object) -> ExchangerGroup:
    now = timezone.now()
    values = {"connections": 1, "failures": 7, "reason": "unreachable", "last_reply": "mx (192.0.2.1): Connection refused",
              "suspended_since": now - timedelta(minutes=12), "suspended_until": now + timedelta(minutes=4)}  # fmt: skip
    return ExchangerGroup.objects.create(name=f"mx.{destination}", destinations=[destination], **(values | fields))


@pytest.mark.django_db
def test_only_who_waits_for_them_is_told_and_the_page_follows() -> None:
    tenant = make_tenant()
    message = make_message(make_domain(tenant.organization), to="ada@away.test", state="deferred", reason="unreachable")
    add_recipient(message, "ben@well.test", "deferred", reason="greylisted")
    add_recipient(message, "cleo@away.test", "held")
    url = reverse("message", args=[message.pk])
    poll = re.search(r'hx-get="([^"]+)"', tenant.client.get(url).content.decode())
    assert poll
    assert tenant.client.get(poll[1], headers={"HX-Request": "true"}).status_code == 204

    group = suspend("away.test")

    shown = tenant.client.get(poll[1], headers={"HX-Request": "true"}).content.decode()
    assert shown.count("Waiting for the mail servers of away.test") == 1
    assert "No exchanger could be reached: 7 attempts in a row failed" in plain(shown)
    assert "Connection refused" in shown
    assert "The receiver asked us to come back later" in shown
    group.suspended_until = timezone.now() - timedelta(seconds=1)
    group.save()
    assert "Waiting for the mail servers" not in tenant.client.get(url).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "sender_limited", "last_reply": "421 4.7.28 too much mail from [rival.test]"},
        {"reason": "exchanger_busy", "last_reply": "421 4.3.2 <boss@rival.test>: later"},
    ],
)
def test_what_was_said_to_another_organization_is_not_shown(fields: dict[str, str]) -> None:
    tenant = make_tenant()
    message = make_message(make_domain(tenant.organization), to="ada@away.test", state="submitted")
    suspend("away.test", **fields)
    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()
    assert "Waiting for the mail servers of away.test" in page
    assert "rival.test" not in page
