"""Nobody waits for another: organizations take turns, dead and slow exchangers hold up only their own mail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pytest_django.fixtures import Settings

from accounts.credentials import Credential
from accounts.models import Organization
from domains.models import DomainStatus
from domains.services import add_domain
from events.models import Event
from relay.database import database_url
from relay.delivery.engine import Engine, EngineLimits
from relay.delivery.routing import Hop, Route, Router
from relay.delivery.throttle import ThrottleLimits
from relay.lanes import Lane
from relay.models import ExchangerGroup, Recipient
from relay.submission.accept import Submission
from relay.submission.desk import Desk
from tests.peer import Peer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]


class Roads(Router):
    """Destinations and the ports of their exchangers, all on loopback."""

    def __init__(self, ports: dict[str, int]) -> None:
        super().__init__()
        self._ports = ports

    async def route(self, destination: str) -> Route:
        return Route(destination, (f"mx.{destination}",), f"mx.{destination}")

    async def hops(self, route: Route, *, source_address: str | None = None) -> AsyncIterator[Hop]:
        # As a smart host: DNS, which is not there, is not asked for policies either.
        yield Hop(route.exchangers[0], "127.0.0.1", self._ports[route.destination], is_smarthost=True)


def make_organization(name: str, **fields: object) -> Organization:
    organization = Organization.objects.create(name=name, **fields)
    domain = add_domain(organization, f"{name}.test")
    domain.status = DomainStatus.VERIFIED
    domain.save()
    return organization


@asynccontextmanager
async def at_work(roads: dict[str, int] | Router, **limits: object) -> AsyncIterator[tuple[Desk, Engine]]:
    desk = Desk(database_url())
    engine = Engine(
        database_url(),
        EngineLimits(lease=timedelta(seconds=30), look_every_s=100, **limits),  # type: ignore[arg-type]
        roads if isinstance(roads, Router) else Roads(roads),
    )
    await desk.open()
    await engine.start()
    try:
        yield desk, engine
    finally:
        await engine.stop(1)
        await desk.close()


async def submit(desk: Desk, engine: Engine, organization: Organization, *addresses: str) -> None:
    credential = Credential(organization.pk, False, None, None, frozenset({"send"}), "")
    sender = f"ada@{organization.name}.test"
    content = f"From: {sender}\r\nSubject: Hi\r\n\r\nHello\r\n".encode()
    await asyncio.gather(
        *(desk.submit(Submission(credential, "smtp", "ESMTPSA", sender, (address,), content)) for address in addresses)
    )
    engine.wake({Lane(organization.pk, address.partition("@")[2]) for address in addresses})


async def wait_until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(60):  # a silent exchanger is waited for far longer
        while not is_so():
            await asyncio.sleep(0.005)


async def states(destination: str) -> list[str]:
    return [state async for state in Recipient.objects.filter(destination=destination).values_list("state", flat=True)]


def test_one_organizations_backlog_does_not_hold_up_anothers_message_to_the_same_exchanger() -> None:
    big, small = make_organization("big"), make_organization("small")

    async def main() -> int:
        async with Peer(delay_s=0.1) as peer, at_work({"shared.test": peer.port}) as (desk, engine):
            await submit(desk, engine, big, *(f"r{n}@shared.test" for n in range(1500)))
            await wait_until(lambda: len(peer.messages) > 20)
            await submit(desk, engine, small, "one@shared.test")
            await wait_until(lambda: any(b"ada@small.test" in message for message in peer.messages))
            return len(peer.messages)

    assert asyncio.run(main()) < 1000  # the backlog was still there


def test_a_dead_exchanger_holds_up_only_its_own_mail_and_is_asked_rarely() -> None:
    acme = make_organization("acme")
    dead = Peer(is_silent=True)

    async def main() -> None:
        async with dead, Peer() as peer, at_work({"dead.test": dead.port, "well.test": peer.port}) as (desk, engine):
            await submit(desk, engine, acme, *(f"r{n}@dead.test" for n in range(1000)))
            await wait_until(lambda: dead.connections)
            await submit(desk, engine, acme, "one@well.test")
            await wait_until(lambda: peer.messages)

    asyncio.run(main())
    assert dead.connections <= 10


def test_many_dead_exchangers_leave_room_for_another_organization() -> None:
    """More of them than there may be connections at once."""
    big, small = make_organization("big"), make_organization("small")
    dead = Peer(is_silent=True)

    async def main() -> int:
        async with dead, Peer() as peer:
            ports = {f"dead{n}.test": dead.port for n in range(200)} | {"well.test": peer.port}
            limits = {"connections": 50, "held": 100}
            async with at_work(ports, **limits) as (desk, engine):
                await submit(desk, engine, big, *(f"r{n % 5}@dead{n // 5}.test" for n in range(1000)))
                await wait_until(lambda: dead.connections >= 50)
                dead.hang_up_after(0.2)
                await submit(desk, engine, small, "one@well.test")
                await wait_until(lambda: peer.messages)
                return await Recipient.objects.filter(state="submitted").acount()

    assert asyncio.run(main()) > 100  # most of the dead ones' mail was still waiting


def test_after_failures_in_a_row_an_exchanger_is_left_alone_then_probed_then_used_again(settings: Settings) -> None:
    settings.RETRY_SCALE = 0.0001
    acme = make_organization("acme")
    away = True
    peer = Peer(lambda verb, connection: b"421 4.3.2 not now\r\n" if away and verb == b"EHLO" else None)
    throttle = ThrottleLimits(first_pause_s=1.0, longest_pause_s=1.0)

    async def main() -> None:
        nonlocal away
        async with peer, at_work({"away.test": peer.port}, throttle=throttle) as (desk, engine):
            await submit(desk, engine, acme, *(f"r{n}@away.test" for n in range(100)))
            await wait_until(lambda: engine.groups and engine.groups["mx.away.test"].throttle.is_probing)
            failures = peer.connections
            assert failures <= 30
            await asyncio.sleep(0.5)
            assert peer.connections <= failures + 10  # those that were at it
            async with asyncio.timeout(20):  # others hear of it
                while not await ExchangerGroup.objects.filter(suspended_until__isnull=False).aexists():
                    await asyncio.sleep(0.05)
            away = False
            async with asyncio.timeout(20):
                while set(await states("away.test")) != {"delivered"}:
                    await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                while await ExchangerGroup.objects.aexists():
                    await asyncio.sleep(0.05)

    asyncio.run(main())
    attempts = Event.objects.filter(type="deferred").count()
    assert 0 < attempts < 100  # most of them waited without an attempt


def test_weights_share_an_exchanger() -> None:
    heavy, light = make_organization("heavy", delivery_weight=3), make_organization("light")

    async def main() -> list[bytes]:
        async with Peer(delay_s=0.02) as peer, at_work({"shared.test": peer.port}) as (desk, engine):
            # So many of the heavy one's that they last: on a slow machine they begin to leave while the other's still come in.
            await submit(desk, engine, heavy, *(f"h{n}@shared.test" for n in range(1500)))
            await submit(desk, engine, light, *(f"l{n}@shared.test" for n in range(500)))

            def of_both() -> list[bytes]:
                first = next(
                    (n for n, message in enumerate(peer.messages) if b"ada@light.test" in message), len(peer.messages)
                )
                return peer.messages[first + 100 : first + 350]

            await wait_until(lambda: len(of_both()) == 250)
            return of_both()

    middle = asyncio.run(main())
    share = sum(b"ada@heavy.test" in message for message in middle) / len(middle)
    assert 0.6 < share < 0.9


def test_a_slow_exchanger_gets_more_connections_while_they_help() -> None:
    acme = make_organization("acme")

    async def main() -> tuple[int, int]:
        async with (
            Peer(delay_s=0.3) as slow,
            Peer() as quick,
            at_work({"slow.test": slow.port, "quick.test": quick.port}) as (desk, engine),
        ):
            await submit(desk, engine, acme, *(f"r{n}@slow.test" for n in range(500)))
            await wait_until(lambda: len(slow.messages) == 500)
            await submit(desk, engine, acme, *(f"r{n}@quick.test" for n in range(500)))
            await wait_until(lambda: len(quick.messages) == 500)
            return slow.connections, quick.connections

    slow, quick = asyncio.run(main())
    assert slow >= 40
    assert quick <= 40


def test_recipients_of_one_message_at_one_exchanger_share_a_transaction() -> None:
    acme = make_organization("acme")

    def refuse_bob(line: bytes) -> bytes | None:
        return b"550 5.1.1 no bob here\r\n" if line.startswith(b"RCPT TO:<bob@") else None

    async def main() -> Peer:
        async with Peer(answer_line=refuse_bob) as peer, at_work({"team.test": peer.port}) as (desk, engine):
            credential = Credential(acme.pk, False, None, None, frozenset({"send"}), "")
            addresses = ("ada@team.test", "bob@team.test", "cleo@team.test")
            content = b"From: ada@acme.test\r\nSubject: Hi\r\n\r\nHello\r\n"
            await desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", addresses, content))
            engine.wake({Lane(acme.pk, "team.test")})
            async with asyncio.timeout(10):
                while "submitted" in await states("team.test"):
                    await asyncio.sleep(0.01)
            return peer

    peer = asyncio.run(main())
    assert len(peer.messages) == 1
    assert dict(Recipient.objects.values_list("address", "state")) == {
        "ada@team.test": "delivered", "bob@team.test": "bounced", "cleo@team.test": "delivered",
    }  # fmt: skip
    bounced = Event.objects.get(type="bounced")
    assert "RCPT TO:<bob@team.test>" in bounced.transcript
    assert "cleo" not in bounced.transcript
