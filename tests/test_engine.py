"""The delivery engine against an exchanger that does what the test says, on real PostgreSQL and real sockets."""

import asyncio
import threading
import time
from datetime import timedelta

import psycopg
import pytest
from pytest_django.fixtures import Settings

from accounts.credentials import Credential
from accounts.models import Organization
from domains.models import DomainStatus
from domains.networks import is_allowed
from domains.services import add_domain
from events.models import Event
from relay.database import database_url
from relay.delivery import worker
from relay.delivery.engine import Engine, EngineLimits
from relay.lanes import Lane
from relay.models import Recipient
from relay.submission.accept import Submission
from relay.submission.desk import Desk
from relay.tasks import deliver as deliver_task
from relay.tasks import wake_due
from tests.peer import Peer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]


@pytest.fixture
def organization() -> Organization:
    organization = Organization.objects.create(name="Acme")
    domain = add_domain(organization, "acme.test")
    domain.status = DomainStatus.VERIFIED
    domain.save()
    return organization


def deliver(
    organization: Organization,
    settings: Settings,
    peer: Peer,
    rounds: list[list[str]],
    *,
    wake_each: bool = True,
) -> None:
    """Submits each round's messages, wakes the engine (else: in the first round only), and waits until all are settled."""
    credential = Credential(organization.pk, False, None, None, frozenset({"send"}), "")

    async def main() -> None:
        desk = Desk(database_url())
        await desk.open()
        async with peer:
            settings.RELAY_SMARTHOST = f"127.0.0.1:{peer.port}"
            engine = Engine(database_url(), EngineLimits(lease=timedelta(seconds=30), look_every_s=100))
            await engine.start()
            for number, addresses in enumerate(rounds, 1):
                content = b"From: ada@acme.test\r\nSubject: Hi\r\n\r\nHello\r\n"
                await asyncio.gather(
                    *(
                        desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", (address,), content))
                        for address in addresses
                    )
                )
                if wake_each or number == 1:
                    engine.wake({Lane(organization.pk, address.partition("@")[2]) for address in addresses})
                async with asyncio.timeout(20):
                    while engine.held or await Recipient.objects.filter(state="submitted").aexists():
                        await asyncio.sleep(0.01)
            await engine.stop(5)
        await desk.close()

    asyncio.run(main())


def states() -> list[str]:
    return sorted(Recipient.objects.values_list("state", flat=True))


def test_a_burst_is_delivered_over_few_connections_without_a_deferral(
    organization: Organization, settings: Settings
) -> None:
    peer = Peer()
    deliver(organization, settings, peer, [[f"r{n}@burst.test" for n in range(400)]])
    assert states() == ["delivered"] * 400
    assert len(peer.messages) == 400
    assert peer.connections <= 20
    assert not Event.objects.filter(type="deferred").exists()


def test_the_connection_is_kept_for_the_next_message(organization: Organization, settings: Settings) -> None:
    peer = Peer()
    deliver(organization, settings, peer, [["a@kept.test"], ["b@kept.test"], ["c@kept.test"]])
    assert states() == ["delivered"] * 3
    assert peer.connections == 1
    kept = Event.objects.filter(type="delivered").order_by("id").last()
    assert kept is not None
    assert "on the connection kept to" in kept.transcript


def test_a_nudge_is_enough_for_a_lane_at_work(organization: Organization, settings: Settings) -> None:
    """Nobody wakes the engine for the second message, and it does not look at the queue by itself for 100 s."""
    peer = Peer()
    deliver(organization, settings, peer, [["a@nudged.test"], ["b@nudged.test"]], wake_each=False)
    assert states() == ["delivered", "delivered"]


def test_a_worker_that_stood_still_begins_nothing_that_another_has_taken_over(
    organization: Organization, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    credential = Credential(organization.pk, False, None, None, frozenset({"send"}), "")
    lease = timedelta(seconds=1)
    others = "UPDATE relay_recipient SET leased_by = gen_random_uuid() WHERE leased_by IS NOT NULL RETURNING id"

    async def main() -> None:
        desk = Desk(database_url())
        await desk.open()
        async with Peer(delay_s=0.3) as peer:
            settings.RELAY_SMARTHOST = f"127.0.0.1:{peer.port}"
            engine = Engine(database_url(), EngineLimits(lease=lease, look_every_s=100))
            await engine.start()
            for number in range(20):
                content = b"From: ada@acme.test\r\nSubject: Hi\r\n\r\nHello\r\n"
                address = (f"r{number}@still.test",)
                await desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", address, content))
            engine.wake({Lane(organization.pk, "still.test")})
            async with asyncio.timeout(20):
                while not peer.messages:
                    await asyncio.sleep(0.01)
            taken = len(peer.messages)
            time.sleep(lease.total_seconds() + 0.2)  # the whole loop stands still
            with psycopg.connect(database_url()) as connection:
                taken_over = connection.execute(others).rowcount
            assert taken_over > 10
            channels = [channel for group in engine.groups.values() for channel in group.channels.values()]
            async with asyncio.timeout(20):
                while any(channel.waiting for channel in channels):
                    await asyncio.sleep(0.01)
            await engine.stop(5)
            assert len(peer.messages) <= taken + peer.connections  # these it was at already
            assert not engine.held
        await desk.close()

    asyncio.run(main())
    assert "An attempt for message" not in caplog.text


def test_a_task_that_runs_while_the_worker_ends_begins_nothing(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    def engines() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "engine"]

    monkeypatch.setattr(worker, "_current", None)
    monkeypatch.setattr(worker, "_is_ending", False)
    lane = str(Lane(organization.pk, "late.test"))
    deliver_task([lane])
    assert len(engines()) == 1
    worker.stop_engine()
    deliver_task([lane])
    wake_due()
    assert engines() == []


@pytest.mark.parametrize("goodbye", [b"", b"421 4.4.2 too long idle\r\n"])
def test_a_kept_connection_that_the_exchanger_ended_costs_nothing(
    organization: Organization, settings: Settings, goodbye: bytes
) -> None:
    seen: list[int] = []

    def behave(verb: bytes, connection: int) -> bytes | None:
        if verb == b"MAIL" and connection == 1:
            seen.append(connection)
            return goodbye if len(seen) == 2 else None
        return None

    peer = Peer(behave)
    deliver(organization, settings, peer, [["a@kept.test"], ["b@kept.test"]])
    assert states() == ["delivered", "delivered"]
    assert peer.connections == 2
    assert Event.objects.filter(type="deferred").count() == 0


def test_after_a_refusal_the_connection_serves_the_next_message(organization: Organization, settings: Settings) -> None:
    refusals = iter([b"550 5.1.1 no\r\n"])
    peer = Peer(lambda verb, connection: next(refusals, None) if verb == b"RCPT" else None)
    deliver(organization, settings, peer, [["a@kept.test"], ["b@kept.test"]])
    assert states() == ["bounced", "delivered"]
    assert peer.connections == 1


def test_a_message_refused_after_data_bounces_with_its_reply(organization: Organization, settings: Settings) -> None:
    peer = Peer(lambda verb, connection: b"554 5.7.1 looks like spam\r\n" if verb == b"." else None)
    deliver(organization, settings, peer, [["a@no.test"]])
    recipient = Recipient.objects.get()
    assert (recipient.state, recipient.reason, recipient.last_reply) == (
        "bounced",
        "spam_suspected",
        "554 5.7.1 looks like spam",
    )


def test_an_exchanger_that_is_away_defers(organization: Organization, settings: Settings) -> None:
    class Away(Peer):
        async def __aenter__(self) -> "Peer":
            await super().__aenter__()
            self._server.close()
            return self

    deliver(organization, settings, Away(), [["a@away.test"]])
    recipient = Recipient.objects.get()
    assert (recipient.state, recipient.reason, recipient.attempts) == ("deferred", "unreachable", 1)
    assert recipient.next_attempt_at is not None


def test_what_a_server_says_between_starttls_and_the_handshake_ends_the_conversation(
    organization: Organization, settings: Settings
) -> None:
    """RFC 3207, 6: somebody in between could have said it."""

    def behave(verb: bytes, connection: int) -> bytes | None:
        if verb == b"EHLO":
            return b"250-peer.test\r\n250 STARTTLS\r\n"
        return b"220 go on\r\n250 injected\r\n" if verb == b"STAR" else None

    deliver(organization, settings, Peer(behave), [["a@injected.test"]])
    recipient = Recipient.objects.get()
    assert (recipient.state, recipient.reason) == ("deferred", "protocol_error")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("224.0.0.1", False),
    ],
)
def test_outside_the_sandbox_mail_goes_to_public_addresses_only(
    settings: Settings, address: str, allowed: bool
) -> None:
    settings.SANDBOX = False
    assert is_allowed(address) is allowed
    settings.SANDBOX = True
    assert is_allowed(address) is (
        address not in {"169.254.169.254", "fe80::1"}
    )  # where clouds tell machines their secrets
