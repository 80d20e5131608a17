"""What a receiver's reply means, by table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.reasons import REASONS, suppresses
from relay.delivery.replies import Reply, classify_reply, deciding_row, is_throttling, make_reply
from relay.delivery.reply_table import ROWS
from tests.reply_samples import SAMPLES


def reply(line: str) -> Reply:
    return make_reply(int(line[:3]), [line[4:]])


@pytest.mark.parametrize(
    ("code", "lines", "expected"),
    [
        (250, ["2.0.0 Ok: queued"], Reply(250, "2.0.0", "Ok: queued")),
        (250, ["Ok"], Reply(250, "", "Ok")),
        (550, ["5.1.1 No such user", "5.1.1 here"], Reply(550, "5.1.1", "No such user here")),
        (550, ["5.1.1 No such user", "see our page"], Reply(550, "5.1.1", "No such user see our page")),
        (450, ["5.1.1 contradicts itself"], Reply(450, "", "5.1.1 contradicts itself")),
        (354, [""], Reply(354, "", "")),
        (550, ["5.1.1"], Reply(550, "5.1.1", "")),
        (550, ["5.1.10 null MX"], Reply(550, "5.1.10", "null MX")),
    ],
)
def test_reply_is_read(code: int, lines: list[str], expected: Reply) -> None:
    assert make_reply(code, lines) == expected


@pytest.mark.parametrize(("line", "reason"), SAMPLES, ids=[line[:60] for line, _ in SAMPLES])
def test_reply_is_classified(line: str, reason: str) -> None:
    assert classify_reply(reply(line)) == reason


def test_every_row_of_the_table_decides_some_sample() -> None:
    decided = {deciding_row(reply(line)) for line, _ in SAMPLES}
    assert [row for row in ROWS if row not in decided] == []


def test_every_row_names_a_reason() -> None:
    assert {row.reason for row in ROWS} <= REASONS.keys()


@given(
    code=st.integers(400, 599),
    enhanced=st.one_of(
        st.just(""), st.from_regex(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True), st.text(max_size=9)
    ),
    text=st.one_of(st.text(), st.sampled_from([line for line, _ in SAMPLES])),
)
def test_any_reply_has_a_reason(code: int, enhanced: str, text: str) -> None:
    any_reply = Reply(code, enhanced, text)
    assert classify_reply(any_reply) in REASONS
    assert is_throttling(any_reply) in (True, False)


@pytest.mark.parametrize("text", ["a@" * 200_000, "IP" * 200_000, "mailbox " * 50_000, "#5." * 100_000, "." * 400_000])
def test_a_huge_reply_is_read_as_far_as_it_makes_sense(text: str) -> None:
    assert classify_reply(Reply(550, "", text)) in REASONS
    assert classify_reply(Reply(550, "", "User unknown " + text)) == "no_such_address"


@pytest.mark.parametrize(
    ("line", "slow_down"),
    [
        ("421 4.7.28 Unusual rate of unsolicited mail originating from your IP address", True),
        ("421 4.7.28 Unusual rate of mail originating from your DKIM domain", False),
        ("421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume", True),
        ("421 4.3.2 Too many connections", True),
        ("421 closing", True),
        ("451 4.7.650 The mail server has been temporarily rate limited", True),
        ("451 4.7.0 Temporary server error. PRX2", True),
        ("451 IP temporarily blacklisted", True),
        ("550 5.7.1 blocked using zen.spamhaus.org", False),
        ("554 Too many connections from your host", True),
        ("451 4.7.1 Greylisted", False),
        ("421 4.7.0 Greylisted", False),
        ("450 4.2.1 The user you are trying to contact is receiving mail too quickly", False),
        ("452 4.2.2 Mailbox full", False),
        ("421 4.7.26 rate limited because the mail is unauthenticated", False),
        ("454 4.7.1 Relay access denied", False),
        ("421 4.4.2 Timed out waiting for you", False),
        ("451 4.3.0 Local error", False),
        ("550 5.1.1 No such user", False),
        ("554 5.7.1 looks like spam", False),
        ("421 4.7.0 This message is suspicious", False),
    ],
)
def test_a_receiver_that_wants_less_mail_is_heard(line: str, slow_down: bool) -> None:
    assert is_throttling(reply(line)) is slow_down


def test_only_a_dead_address_is_suppressed() -> None:
    hard = {"no_such_address", "mailbox_disabled", "no_such_domain", "no_mail_for_domain"}
    assert {reason for reason in REASONS if suppresses(reason)} == hard
    assert not suppresses("")
    assert not suppresses("manual")
