"""What a mail that came back is taken for: a table of real-shaped samples (tests/returns), and what hostile ones cost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accounts.ids import uuid7
from events.reasons import REASONS
from relay.delivery.replies import classify_reply, make_reply
from relay.delivery.return_path import message_return_path, return_path
from relay.returns.classify import classify
from relay.returns.diagnosis import diagnose
from tests.reply_samples import SAMPLES as REPLIES
from tests.returning import bounce, complaint

REPO = Path(__file__).resolve().parent.parent
PLACE = REPO / "tests" / "returns"
SAMPLES: list[dict[str, Any]] = json.loads((PLACE / "expected.json").read_text())


def told(raw: bytes) -> tuple[str, str, str | None, str]:
    """Kind, and of the first recipient: address, hard or soft, reason."""
    returned = classify(raw)
    first = next(iter(returned.findings), None)
    return (returned.kind, first.address, first.bounce, first.reason) if first else (returned.kind, "", None, "")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_sample_is_understood(sample: dict[str, Any]) -> None:
    raw = (PLACE / f"{sample['name']}.eml").read_bytes()
    expected = sample["kind"], sample["recipient"], sample["bounce"], sample["reason"]
    assert told(raw) == expected
    assert told(raw.replace(b"\r\n", b"\n")) == expected


def test_each_sample_is_in_the_table() -> None:
    assert {path.stem for path in PLACE.glob("*.eml")} == {sample["name"] for sample in SAMPLES}


def test_every_recipient_of_a_report_has_its_own_reason() -> None:
    [one, other] = classify((PLACE / "qmail-two-recipients.eml").read_bytes()).findings
    assert (one.address, one.reason) == ("ben@lighthouse.example", "no_such_address")
    assert (other.address, other.reason) == ("cleo@lighthouse.example", "mailbox_full")


def test_who_stands_in_our_to_is_no_alias_of_whom_a_server_on_the_way_took_it_for() -> None:
    """The first server may have been one of the sender's own."""
    raw = (
        (PLACE / "exim-mime-generated-from.eml").read_bytes().replace(b"(generated from coach@eastsidehoops.org)", b"")
    )
    [forwarded] = classify(raw).findings
    assert (forwarded.address, forwarded.final_address) == ("coach@eastsidehoops.org", "coachdarnell23@gmail.com")
    [named] = classify(re.sub(rb"(?m)^To: .*?(\r?)$", rb"To: coachdarnell23@gmail.com\1", raw)).findings
    assert (named.address, named.final_address) == ("coachdarnell23@gmail.com", "")


def test_a_late_bounce_has_the_reason_of_the_same_refusal_over_smtp() -> None:
    """Where the table of replies knows a cause. A receiver that gave up after 4xx is, as with us, no cause for suppressing."""
    differing = []
    for line, _ in REPLIES:
        reply = make_reply(int(line[:3]), [line[4:]])
        code, reason, late = reply.code, classify_reply(reply), diagnose(str(reply)).reason
        if reason in ("permanent_failure", "temporary_failure", "policy", "message_malformed"):
            continue
        if code >= 500 and late != reason and reason not in ("unreachable", "connection_lost", "dns_failure"):
            differing.append((str(reply), reason, late))
        if code < 500:
            assert not REASONS[late].hard, reply
    assert differing == []


def test_whose_mail_it_was_is_told_by_our_own_return_path_wherever_it_stands() -> None:
    recipient, message = uuid7(), uuid7()
    path = return_path(recipient, "acme.test")
    assert classify(complaint(path)).recipient_id == recipient
    assert classify(complaint(message_return_path(message, "acme.test"))).message_id == message
    forged = f"{path[:31]}{'a' if path[31] != 'a' else 'b'}{path[32:]}"
    assert classify(complaint(forged)).recipient_id is None
    for header in (
        f"Return-Path: <{path}>",
        f"Authentication-Results: x; spf=pass smtp.mailfrom={path.upper()}; dkim=pass",
    ):
        raw = complaint("redacted@psrp.acme.test").replace(b"Subject: x\r\n", f"{header}\r\nSubject: x\r\n".encode())
        assert classify(raw).recipient_id == recipient
    raw = complaint("x@y.test").replace(b"Subject: x\r\n", f"Message-ID: <{message}@acme.test>\r\n".encode())
    assert classify(raw).message_id == message


# ---- Hostile ---------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        b"Content-Type: multipart/report; boundary=B\r\n", b"Content-Type: multipart/mixed; boundary=\"\"\r\n",
        b"\r\n", b"--B\r\n", b"--B--\r\n", b"Content-Type: message/delivery-status\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\n", b"Action: failed\r\n",
        b"Content-Type: text/html; charset=utf-7\r\n\r\n", b"Final-Recipient: utf-8; \\x{D800}@x.test\r\n",
        b"Status: 5.1.1\r\n", b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n", b"<a@b.test>:\r\n",
        b"Subject: =?idna?B?AAAA?= =?utf-8?Q?=ZZ?=\r\n", b"From: MAILER-DAEMON@x.test\r\n",
        b"Diagnostic-Code: smtp; 550 \xff\x00\r\n",
        b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n", b"<style", b"&#x110000;",
        b"\x1b$B", b"\r", b"\0", b"X-Failed-Recipients: @, a@b, \"x y\"@b.test\r\n",
        b"Content-Type: text/plain; charset=punycode\r\n\r\n",
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=40).map(b"".join))
@example(b"")
@example(b"Subject: =?utf-7?Q?+2AA-?= =?utf-8?Q?=00?=\r\n\r\n")
@example(
    b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: utf-8; a\\x{0}b@\\x{DC00}.test\r\nAction: failed\r\n"
)
def test_nothing_that_comes_makes_it_fail(raw: bytes) -> None:
    returned = classify(raw)
    for one in returned.findings:
        assert one.reason in REASONS or not one.reason
        assert len(one.address) <= 400
        assert "\0" not in f"{one.address}{one.diagnostic}{returned.subject}{returned.reporter}"
        f"{one.address}{one.diagnostic}{one.final_address}{returned.subject}{returned.reporter}".encode()  # no surrogates


HEAD = b"From: MAILER-DAEMON@x.test\nSubject: Undelivered mail\n"
HOSTILE = {
    "nested": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(20_000)),
    "delimiters": HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 200_000,
    "blocks": HEAD + b"Content-Type: message/delivery-status\n\n" + b"Final-Recipient: rfc822;a@b.test\n\n" * 20_000,
    "fields": b"X: y\n" * 200_000,
    "folded": b"Subject: x\n" + b" =?utf-8?Q?a" * 80_000,
    "at signs": HEAD + b"\n" + b"a@" * 400_000,
    "addresses": HEAD + b"\n" + b"a@b.test " * 100_000,
    "address lines": HEAD + b"\n" + b"".join(b"<a%d@b.test>: 550 x\n" % n for n in range(40_000)),
    "dots": HEAD + b"\n<a@" + b"b." * 400_000,
    "spaces": HEAD + b"\n" + b" " * 900_000,
    "one line": HEAD + b"\nuser " * 3 + b"user " * 180_000,
    "tags": HEAD + b"Content-Type: text/html\n\n" + b"<" * 500_000,
    "styles": HEAD + b"Content-Type: text/html\n\n" + b"<style>" * 100_000,
    "entities": HEAD + b"Content-Type: text/html\n\n" + b"&amp" * 200_000,
    "paths": HEAD + b"\n" + b"b+aaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaa@ " * 20_000,
    "quoted printable": HEAD + b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=\n" * 400_000,
    "words": HEAD + b"\n<a@b.test>: " + b"mailbox account user recipient address " * 20_000,
}  # fmt: skip


def test_time_grows_no_faster_than_what_is_read() -> None:
    """Each takes some hundredths of a second; one with the square of its length would never end. The kernel ends what takes a
    minute of CPU time."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "import django; django.setup()\n"
        "from relay.returns.classify import classify; from tests.test_classify_return import HOSTILE\n"
        "for raw in HOSTILE.values(): classify(raw)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "plugsend.settings"}
    subprocess.run([sys.executable, "-c", code], cwd=REPO, env=environment, check=True)


# ---- The command -----------------------------------------------------------------------------------------------------


def test_command_prints_json_and_needs_no_database() -> None:
    environment = {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nowhere"}
    done = subprocess.run(
        [sys.executable, "manage.py", "classify_return"], input=bounce("bob@inbox.test"), cwd=REPO, env=environment,
        capture_output=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["kind"] == "bounce"
    assert answer["reported_by"] == "mx.far.test"
    assert answer["recipients"] == [
        {
            "recipient": "bob@inbox.test", "final_recipient": None, "action": "failed", "status": "5.1.1", "bounce": "hard",
            "reason": "no_such_address", "diagnostic": "550 5.1.1 User unknown",
        }
    ]  # fmt: skip
