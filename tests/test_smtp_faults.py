"""The SMTP door when what it stands on is gone, and when it is told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from accounts.files import read_settings
from tests.free_port import free_port
from tests.platform import REPO, Platform, running_platform, wait_for
from tests.wire import GOOD, Wire, count_messages, plain, signed_in, wire

pytestmark = [pytest.mark.xdist_group("smtp-faults"), pytest.mark.usefixtures("timelines_agree")]


@pytest.fixture(scope="module")
def mortal() -> Iterator[Platform]:
    with running_platform() as running:
        yield running


COMMIT_TIMEOUT_S, DRAIN_S = 4, 6
IMPATIENT = f"""
import sys, django; django.setup()
from django.core.management import execute_from_command_line
from relay.submission import intake
intake.COMMIT_TIMEOUT_S = {COMMIT_TIMEOUT_S}
execute_from_command_line(sys.argv)
"""


@contextmanager
def frozen(platform: Platform) -> Iterator[None]:
    """PostgreSQL and all its children answer nobody, as a machine does whose network has gone."""
    master = platform.children["postgres"]
    children = subprocess.run(["pgrep", "-P", str(master)], capture_output=True, text=True, check=True).stdout.split()
    pids = [master, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def test_a_database_that_does_not_answer_is_temporary(mortal: Platform) -> None:
    with signed_in(mortal) as client, wire(mortal) as other:
        before = count_messages(mortal)
        other.command("EHLO x")
        other.start_tls()
        other.command("EHLO x")
        time.sleep(3.2)  # what the directory has kept runs out
        with frozen(mortal):
            started = time.monotonic()
            other.send(f"AUTH PLAIN {plain(mortal)}\r\n".encode())
            assert client.command("MAIL FROM:<admin@demo.test>").startswith("451 4.3.0 temporarily_unavailable: ")
            assert other.read().startswith("454 4.7.0 authentication_unavailable: ")  # RFC 4954, 6
            assert time.monotonic() - started < 30
            assert client.command("NOOP").startswith("250 ")
        wait_for(
            lambda: client.commands("RSET", "MAIL FROM:<admin@demo.test>")[-1].startswith("250"), "mail is taken again"
        )
        assert count_messages(mortal) == before


def test_a_database_that_is_lost_in_the_middle_of_a_message_is_temporary(mortal: Platform) -> None:
    before = count_messages(mortal)
    with signed_in(mortal) as client:
        client.envelope()
        assert client.command("DATA").startswith("354")
        killed = mortal.kill("postgres")
        assert client.say(GOOD + b".\r\n").startswith("451 4.3.0 temporarily_unavailable: ")
        assert client.command("NOOP").startswith("250 ")
        mortal.wait_restarted("postgres", killed)

        def delivered() -> bool:
            client.command("RSET")
            if not client.command("MAIL FROM:<admin@demo.test>").startswith("250"):
                return False
            client.commands("RCPT TO:<ada@example.test>", "DATA")
            return client.say(GOOD + b".\r\n").startswith("250 ")

        wait_for(delivered, "the same session sends again", 30)
    assert count_messages(mortal) == before + 1


@contextmanager
def own_process(platform: Platform) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """An SMTP process on the platform's engines that no supervisor hurries, and that loses patience with them soon."""
    port = free_port()
    environment = os.environ | read_settings(platform.var / "up.env") | {"PLUGSEND_VAR": str(platform.var)}
    environment |= {"SMTP_ALT_PORT": "0", "SMTPS_PORT": "0", "SMTP_DRAIN_SECONDS": str(DRAIN_S)}
    command = [
        sys.executable,
        "-c",
        IMPATIENT,
        "smtp",
        "--port",
        str(port),
        "--alternative-port",
        "0",
        "--tls-port",
        "0",
    ]
    process = subprocess.Popen(command, cwd=REPO, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), "it listens")
        yield process, port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        Wire(port).close()
    except OSError:
        return False
    return True


def test_a_database_that_freezes_while_a_message_is_stored_is_temporary_and_the_repeat_is_recognised(
    mortal: Platform,
) -> None:
    keyed = b"X-PlugSend-Idempotency-Key: frozen-1\r\n" + GOOD + b".\r\n"
    with own_process(mortal) as (_, port), signed_in(mortal, port) as client:
        client.patience(60)
        for _ in range(2):  # both committers have their connection: what freezes is the commit
            assert client.deliver(GOOD).startswith("250 ")
        before = count_messages(mortal)
        client.envelope()
        assert client.command("DATA").startswith("354")
        with frozen(mortal):
            started = time.monotonic()
            assert client.say(keyed).startswith("451 4.3.0 temporarily_unavailable: ")
            assert COMMIT_TIMEOUT_S <= time.monotonic() - started < COMMIT_TIMEOUT_S + 30
            assert client.command("NOOP").startswith("250 ")

        def delivered() -> bool:
            client.command("RSET")
            if not client.command("MAIL FROM:<admin@demo.test>").startswith("250"):
                return False
            client.commands("RCPT TO:<ada@example.test>", "DATA")
            return client.say(keyed).startswith("250 ")

        wait_for(delivered, "the same session sends again", 30)
    assert count_messages(mortal) == before + 1


def test_told_to_stop_it_finishes_the_message_in_hand_and_sends_the_others_away(mortal: Platform) -> None:
    with own_process(mortal) as (process, port):
        busy, idle, slow = (Wire(port) for _ in range(3))
        for client in (busy, idle, slow):
            client.read()
            assert client.sign_in(mortal).startswith("235 ")
        for client in (busy, slow):
            client.envelope()
            assert client.command("DATA").startswith("354")
        idle.command("MAIL FROM:<admin@demo.test>")
        before = count_messages(mortal)

        process.terminate()
        started = time.monotonic()
        assert idle.read().startswith("421 4.3.2 shutting_down: ")
        assert idle.is_closed()
        with pytest.raises(OSError, match="refused"):
            Wire(port)
        assert busy.say(GOOD + b".\r\n").startswith("250 2.0.0 Ok: queued as ")  # the time is not up yet
        assert busy.read().startswith("421 4.3.2 shutting_down: ")
        assert slow.read().startswith("421 4.3.2 shutting_down: ")  # when the time is up
        assert process.wait(60) == 0
        assert time.monotonic() - started > DRAIN_S - 0.5
        assert count_messages(mortal) == before + 1
