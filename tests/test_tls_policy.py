"""Which policy rules a conversation, and what a certificate is worth: by table."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from accounts.models import OutgoingTls
from plugsend.templatetags.ui import encryption
from relay.delivery.dane import Dane, DaneState
from relay.delivery.mta_sts import Mode, StsPolicy
from relay.delivery.mta_sts_policies import StsPolicies
from relay.delivery.routing import Hop, Route, Router
from relay.delivery.tls import OPPORTUNISTIC, Source, TlsPolicies, TlsPolicy, Verification, rule
from relay.delivery.verdict import Judge, Verdict, judge
from tests.dns_zone import SERVFAIL, Zone
from tests.pki import Signed, authority, leaf
from tests.policies import sts_policy, tlsa

HOST = "mx.peer.test"
HOP = Hop(HOST, "127.0.0.1", 25)
OPEN, ENCRYPTED, VERIFIED = OutgoingTls.OPPORTUNISTIC, OutgoingTls.ENCRYPTED, OutgoingTls.VERIFIED
NO_STS, ENFORCE, ELSEWHERE = None, sts_policy(Mode.ENFORCE, HOST), sts_policy(Mode.ENFORCE, "mx.elsewhere.test")
TESTING, NONE = sts_policy(Mode.TESTING, HOST), sts_policy(Mode.NONE)
ROOT = authority()
INTERMEDIATE = authority("Intermediate", ROOT)
GOOD = leaf(INTERMEDIATE, HOST, "*.wild.test")
RECORDS = (tlsa(3, 1, 1, GOOD),)
NO_DANE, UNUSABLE = Dane(), Dane(DaneState.UNUSABLE, base=HOST)
USABLE = Dane(DaneState.USABLE, RECORDS, HOST)
LOST = Dane(DaneState.FAILED, base=HOST, error="DNS did not tell")


@pytest.mark.parametrize(
    ("wish", "sts", "dane", "source", "required", "verification", "refusal"),
    [
        (OPEN, NO_STS, NO_DANE, "opportunistic", False, "none", None),
        (ENCRYPTED, NO_STS, NO_DANE, "organization", True, "none", None),
        (VERIFIED, NO_STS, NO_DANE, "organization", True, "pkix", None),
        (OPEN, ENFORCE, NO_DANE, "mta-sts", True, "pkix", None),
        (ENCRYPTED, ENFORCE, NO_DANE, "mta-sts", True, "pkix", None),
        (OPEN, ELSEWHERE, NO_DANE, "mta-sts", True, "pkix", "tls_not_verified"),
        (OPEN, TESTING, NO_DANE, "mta-sts-testing", False, "none", None),
        (ENCRYPTED, TESTING, NO_DANE, "organization", True, "none", None),
        (OPEN, NONE, NO_DANE, "opportunistic", False, "none", None),
        (VERIFIED, NONE, NO_DANE, "organization", True, "pkix", None),
        # DANE comes first, whatever MTA-STS says.
        (OPEN, NO_STS, USABLE, "dane", True, "dane", None),
        (OPEN, ELSEWHERE, USABLE, "dane", True, "dane", None),
        (VERIFIED, NO_STS, USABLE, "dane", True, "dane", None),
        (OPEN, NO_STS, LOST, "dane", True, "none", "dns_failure"),
        (OPEN, ENFORCE, LOST, "dane", True, "none", "dns_failure"),
        # Records that cannot be used still ask for encryption; who asks for more, gets more.
        (OPEN, NO_STS, UNUSABLE, "dane", True, "none", None),
        (OPEN, ENFORCE, UNUSABLE, "mta-sts", True, "pkix", None),
        (ENCRYPTED, NO_STS, UNUSABLE, "dane", True, "none", None),
        (VERIFIED, NO_STS, UNUSABLE, "organization", True, "pkix", None),
    ],
)
def test_who_rules(
    wish: str,
    sts: StsPolicy | None,
    dane: Dane,
    source: str,
    required: bool,
    verification: str,
    refusal: str | None,
) -> None:
    policy = rule(wish, sts, dane, HOP, "peer.test")
    found = (policy.source, policy.required, policy.verification, policy.refusal and policy.refusal.reason)
    assert found == (source, required, verification, refusal)
    assert bool(policy.testing) is (sts is TESTING)


def test_no_rule_makes_a_policy_weaker_than_the_organizations_wish() -> None:
    strength = [Verification.NONE, Verification.PKIX, Verification.DANE]
    for wish, least in ((ENCRYPTED, Verification.NONE), (VERIFIED, Verification.PKIX)):
        for sts in (NO_STS, ENFORCE, ELSEWHERE, TESTING, NONE):
            for dane in (NO_DANE, USABLE, UNUSABLE, LOST):
                policy = rule(wish, sts, dane, HOP, "peer.test")
                assert policy.required
                assert policy.refusal or strength.index(policy.verification) >= strength.index(least)


@pytest.mark.parametrize(
    ("signed", "host", "verdict"),
    [
        (GOOD, HOST, "verified"),
        (GOOD, HOST.upper(), "verified"),
        (GOOD, "a.wild.test", "verified"),
        (GOOD, "b.a.wild.test", "name_mismatch"),
        (GOOD, "mx.other.test", "name_mismatch"),
        (GOOD, "192.0.2.1", "name_mismatch"),
        (leaf(ROOT, HOST, starts=-9, ends=-1), HOST, "expired"),
        (leaf(ROOT, HOST, starts=1), HOST, "not_yet_valid"),
        (leaf(None, HOST), HOST, "self_signed"),
        (leaf(authority("Root of somebody"), HOST), HOST, "untrusted"),
        (Signed(GOOD.certificate, GOOD.key), HOST, "untrusted"),  # the intermediate was not sent
    ],
)
def test_the_verdict(signed: Signed, host: str, verdict: str) -> None:
    assert Judge([ROOT.certificate]).judge(signed.chain, host) == verdict


def test_a_self_signed_certificate_that_the_operator_trusts_is_verified() -> None:
    pinned = leaf(None, HOST)
    one = Judge([ROOT.certificate, pinned.certificate])
    assert one.judge(pinned.chain, HOST) == Verdict.VERIFIED
    assert one.judge(pinned.chain, "mx.other.test") == Verdict.NAME_MISMATCH
    assert one.judge(leaf(None, HOST).chain, HOST) == Verdict.SELF_SIGNED


def test_a_verdict_is_of_this_chain_and_this_host() -> None:
    one = Judge([ROOT.certificate])
    assert one.judge(GOOD.chain, HOST) == one.judge(GOOD.chain, HOST) == Verdict.VERIFIED
    assert one.judge(GOOD.chain, "mx.other.test") == Verdict.NAME_MISMATCH
    assert one.judge(leaf(None, HOST).chain, HOST) == Verdict.SELF_SIGNED


@given(st.lists(st.binary(max_size=60), max_size=3))
@example([b":"])
def test_no_chain_breaks_the_judge(chain: list[bytes]) -> None:
    assert Judge([ROOT.certificate]).judge(tuple(chain), HOST) == Verdict.UNREADABLE
    spoilt = bytearray(GOOD.chain[0])
    for octets in chain:
        for at, octet in enumerate(octets):
            spoilt[(at * 37 + octet) % len(spoilt)] ^= octet
    assert Judge([ROOT.certificate]).judge((bytes(spoilt), *GOOD.chain[1:]), HOST) in set(Verdict)


def test_the_systems_authorities_are_known(settings: Settings, tmp_path: Path) -> None:
    settings.TLS_CA_FILE = ""
    assert judge(GOOD.chain, HOST) == Verdict.UNTRUSTED
    file = tmp_path / "roots.pem"
    file.write_bytes(b"what comes before\n" + ROOT.pem)
    settings.TLS_CA_FILE = str(file)
    assert judge(GOOD.chain, HOST) == Verdict.VERIFIED


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"version": "TLSv1.3", "cipher": "x"}, "TLSv1.3"),  # an event of former times
        (
            {"version": "TLSv1.2", "verdict": "self_signed", "policy": "opportunistic"},
            "TLSv1.2, self-signed certificate",
        ),
        (
            {"version": "TLSv1.3", "verdict": "dane_verified", "policy": "dane"},
            "TLSv1.3, certificate verified by DANE, asked for by the receiver’s DANE records",
        ),
    ],
)
def test_the_timeline_says_it_in_words(tls: dict[str, str], words: str) -> None:
    assert encryption(tls) == words


def policy_over(zone: Zone, wish: str, *, is_authentic: bool = True, is_smarthost: bool = False) -> TlsPolicy:
    async def main() -> TlsPolicy:
        async with zone:
            router = Router(zone.resolver())
            policies = TlsPolicies(router, sts=StsPolicies(router.resolver))
            hop = Hop(HOST, "127.0.0.1", 25, is_authentic, is_smarthost)
            return await policies.policy(Route("peer.test", (HOST,), HOST, is_authentic), hop, wish)

    return asyncio.run(main())


def tlsa_row(usage: int, matching: int = 1) -> str:
    record = tlsa(usage, 1, matching, GOOD)
    return f"{usage} 1 {matching} {record.data.hex()}"


@pytest.mark.parametrize(
    ("rows", "signed", "source", "refusal"),
    [
        ({f"_25._tcp.{HOST} TLSA": [tlsa_row(3)]}, {"test"}, "dane", None),
        ({f"_25._tcp.{HOST} TLSA": [tlsa_row(1)]}, {"test"}, "dane", None),
        ({f"_25._tcp.{HOST} TLSA": [tlsa_row(3)]}, set(), "opportunistic", None),
        ({f"_25._tcp.{HOST} TLSA": SERVFAIL}, {"test"}, "dane", "dns_failure"),
        ({}, {"test"}, "opportunistic", None),
    ],
)
def test_tlsa_records_count_when_signed(
    settings: Settings, rows: dict[str, list[str] | str], signed: set[str], source: str, refusal: str | None
) -> None:
    settings.DNS_VALIDATES = True
    policy = policy_over(Zone({**rows, f"{HOST} A": ["127.0.0.1"]}, signed), OPEN)
    assert (policy.source, policy.refusal and policy.refusal.reason) == (source, refusal)


def test_without_an_authentic_way_or_a_trusted_resolver_there_is_no_dane(settings: Settings) -> None:
    zone = Zone({f"_25._tcp.{HOST} TLSA": [tlsa_row(3)], f"{HOST} A": ["127.0.0.1"]}, {"test"})
    settings.DNS_VALIDATES = True
    assert policy_over(zone, OPEN, is_authentic=False) == OPPORTUNISTIC
    settings.DNS_VALIDATES = False
    assert policy_over(zone, OPEN) == OPPORTUNISTIC


def test_records_at_the_name_behind_an_alias_are_found_first(settings: Settings) -> None:
    settings.DNS_VALIDATES = True
    rows: dict[str, list[str] | str] = {
        f"{HOST} CNAME": ["real.host.test."],
        "real.host.test A": ["127.0.0.1"],
        "_25._tcp.real.host.test TLSA": [tlsa_row(3)],
        f"_25._tcp.{HOST} TLSA": [tlsa_row(3, 2)],
    }
    policy = policy_over(Zone(rows, {"test"}), OPEN)
    assert policy.names == ("real.host.test", HOST, "peer.test")
    assert [record.matching for record in policy.tlsa] == [1]
    del rows["_25._tcp.real.host.test TLSA"]
    policy = policy_over(Zone(rows, {"test"}), OPEN)
    assert policy.names[0] == HOST
    assert [record.matching for record in policy.tlsa] == [2]


def test_for_a_smart_host_only_the_wish_counts(settings: Settings) -> None:
    settings.DNS_VALIDATES = True
    zone = Zone({f"_25._tcp.{HOST} TLSA": [tlsa_row(3)]}, {"test"})
    assert policy_over(zone, ENCRYPTED, is_smarthost=True) == TlsPolicy(Source.ORGANIZATION, required=True)
    assert zone.asked == []


def test_a_policy_ends_with_its_age() -> None:
    assert sts_policy(Mode.ENFORCE, HOST).is_fresh("1", sts_policy(Mode.ENFORCE).fetched_at)
    now = sts_policy(Mode.ENFORCE).fetched_at
    assert not sts_policy(Mode.ENFORCE, HOST).is_fresh("2", now)
    assert not sts_policy(Mode.ENFORCE, HOST, age=timedelta(days=1, seconds=1)).is_fresh("1", now)
