"""What our delivery makes of exchangers that misbehave at each phase: the timeline of each, by table.

One engine delivers to all of them at once, over the sandbox's DNS, real sockets and real PostgreSQL; on the event loop that
a worker has, and on Python's own.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import psycopg
import pytest
import uvloop
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings

from accounts.credentials import Credential
from accounts.models import Organization
from domains.models import DomainStatus
from domains.services import add_domain
from events.models import Event
from events.reasons import REASONS
from relay.certificates import self_signed
from relay.database import database_url
from relay.delivery.engine import Engine, EngineLimits
from relay.delivery.wire import Timeouts
from relay.lanes import Lane
from relay.models import Recipient
from relay.sandbox.harsh import HarshExchanger, serve_harsh
from relay.sandbox.internet import EXCHANGER, ZoneRows
from relay.sandbox.misbehaviours import ANSWERED, MISBEHAVIOURS, Kind, Phase
from relay.submission.accept import Submission
from relay.submission.desk import Desk
from tests.sandbox_servers import HOST, dns_over, running

# Long enough for a busy machine, far below what any trouble lasts.
TIMEOUTS = Timeouts(**dict.fromkeys(Timeouts.__slots__, 3.0))
DEADLINE_S = 60.0
LONGEST_TRANSCRIPT = 20_000  # characters, whatever the exchanger sends
PLAIN = b"From: ada@acme.test\r\nSubject: Hi\r\n\r\nHello\r\n"
EIGHT_BIT = "From: ada@acme.test\r\nSubject: Hi\r\n\r\nGrüße\r\n".encode()
SEALED = (
    b"From: ada@acme.test\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n"
    b"--b\r\n\r\n" + "Grüße".encode() + b"\r\n--b\r\n\r\nsignature\r\n--b--\r\n"
)
LARGE = PLAIN + (b"x" * 70 + b"\r\n") * 150_000  # more than the kernel's buffers take on both sides


# ---- What is expected ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """How one attempt ends: the recipient's state, which is its last event's type too, and the reason."""

    state: str
    reason: str = ""


DELIVERED = Ending("delivered")
LOST = Ending("deferred", "connection_lost")
ODD = Ending("deferred", "protocol_error")
LATER = Ending("deferred", "temporary_failure")
BUSY = Ending("deferred", "exchanger_busy")
IN_DOUBT = Ending("in_doubt", "outcome_unknown")
REFUSED = Ending("bounced", "permanent_failure")
TOO_LARGE = Ending("bounced", "message_too_large")
NO_MAILBOX = Ending("bounced", "no_such_address")

# Nothing was handed over: whatever happens, it is not in doubt.
BEFORE_THE_DOT = {
    Kind.SILENT: LOST,
    Kind.DROP: LOST,
    Kind.CUT: LOST,
    Kind.CLOSING: BUSY,
    Kind.GARBAGE: ODD,
    Kind.WRONG: ODD,
    Kind.DRIP: LOST,
    Kind.LINES: ODD,
    Kind.LINE: ODD,
    Kind.TEMPORARY: LATER,
    Kind.PERMANENT: REFUSED,
}
# All was handed over: without a clear answer it is in doubt (RFC 5321, 4.5.3.2.6 and 6.1).
AFTER_THE_DOT = {
    **dict.fromkeys(Kind, IN_DOUBT),
    Kind.CLOSING: BUSY,
    Kind.TEMPORARY: LATER,
    Kind.PERMANENT: Ending("bounced", "spam_suspected"),
}
EXPECTED = {
    **{f"ada@{phase}-{kind}": BEFORE_THE_DOT[kind] for phase in ANSWERED for kind in Kind},
    **{f"ada@final-{kind}": AFTER_THE_DOT[kind] for kind in Kind},
    "ada@ehlo-5xx": DELIVERED,  # by HELO
    "ada@greeting-5xx": LATER,  # which is a refusal of us, not of the recipient
    "ada@mail-5xx": Ending("bounced", "sender_rejected"),
    "ada@rcpt-5xx": NO_MAILBOX,
    "ada@starttls-silent": LOST,
    "ada@starttls-drop": LOST,
    "ada@starttls-421": BUSY,
    "ada@starttls-garbage": ODD,
    # Nobody asked for encryption: without it, then (RFC 3207, 4; RFC 7435, 3).
    "ada@starttls-4xx": DELIVERED,
    "ada@starttls-5xx": DELIVERED,
    "ada@handshake-silent": DELIVERED,
    "ada@handshake-drop": DELIVERED,
    "ada@handshake-cut": DELIVERED,
    "ada@handshake-garbage": DELIVERED,
    # The whole of a small message is on its way before the trouble begins.
    "ada@content-silent": IN_DOUBT,
    "ada@content-drop": IN_DOUBT,
    "ada@content-421": BUSY,
    "ada@content-5xx": TOO_LARGE,
    # Of a large one the final dot is not.
    "large@content-silent": LOST,
    "large@content-drop": LOST,
    "large@content-421": BUSY,
    "large@content-5xx": TOO_LARGE,
    "ada@tls-cut-ehlo": LOST,
    "ada@tls-cut-final": IN_DOUBT,
    "ada@tls-silent-final": IN_DOUBT,
    "ada@mixed": DELIVERED,
    "bounce@mixed": NO_MAILBOX,
    "defer@mixed": LATER,
    "full@mixed": Ending("deferred", "mailbox_full"),
    "ada@split": DELIVERED,
    "large@split": DELIVERED,
    "ada@late": DELIVERED,
    "ada@synchronous": DELIVERED,
    "ada@seven-bit": DELIVERED,
    "eight@seven-bit": DELIVERED,  # converted
    "sealed@seven-bit": Ending("bounced", "message_malformed"),  # which must not be
    "ada@eager": ODD,
    "ada@deaf": NO_MAILBOX,
    **{f"{local_part}@pairs": DELIVERED for local_part in "abcde"},
    # One after the other over a connection that is kept: the second does not suffer.
    **{f"bounce@rset-{kind}": NO_MAILBOX for kind in ("silent", "drop", "421", "garbage", "5xx")},
    **{f"ada@rset-{kind}": DELIVERED for kind in ("silent", "drop", "421", "garbage", "5xx")},
    **{f"{who}@idle-{kind}": DELIVERED for who in ("ada", "ben") for kind in ("drop", "421", "garbage")},
}
TOGETHER = [["ada@mixed", "bounce@mixed", "defer@mixed", "full@mixed"], [f"{one}@pairs" for one in "abcde"]]
# Those that do all right towards a client that does, and one that misbehaves only towards several recipients at once.
WITHOUT_TROUBLE = {"mixed", "synchronous", "deaf"}
CONTENTS = {"large": LARGE, "eight": EIGHT_BIT, "sealed": SEALED}


def name_of(who: str) -> str:
    return who.partition("@")[2]


# ---- The run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timeline:
    """Of one recipient."""

    ending: Ending
    events: list[str]
    attempts: int
    reply: str
    is_in_queue: bool
    transcript: str


@dataclass
class Run:
    """What became of everything that was sent."""

    timelines: dict[str, Timeline] = field(default_factory=dict)
    misbehaved: Counter[str] = field(default_factory=Counter)
    dots: Counter[str] = field(default_factory=Counter)
    logged: list[str] = field(default_factory=list)  # as errors of our own


Round = list[tuple[Sequence[str], bytes]]  # recipients and content of each message


async def deliver(organization_id: UUID, rounds: list[Round], is_over: Callable[[], bool]) -> None:
    """Submits each round and waits until it is settled and over. All that this file knows about the engine."""
    credential = Credential(organization_id, False, None, None, frozenset({"send"}), "")
    limits = EngineLimits(lease=timedelta(seconds=30), look_every_s=100)
    desk, engine = Desk(database_url()), Engine(database_url(), limits, timeouts=TIMEOUTS)
    await desk.open()
    await engine.start()
    try:
        for messages in rounds:
            for recipients, content in messages:
                await desk.submit(
                    Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", tuple(recipients), content)
                )
            engine.wake(
                {Lane(organization_id, one.partition("@")[2]) for recipients, _ in messages for one in recipients}
            )
            async with asyncio.timeout(DEADLINE_S):
                while await count_open() or not is_over():
                    await asyncio.sleep(0.05)
    finally:
        await engine.stop(5)
        await desk.close()


async def count_open() -> int:
    """Recipients whose first attempt has not been settled."""
    async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as connection:
        cursor = await connection.execute("SELECT count(*) FROM relay_recipient WHERE state = 'submitted'")
        return sum(row[0] for row in await cursor.fetchall())


def rounds_of_all() -> tuple[list[Round], list[Round]]:
    """Those that need one message each, and those that need one after the other."""
    once: Round = [(group, PLAIN) for group in TOGETHER]
    firsts: Round = []
    seconds: Round = []
    alone = [who for who in EXPECTED if not any(who in group for group in TOGETHER)]
    for who in alone:
        message = ([who], CONTENTS.get(who.partition("@")[0], PLAIN))
        phase = MISBEHAVIOURS[name_of(who)].phase
        if phase is Phase.RSET:
            (firsts if who.startswith("bounce@") else seconds).append(message)
        elif phase is Phase.IDLE:
            (firsts if who.startswith("ada@") else seconds).append(message)
        else:
            once.append(message)
    return [at_harsh(once)], [at_harsh(firsts), at_harsh(seconds)]


def at_harsh(messages: Round) -> Round:
    return [([f"{who}.harsh.test" for who in group], content) for group, content in messages]


@pytest.fixture
def exchanger(tmp_path: Path, settings: Settings) -> Iterator[HarshExchanger]:
    """All of them, and the sandbox's DNS that leads there."""
    starting = serve_harsh(0, certificate=self_signed(tmp_path, EXCHANGER), pace_s=0.1)
    with dns_over(no_rows) as dns_server, running(starting) as harsh:
        settings.RELAY_SMARTHOST = ""
        settings.RETRY_SCALE = 10  # nothing is tried a second time while we look
        settings.DNS_NAMESERVERS = [f"{HOST}:{dns_server.port}"]
        settings.EXCHANGER_PORT = harsh.port
        yield harsh


def deliver_to_all(exchanger: HarshExchanger, new_loop: Callable[[], asyncio.AbstractEventLoop] | None) -> Run:
    organization = Organization.objects.create(name="Acme")
    domain = add_domain(organization, "acme.test")
    domain.status = DomainStatus.VERIFIED
    domain.save()
    run, (at_once, in_turn) = Run(), rounds_of_all()
    listener = logging.Handler(logging.ERROR)
    listener.emit = lambda record: run.logged.append(record.getMessage())  # type: ignore[method-assign]
    at_idle = [name for name, one in MISBEHAVIOURS.items() if one.phase is Phase.IDLE]

    async def main() -> None:
        await deliver(organization.pk, at_once, lambda: True)
        # The second message comes when the exchangers have had their way with the kept connection.
        await deliver(organization.pk, in_turn, lambda: all(exchanger.misbehaved[name] for name in at_idle))

    logging.getLogger().addHandler(listener)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
    finally:
        logging.getLogger().removeHandler(listener)
    run.misbehaved, run.dots = exchanger.misbehaved, exchanger.dots
    run.timelines = read_timelines()
    return run


def read_timelines() -> dict[str, Timeline]:
    events: dict[UUID, list[Event]] = {}
    for event in Event.objects.order_by("id"):
        events.setdefault(event.recipient_id, []).append(event)
    return {
        one.address.removesuffix(".harsh.test"): Timeline(
            ending=Ending(one.state, one.reason),
            events=[event.type for event in events[one.id]],
            attempts=one.attempts,
            reply=one.last_reply,
            is_in_queue=one.next_attempt_at is not None,
            transcript=events[one.id][-1].transcript,
        )
        for one in Recipient.objects.all()
    }


async def no_rows(name: str) -> ZoneRows:
    return ZoneRows()


# ---- What was found --------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("timelines_agree")
@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_each_misbehaviour_has_its_timeline(
    exchanger: HarshExchanger, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    run = deliver_to_all(exchanger, new_loop)
    wrong = [who for who, expected in EXPECTED.items() if run.timelines[who].ending != expected]
    assert not wrong, "\n\n".join(f"{who}: not {EXPECTED[who]} but {run.timelines[who]}" for who in wrong)
    for who, timeline in run.timelines.items():
        check_story(who, timeline)
        # What is not in doubt and to be tried again was not handed over, or refused: it cannot arrive twice.
        if timeline.ending in {LOST, ODD}:
            assert not run.dots[name_of(who)], who
    assert not run.logged, "the engine took an exchanger's fault for its own"
    unseen = {name for name in MISBEHAVIOURS if not run.misbehaved[name]} - WITHOUT_TROUBLE
    assert not unseen, "these never came to misbehave"
    assert not run.misbehaved["synchronous"], "pipelined where it was not offered"


def check_story(who: str, timeline: Timeline) -> None:
    """One attempt, one event for it, and a cause that a reader understands."""
    state = timeline.ending.state
    assert (timeline.attempts, timeline.events) == (1, ["submitted", state]), who
    assert timeline.is_in_queue is (state in {"deferred", "in_doubt"}), who
    assert timeline.ending.reason in REASONS or state == "delivered", who
    assert len(timeline.reply) > len("250 2.0.0 "), who
    assert not timeline.reply.endswith(": "), who
    assert len(timeline.transcript) < LONGEST_TRANSCRIPT, who


def test_every_misbehaviour_is_expected_somewhere() -> None:
    assert {name_of(who) for who in EXPECTED} == set(MISBEHAVIOURS)


def test_the_page_about_them_names_them_all() -> None:
    page = (django_settings.BASE_DIR / "docs" / "sandbox.md").read_text()
    own = [name for name, one in MISBEHAVIOURS.items() if name != f"{one.phase}-{one.kind}"]
    missing = [word for word in [*Phase, *Kind, *own] if f"| `{word}` |" not in page]
    assert not missing


# ---- The exchangers themselves ---------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[HarshExchanger]:
    with running(serve_harsh(0, certificate=self_signed(tmp_path, EXCHANGER), pace_s=0.01)) as harsh:
        yield harsh


def connect(harsh: HarshExchanger, name: str) -> tuple[socket.socket, BinaryIO]:
    opened = socket.create_connection((MISBEHAVIOURS[name].address, harsh.port), timeout=10)
    return opened, opened.makefile("rb")


def test_one_takes_two_recipients_in_a_transaction(served: HarshExchanger) -> None:
    opened, replies = connect(served, "pairs")
    rcpts = b"".join(b"RCPT TO:<%c@pairs.harsh.test>\r\n" % letter for letter in b"abcd")
    opened.sendall(b"HELO me\r\nMAIL FROM:<>\r\n" + rcpts + b"DATA\r\n.\r\nMAIL FROM:<>\r\n" + rcpts)
    codes = [replies.readline()[:3].decode() for _ in range(14)]
    assert codes == ["220", "250", "250", "250", "250", "452", "452", "354", "250", "250", "250", "250", "452", "452"]


def test_one_hangs_up_on_a_client_that_does_not_wait(served: HarshExchanger) -> None:
    opened, replies = connect(served, "synchronous")
    assert replies.readline().startswith(b"220 ")
    opened.sendall(b"HELO me\r\nMAIL FROM:<>\r\n")
    assert replies.read().startswith(b"554 5.5.1 ")
    assert served.misbehaved["synchronous"] == 1


def test_one_promises_to_take_what_it_has_no_recipient_for(served: HarshExchanger) -> None:
    opened, replies = connect(served, "deaf")
    opened.sendall(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<ada@deaf.harsh.test>\r\nDATA\r\n.\r\n")
    assert [replies.readline()[:3] for _ in range(6)] == [b"220", b"250", b"250", b"550", b"354", b"250"]


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, EXCHANGER)
    with running(serve_harsh(0, certificate=certificate)) as harsh, pytest.raises(OSError, match="in use"):
        asyncio.run(serve_harsh(harsh.port, certificate=certificate))
