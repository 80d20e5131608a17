"""What organizations ask of deliveries is kept: encryption, never twice, and no more mail to addresses that are dead."""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import Organization, OutgoingTls
from events.models import Event
from relay.delivery.mta_sts import Mode
from relay.delivery.routing import Hop, Route
from relay.models import MtaStsPolicy, Recipient, Suppression
from tests.dns_zone import Zone
from tests.factories import make_domain, make_tenant
from tests.peer import Peer
from tests.pki import authority, leaf
from tests.policies import tlsa
from tests.test_fairness import Roads, at_work, make_organization, submit

pytestmark = pytest.mark.django_db(transaction=True)

SELF_SIGNED = leaf(None, "mx.inbox.test")


@dataclass(frozen=True)
class Fate:
    """A recipient's last event."""

    type: str
    reason: str
    tls: tuple[str, str] | None  # verdict and policy
    transcript: str


def fates(organization: Organization) -> list[Fate]:
    events = Event.objects.filter(organization=organization).exclude(type="submitted").order_by("id")
    return [
        Fate(one.type, one.reason, _tls(one.detail.get("tls")), one.transcript)
        for one in events
    ]  # fmt: skip


def _tls(told: dict[str, str] | None) -> tuple[str, str] | None:
    return (told["verdict"], told["policy"]) if told else None


def deliver(peer: Peer, *mails: tuple[Organization, str]) -> None:
    """One after the other, each settled before the next is submitted, while the connection may be kept."""

    async def main() -> None:
        async with peer, at_work({"inbox.test": peer.port}) as (desk, engine):
            for settled, (organization, address) in enumerate(mails, 1):
                await submit(desk, engine, organization, address)
                await until_settled(settled)

    asyncio.run(main())


async def until_settled(count: int) -> None:
    async with asyncio.timeout(20):
        while await Event.objects.exclude(type="submitted").acount() < count or (
            await Recipient.objects.filter(leased_by__isnull=False).aexists()
        ):
            await asyncio.sleep(0.01)


def mails_said(peer: Peer) -> list[int]:
    """How many transactions were begun on each connection."""
    return [sum(line.startswith("MAIL") for line in said) for said in peer.said.values()]


# ---- Encryption ------------------------------------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return SELF_SIGNED.server_context(tmp_path)


@pytest.mark.parametrize("wish", [OutgoingTls.ENCRYPTED, OutgoingTls.VERIFIED])
def test_nothing_of_the_mail_is_said_where_encryption_is_not_offered(wish: OutgoingTls) -> None:
    strict, peer = make_organization("strict", outgoing_tls=wish), Peer()
    deliver(peer, (strict, "bob@inbox.test"))
    (fate,) = fates(strict)
    assert (fate.type, fate.reason, fate.tls) == ("deferred", "tls_required", None)
    assert "refused by policy: mx.inbox.test (127.0.0.1) offers no encryption." in fate.transcript
    assert mails_said(peer) == [0]
    assert "bob" not in str(peer.said)


def test_a_certificate_of_nobodys_is_enough_for_encrypted_and_not_for_verified(context: ssl.SSLContext) -> None:
    encrypted = make_organization("encrypted", outgoing_tls=OutgoingTls.ENCRYPTED)
    verified = make_organization("verified", outgoing_tls=OutgoingTls.VERIFIED)
    peer = Peer(context=context)
    deliver(peer, (verified, "bob@inbox.test"), (encrypted, "bob@inbox.test"))
    assert [(one.type, one.reason, one.tls) for one in fates(verified)] == [
        ("deferred", "tls_not_verified", ("self_signed", "organization"))
    ]
    assert [(one.type, one.reason, one.tls) for one in fates(encrypted)] == [
        ("delivered", "", ("self_signed", "organization"))
    ]
    assert mails_said(peer) == [0, 1]
    assert peer.said[1][-1] == "STARTTLS"  # not even another EHLO


def test_a_connection_that_was_verified_serves_all(tmp_path: Path, settings: Settings) -> None:
    root = authority()
    (tmp_path / "roots.pem").write_bytes(root.pem)
    settings.TLS_CA_FILE = str(tmp_path / "roots.pem")
    easy = make_organization("easy")
    verified = make_organization("verified", outgoing_tls=OutgoingTls.VERIFIED)
    peer = Peer(context=leaf(root, "mx.inbox.test").server_context(tmp_path))
    deliver(peer, (easy, "a@inbox.test"), (verified, "b@inbox.test"))
    assert [one.tls for one in fates(easy)] == [("verified", "opportunistic")]
    assert [one.tls for one in fates(verified)] == [("verified", "organization")]
    assert mails_said(peer) == [2]


def test_the_page_tells_what_was_asked_for_and_what_was_found(context: ssl.SSLContext) -> None:
    tenant = make_tenant("strict")
    Organization.objects.filter(pk=tenant.organization.pk).update(outgoing_tls=OutgoingTls.VERIFIED)
    make_domain(tenant.organization, "strict.test")
    deliver(Peer(context=context), (tenant.organization, "bob@inbox.test"))
    page = tenant.client.get(reverse("message", args=[Recipient.objects.get().message_id])).content.decode()
    assert "TLSv1.3, self-signed certificate, asked for by your settings" in page
    assert "The receiver&#x27;s server could not be verified" in page
    assert "refused by policy: mx.inbox.test (127.0.0.1): self-signed certificate." in page


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_kept_connection_serves_the_stricter_only_if_it_satisfies_them(
    context: ssl.SSLContext, is_encrypted: bool
) -> None:
    easy = make_organization("easy")
    encrypted = make_organization("encrypted", outgoing_tls=OutgoingTls.ENCRYPTED)
    verified = make_organization("verified", outgoing_tls=OutgoingTls.VERIFIED)
    peer = Peer(context=context if is_encrypted else None)
    deliver(
        peer, (easy, "a@inbox.test"), (encrypted, "b@inbox.test"), (easy, "c@inbox.test"), (verified, "d@inbox.test")
    )
    assert [one.type for one in fates(easy)] == ["delivered", "delivered"]
    assert fates(verified)[0].type == "deferred"
    assert "d@inbox.test" not in str(peer.said)
    if is_encrypted:
        assert mails_said(peer) == [3, 0]
        assert [one.tls for one in fates(easy)] == [("self_signed", "opportunistic")] * 2
        assert fates(encrypted)[0].tls == ("self_signed", "organization")
        assert "on the connection kept to" in fates(encrypted)[0].transcript
    else:
        assert mails_said(peer) == [1, 0, 1, 0]
        assert "b@inbox.test" not in str(peer.said)
        assert fates(encrypted)[0].reason == "tls_required"


@pytest.mark.parametrize(("version", "is_enough"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)])
def test_what_was_agreed_on_when_nobody_asked_does_not_serve_who_asks(
    context: ssl.SSLContext, version: ssl.TLSVersion, is_enough: bool
) -> None:
    """Old versions (RFC 8996) and weak ciphers are better than none, but not what is meant by encrypted."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    easy, strict = make_organization("easy"), make_organization("strict", outgoing_tls=OutgoingTls.ENCRYPTED)
    peer = Peer(context=context)
    deliver(peer, (easy, "a@inbox.test"), (strict, "b@inbox.test"), (easy, "c@inbox.test"))
    assert [one.type for one in fates(easy)] == ["delivered", "delivered"]
    assert fates(strict)[0].type == ("delivered" if is_enough else "deferred")
    assert "kept" not in fates(strict)[0].transcript
    # A connection that satisfies the strict serves the others too.
    assert mails_said(peer) == ([1, 2] if is_enough else [1, 0, 1])


def test_who_cannot_have_encryption_does_not_keep_others_from_the_exchanger(context: ssl.SSLContext) -> None:
    """Its handshake fails for those who require TLS 1.2; others are served all the same."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    easy, strict = make_organization("easy"), make_organization("strict", outgoing_tls=OutgoingTls.ENCRYPTED)
    peer = Peer(context=context)
    deliver(peer, *((strict, f"r{number}@inbox.test") for number in range(8)), (easy, "a@inbox.test"))
    assert {(one.type, one.reason) for one in fates(strict)} == {("deferred", "tls_failure")}
    assert len(fates(strict)) == 8  # each was tried: nothing was suspended
    assert [one.type for one in fates(easy)] == ["delivered"]


# ---- What the receiver publishes -------------------------------------------------------------------------------------


class Published(Roads):
    """Roads whose policies are asked for, over the zone's name server."""

    def __init__(self, port: int, zone: Zone, *, is_authentic: bool) -> None:
        super().__init__({"inbox.test": port})
        self.resolver = zone.resolver()
        self._is_authentic = is_authentic

    async def hops(self, route: Route, *, source_address: str | None = None) -> AsyncIterator[Hop]:
        async for hop in super().hops(route):
            yield replace(hop, is_smarthost=False, is_authentic=self._is_authentic)


def deliver_by(peer: Peer, organization: Organization, zone: Zone, *, is_authentic: bool = False) -> Fate:
    async def main() -> None:
        async with zone, peer:
            zone.rows = {name.replace("PORT", str(peer.port)): values for name, values in zone.rows.items()}
            async with at_work(Published(peer.port, zone, is_authentic=is_authentic)) as (desk, engine):
                await submit(desk, engine, organization, "bob@inbox.test")
                await until_settled(1)

    asyncio.run(main())
    [fate] = fates(organization)
    return fate


@pytest.mark.parametrize(
    ("mode", "mx", "is_trusted", "fate"),
    [
        (Mode.ENFORCE, "mx.inbox.test", True, ("delivered", "", ("verified", "mta-sts"))),
        (Mode.ENFORCE, "mx.inbox.test", False, ("deferred", "tls_not_verified", ("self_signed", "mta-sts"))),
        (Mode.ENFORCE, "mx.other.test", True, ("deferred", "tls_not_verified", None)),
        (Mode.TESTING, "mx.other.test", False, ("delivered", "", ("self_signed", "mta-sts-testing"))),
    ],
)
def test_an_mta_sts_policy_is_kept(
    tmp_path: Path, settings: Settings, mode: Mode, mx: str, is_trusted: bool, fate: tuple[object, ...]
) -> None:
    root = authority()
    (tmp_path / "roots.pem").write_bytes(root.pem)
    settings.TLS_CA_FILE = str(tmp_path / "roots.pem")
    now = timezone.now()
    MtaStsPolicy.objects.create(
        domain="inbox.test", policy_id="1", mode=mode, mx=[mx], fetched_at=now, expires_at=now + timedelta(days=1)
    )
    signed = leaf(root if is_trusted else None, "mx.inbox.test")
    zone = Zone({"_mta-sts.inbox.test TXT": ['"v=STSv1; id=1"']})
    found = deliver_by(Peer(context=signed.server_context(tmp_path)), make_organization("easy"), zone)
    assert (found.type, found.reason, found.tls) == fate


@pytest.mark.parametrize(
    ("is_it", "is_authentic", "fate"),
    [
        (True, True, ("delivered", "", ("dane_verified", "dane"))),
        (False, True, ("deferred", "tls_not_verified", ("dane_mismatch", "dane"))),
        (False, False, ("delivered", "", ("self_signed", "opportunistic"))),  # nobody vouches for the record
    ],
)
def test_dane_rules_where_dnssec_vouches_for_it(
    context: ssl.SSLContext, settings: Settings, is_it: bool, is_authentic: bool, fate: tuple[object, ...]
) -> None:
    settings.DNS_VALIDATES = True
    record = tlsa(3, 1, 1, SELF_SIGNED if is_it else leaf(None, "mx.inbox.test"))
    data = f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"
    zone = Zone({"mx.inbox.test A": ["127.0.0.1"], "_PORT._tcp.mx.inbox.test TLSA": [data]}, signed={"inbox.test"})
    found = deliver_by(Peer(context=context), make_organization("easy"), zone, is_authentic=is_authentic)
    assert (found.type, found.reason, found.tls) == fate


# ---- Never twice -----------------------------------------------------------------------------------------------------


def hangs_up_after_the_dot(times: int) -> Callable[[bytes, int], bytes | None]:
    return lambda verb, connection: b"" if verb == b"." and connection <= times else None


def test_never_twice_leaves_an_unknown_outcome_alone(settings: Settings) -> None:
    settings.RETRY_SCALE = 0.0001  # a retry would come at once
    careful, other = make_organization("careful", never_twice=True), make_organization("other")
    peer = Peer(hangs_up_after_the_dot(2))

    async def main() -> None:
        async with peer, at_work({"inbox.test": peer.port}) as (desk, engine):
            await submit(desk, engine, careful, "bob@inbox.test")
            await until_settled(1)
            await submit(desk, engine, other, "bob@inbox.test")
            async with asyncio.timeout(20):
                while not await Event.objects.filter(type="delivered").aexists():
                    await engine.look()
                    await asyncio.sleep(0.05)

    asyncio.run(main())
    assert [(one.type, one.reason) for one in fates(careful)] == [("unknown_outcome", "outcome_unknown")]
    assert [one.type for one in fates(other)] == ["in_doubt", "delivered"]
    assert [b"ada@careful.test" in message for message in peer.messages] == [True, False, False]
    assert Recipient.objects.get(organization=careful).next_attempt_at is None


# ---- Suppression -----------------------------------------------------------------------------------------------------


def test_an_address_that_is_dead_is_not_tried_again() -> None:
    acme, other = make_organization("acme"), make_organization("other")
    peer = Peer(answer_line=lambda line: b"550 5.1.1 no such user\r\n" if b"bob@" in line.lower() else None)
    deliver(
        peer,
        (acme, "Bob@inbox.test"), (acme, "bob@inbox.test"), (acme, "ada@inbox.test"), (other, "bob@inbox.test"),
    )  # fmt: skip
    assert [(one.type, one.reason) for one in fates(acme)] == [
        ("bounced", "no_such_address"), ("suppressed", "suppressed"), ("delivered", ""),
    ]  # fmt: skip
    assert [one.type for one in fates(other)] == ["bounced"]  # another organization's list is its own
    suppressed = Recipient.objects.get(state="suppressed")
    assert (suppressed.address, suppressed.next_attempt_at) == ("bob@inbox.test", None)
    assert not Event.objects.get(type="suppressed").transcript
    rcpts = [line for said in peer.said.values() for line in said if line.startswith("RCPT")]
    assert sum("ob@" in line for line in rcpts) == 2  # one of each organization
    made = Suppression.objects.get(organization=acme)
    assert (made.address, made.reason, made.reply) == ("bob@inbox.test", "no_such_address", "550 5.1.1 no such user")
