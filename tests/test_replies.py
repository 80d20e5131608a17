"""What a receiver's reply means, by table."""

import pytest

from events.reasons import REASONS
from relay.delivery.replies import Reply, classify_reply, make_reply


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


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(550, "5.1.1", "User unknown"), "no_such_address"),
        (Reply(550, "", "No such user here"), "no_such_address"),
        (Reply(550, "5.0.0", "Mailbox does not exist"), "no_such_address"),
        (Reply(452, "4.2.2", "Over quota"), "mailbox_full"),
        (Reply(552, "", "Mailbox full"), "mailbox_full"),
        (Reply(552, "5.3.4", "Message too big"), "message_too_large"),
        (Reply(552, "", "whatever"), "message_too_large"),
        (Reply(451, "4.7.1", "Greylisted, try again later"), "greylisted"),
        (Reply(421, "4.7.0", "Too many connections from you"), "rate_limited"),
        (Reply(421, "4.7.28", "Unusual rate of mail"), "rate_limited"),
        (Reply(550, "5.7.1", "Message looks like spam"), "spam_suspected"),
        (Reply(550, "5.7.1", "Access denied"), "policy"),
        (Reply(550, "5.7.26", "Unauthenticated mail"), "policy"),
        (Reply(554, "5.7.1", "Blocked using a list"), "policy"),
        (Reply(556, "5.1.10", "Recipient domain has a null MX"), "no_mail_for_domain"),
        (Reply(550, "5.2.1", "Account disabled"), "mailbox_disabled"),
        (Reply(553, "5.6.7", "SMTPUTF8 needed"), "no_smtputf8"),
        (Reply(451, "4.3.0", "Local error"), "temporary_failure"),
        (Reply(554, "", "Transaction failed"), "permanent_failure"),
    ],
)
def test_reply_is_classified(reply: Reply, reason: str) -> None:
    assert classify_reply(reply) == reason
    assert reason in REASONS
