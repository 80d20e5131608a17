"""TLSA records against certificate chains (RFC 6698, 7671, 7672): by table."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.dane import Tlsa, matches_chain, usable_of
from tests.pki import Signed, authority, leaf
from tests.policies import tlsa

HOST, DOMAIN = "mx.peer.test", "peer.test"
NAMES = (HOST, DOMAIN)
ROOT = authority()
INTERMEDIATE = authority("Intermediate", ROOT)
GOOD = leaf(INTERMEDIATE, HOST)
OF_DOMAIN = leaf(ROOT, DOMAIN)
OTHER = leaf(ROOT, "mx.other.test")
EXPIRED = leaf(ROOT, HOST, starts=-9, ends=-1)
SELF_SIGNED = leaf(None, "whatever.test", starts=-9, ends=-1)
STRANGER = authority("Stranger")
BARE = Signed(GOOD.certificate, GOOD.key)  # sent without what is above it


@pytest.mark.parametrize(
    ("chain", "record", "matches"),
    [
        # DANE-EE: the certificate itself; names and dates do not matter (RFC 7671, 5.1).
        *((GOOD, tlsa(3, selector, matching, GOOD), True) for selector in (0, 1) for matching in (0, 1, 2)),
        (SELF_SIGNED, tlsa(3, 1, 1, SELF_SIGNED), True),
        (GOOD, tlsa(3, 1, 1, OTHER), False),
        (GOOD, tlsa(3, 1, 1, INTERMEDIATE), False),
        (GOOD, tlsa(3, 0, 1, Signed(GOOD.certificate, GOOD.key)), True),
        # DANE-TA: an authority of the chain, the right name, and in time.
        *((GOOD, tlsa(2, selector, matching, ROOT), True) for selector in (0, 1) for matching in (0, 1, 2)),
        (GOOD, tlsa(2, 1, 1, INTERMEDIATE), True),
        (OF_DOMAIN, tlsa(2, 1, 1, ROOT), True),
        (OTHER, tlsa(2, 1, 1, ROOT), False),
        (EXPIRED, tlsa(2, 1, 1, ROOT), False),
        (GOOD, tlsa(2, 1, 1, STRANGER), False),
        (GOOD, tlsa(2, 1, 1, GOOD), True),  # the server's own, named wrongly, is still the one that is named
        (OTHER, tlsa(2, 1, 1, OTHER), False),
        (BARE, tlsa(2, 1, 1, INTERMEDIATE), False),  # nobody sent it
        (BARE, tlsa(2, 0, 0, INTERMEDIATE), True),  # but here DNS holds all of it
        (GOOD, Tlsa(2, 0, 0, b"no certificate"), False),
    ],
)
def test_what_a_record_vouches_for(chain: Signed, record: Tlsa, matches: bool) -> None:
    assert matches_chain(chain.chain, [record], NAMES) is matches


def test_an_authority_that_is_named_but_did_not_sign_vouches_for_nothing() -> None:
    """Anybody can send a foreign authority along."""
    forged = Signed(leaf(STRANGER, HOST).certificate, GOOD.key, (STRANGER.certificate, ROOT.certificate))
    assert not matches_chain(forged.chain, [tlsa(2, 1, 1, ROOT)], NAMES)


def test_with_the_certificate_itself_named_nothing_else_matters() -> None:
    assert matches_chain((GOOD.chain[0], b"rubbish"), [tlsa(3, 1, 1, GOOD)], NAMES)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), min_size=1, max_size=5), st.integers(0, 2))
def test_no_chain_breaks_the_match_and_a_changed_one_never_matches(changes: list[tuple[int, int]], which: int) -> None:
    chain = [bytearray(one) for one in GOOD.chain]
    for at, change in changes:
        chain[which][at % len(chain[which])] ^= change
    changed = tuple(bytes(one) for one in chain)
    records = [tlsa(3, 0, 1, GOOD), tlsa(2, 0, 1, ROOT), tlsa(2, 0, 2, INTERMEDIATE)]
    matched = matches_chain(changed, records[:1], NAMES)
    assert matched is (changed[0] == GOOD.chain[0])
    assert not matches_chain(changed, records[1:], NAMES) or changed[0] == GOOD.chain[0]


def test_one_of_several_records_is_enough() -> None:
    """While a key is changed both stand there (RFC 7671, 8.1)."""
    assert matches_chain(GOOD.chain, [tlsa(3, 1, 1, OTHER), tlsa(3, 1, 1, GOOD)], NAMES)
    assert not matches_chain(GOOD.chain, [], NAMES)
    assert not matches_chain((), [tlsa(3, 1, 1, GOOD)], NAMES)


def test_an_authority_vouches_only_while_the_certificate_is_valid() -> None:
    later = datetime.now(UTC) + timedelta(days=90)
    assert not matches_chain(GOOD.chain, [tlsa(2, 1, 1, ROOT)], NAMES, later)
    assert matches_chain(GOOD.chain, [tlsa(3, 1, 1, GOOD)], NAMES, later)


SHA256, SHA512 = b"\1" * 32, b"\2" * 64


@pytest.mark.parametrize(
    ("records", "usable"),
    [
        ([Tlsa(0, 0, 1, SHA256), Tlsa(1, 1, 1, SHA256)], []),  # RFC 7672, 3.1.3
        ([Tlsa(3, 1, 1, SHA256)], [0]),
        ([Tlsa(2, 0, 2, SHA512), Tlsa(1, 1, 1, SHA256)], [0]),
        ([Tlsa(3, 1, 1, b"short"), Tlsa(3, 1, 2, SHA256), Tlsa(3, 1, 0, b"")], []),
        ([Tlsa(3, 2, 1, SHA256), Tlsa(4, 1, 1, SHA256), Tlsa(3, 1, 3, SHA256)], []),
        # RFC 7671, 9: of the digests the strongest counts, beside whole certificates.
        ([Tlsa(3, 1, 1, SHA256), Tlsa(3, 1, 2, SHA512), Tlsa(3, 1, 0, b"x")], [1, 2]),
        ([Tlsa(3, 1, 1, SHA256), Tlsa(3, 0, 2, SHA512)], [0, 1]),
    ],
)
def test_which_records_are_of_use(records: list[Tlsa], usable: list[int]) -> None:
    assert list(usable_of(records)) == [records[at] for at in usable]
