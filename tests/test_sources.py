"""Mail leaves from the addresses that its organization or domain is pinned to, under the names of these addresses."""

import asyncio
from uuid import UUID

import pytest

from accounts.credentials import Credential
from accounts.models import Organization
from domains.models import DomainStatus, SendingDomain
from domains.services import add_domain
from events.models import Event
from relay.lanes import Lane
from relay.models import IpPool, PoolAssignment, SourceAddress
from relay.submission.accept import Submission
from tests.peer import Peer
from tests.test_fairness import at_work, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

TWO, THREE, FOUR = "127.0.0.2", "127.0.0.3", "127.0.0.4"
NAMES = {address: f"out{address[-1]}.pool.test" for address in (TWO, THREE, FOUR)}


class Impatient(Peer):
    """Takes one message on each connection, and hangs up at the second."""

    def __init__(self) -> None:
        super().__init__(lambda verb, connection: b"" if verb == b"MAIL" and connection in self.carriers else None)


def make_pool(name: str, *addresses: str, is_active: bool = True) -> IpPool:
    pool = IpPool.objects.create(name=name)
    for address in addresses:
        SourceAddress.objects.create(pool=pool, address=address, ehlo_name=NAMES[address], is_active=is_active)
    return pool


def make_domain(organization: Organization, name: str) -> SendingDomain:
    domain = add_domain(organization, name)
    domain.status = DomainStatus.VERIFIED
    domain.save()
    return domain


def mail(organization_id: UUID, domain: str, number: int) -> Submission:
    credential = Credential(organization_id, False, None, None, frozenset({"send"}), "")
    content = f"From: ada@{domain}\r\n\r\nHello\r\n".encode()
    return Submission(credential, "smtp", "ESMTPSA", f"ada@{domain}", (f"r{number}@inbox.test",), content)


def deliver(peer: Peer, senders: list[tuple[UUID, str]], each: int = 1) -> None:
    """So many messages of each (organization, domain), all to one exchanger, all at once."""

    async def main() -> None:
        async with peer, at_work({"inbox.test": peer.port}) as (desk, engine):
            submissions = [mail(*sender, number) for number in range(each) for sender in senders]
            await asyncio.gather(*map(desk.submit, submissions))
            engine.wake({Lane(organization_id, "inbox.test") for organization_id, _ in senders})
            await wait_until(lambda: len(peer.messages) == len(submissions))
            await wait_until(lambda: not engine.held)

    asyncio.run(main())


def ways(peer: Peer, domain: str) -> set[tuple[str, str]]:
    """From which address and under which name a domain's mail came."""
    carriers = {
        connection
        for message, connection in zip(peer.messages, peer.carriers, strict=True)
        if f"\r\nFrom: ada@{domain}\r\n".encode() in message
    }
    return {(peer.sources[one], peer.said[one][0].removeprefix("EHLO ")) for one in carriers}


def test_each_pools_mail_has_its_own_connections() -> None:
    pinned, free = (Organization.objects.create(name=name) for name in ("pinned", "free"))
    make_domain(pinned, "pinned.test")
    special = make_domain(pinned, "special.test")
    make_domain(free, "free.test")
    PoolAssignment.objects.create(pool=make_pool("main", TWO), organization=pinned)
    PoolAssignment.objects.create(pool=make_pool("own", THREE), domain=special)
    peer = Peer(delay_s=0.01)

    deliver(peer, [(pinned.pk, "pinned.test"), (pinned.pk, "special.test"), (free.pk, "free.test")], each=30)

    assert ways(peer, "pinned.test") == {(TWO, NAMES[TWO])}
    assert ways(peer, "special.test") == {(THREE, NAMES[THREE])}
    assert {source for source, _ in ways(peer, "free.test")} == {"127.0.0.1"}
    assert not {name for _, name in ways(peer, "free.test")} & set(NAMES.values())
    assert peer.connections < 90  # they were kept for more than one message
    transcripts = Event.objects.filter(type="delivered", transcript__contains="EHLO out2.pool.test")
    assert transcripts.exists()
    assert all(f"from {TWO}\n" in event.transcript for event in transcripts)


def test_a_pools_active_addresses_share_its_mail_each_under_its_name() -> None:
    acme = Organization.objects.create(name="acme")
    make_domain(acme, "acme.test")
    pool = make_pool("main", TWO, THREE)
    SourceAddress.objects.create(pool=pool, address=FOUR, ehlo_name=NAMES[FOUR], is_active=False)
    PoolAssignment.objects.create(pool=pool, organization=acme)
    peer = Impatient()

    deliver(peer, [(acme.pk, "acme.test")], each=60)  # of which each address gets none once in 10^18 times

    assert ways(peer, "acme.test") == {(TWO, NAMES[TWO]), (THREE, NAMES[THREE])}


def test_the_address_of_the_other_family_is_taken_where_one_cannot_reach_the_exchanger() -> None:
    acme = Organization.objects.create(name="acme")
    make_domain(acme, "acme.test")
    pool = make_pool("main", TWO)
    SourceAddress.objects.create(pool=pool, address="::1", ehlo_name="out6.pool.test")
    PoolAssignment.objects.create(pool=pool, organization=acme)
    peer = Impatient()

    deliver(peer, [(acme.pk, "acme.test")], each=30)

    assert ways(peer, "acme.test") == {(TWO, NAMES[TWO])}
    assert not Event.objects.filter(type="deferred").exists()


def test_an_address_that_is_not_ours_does_not_keep_others_from_the_exchanger() -> None:
    pinned, free = (Organization.objects.create(name=name) for name in ("pinned", "free"))
    make_domain(pinned, "pinned.test")
    make_domain(free, "free.test")
    pool = IpPool.objects.create(name="elsewhere")
    SourceAddress.objects.create(pool=pool, address="192.0.2.77", ehlo_name="out.elsewhere.test")
    PoolAssignment.objects.create(pool=pool, organization=pinned)
    peer = Peer()

    async def main() -> None:
        async with peer, at_work({"inbox.test": peer.port}) as (desk, engine):
            for number in range(8):
                await desk.submit(mail(pinned.pk, "pinned.test", number))
            engine.wake({Lane(pinned.pk, "inbox.test")})
            async with asyncio.timeout(20):
                while await Event.objects.filter(type="deferred").acount() < 8:
                    await asyncio.sleep(0.01)
            assert not engine.groups["mx.inbox.test"].throttle.is_troubled
            await desk.submit(mail(free.pk, "free.test", 0))
            engine.wake({Lane(free.pk, "inbox.test")})
            await wait_until(lambda: peer.messages)

    asyncio.run(main())
    assert ways(peer, "free.test")
    assert "connecting to mx.inbox.test (127.0.0.1" in Event.objects.filter(type="deferred")[0].transcript
