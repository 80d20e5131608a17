"""Load on a platform that is being hurt, and what came of it: each side's own account of who got mail."""

from __future__ import annotations

import itertools
import os
import random
import smtplib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from relay.audit import disagreements
from tests.arrivals import Arrivals, serving
from tests.platform import REPO, Platform, running_platform

CLIENTS = 10
LOADS = itertools.count(1)
DOMAINS = 60
CONNECTIONS = 50
# Pauses of 400 s after a doubt become 4 s; leases are short, so that what died is found soon.
SETTINGS = {"LEASE_SECONDS": "3", "RETRY_SCALE": "0.01", "CONNECTIONS_PER_EXCHANGER": str(CONNECTIONS)}
SECOND_ORGANIZATION = """
from domains.services import add_domain
from domains.smtp_users import create_smtp_user
from plugsend.first_start import verify_in_sandbox
from tests.factories import make_tenant
domain = verify_in_sandbox(add_domain(make_tenant("Second").organization, "second.test"))
made = create_smtp_user(domain, "robot")
print("made", made.smtp_user.address, made.secret)
"""


@contextmanager
def crashing(arrivals: Arrivals, **settings: str) -> Iterator[Platform]:
    with serving(arrivals) as port:
        where = {"RELAY_SMARTHOST": f"127.0.0.1:{port}"}
        with running_platform(**(SETTINGS | where | settings)) as running:
            yield running


# ---- The load --------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """What the clients know. Every submission is to recipients of its own, so nothing is ever sent again."""

    platform: Platform
    credentials: list[tuple[str, str]]
    messages: int
    spread_s: float
    chance: random.Random
    accepted: list[str] = field(default_factory=list)  # recipients of messages that were answered with 250
    unanswered: set[str] = field(default_factory=set)  # of messages that were under way when something died
    refused: set[str] = field(default_factory=set)  # of messages whose content was answered with 4yz
    replies: Counter[str] = field(default_factory=Counter)  # refusals
    messages_accepted: int = 0
    may_end: threading.Event = field(default_factory=threading.Event)
    _numbers: int = 0
    _name: str = field(default_factory=lambda: f"{next(LOADS)}m")  # those of one platform must differ
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until so many are accepted, and until the block has ended."""
        started = time.monotonic()
        threads = [threading.Thread(target=self._send, args=(started, n), daemon=True) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.may_end.set()
            for thread in threads:
                thread.join(120)
        assert not any(thread.is_alive() for thread in threads), "a client hangs"

    @property
    def is_complete(self) -> bool:
        return self.messages_accepted >= self.messages

    @property
    def is_done(self) -> bool:
        return self.is_complete and self.may_end.is_set()

    def _send(self, started: float, client_number: int) -> None:
        """One client: submits, and after whatever failure connects anew and goes on with the next."""
        user, password = self.credentials[client_number % len(self.credentials)]
        submit = _submit_pipelined if client_number % 2 else _submit
        while not self.is_done:
            recipients: list[str] = []
            try:
                with self.platform.smtp(user, password) as client:
                    while not self.is_done:
                        number, recipients = self._next()
                        time.sleep(max(0.0, started + number * self.spread_s / self.messages - time.monotonic()))
                        submit(client, user, recipients)
                        with self._lock:
                            self.accepted += recipients
                            self.messages_accepted += 1
                        recipients = []
            except smtplib.SMTPResponseException as error:
                with self._lock:
                    self.replies[str(error.smtp_code)] += 1
                    self.refused.update(recipients)
                    recipients = []
            except (OSError, smtplib.SMTPException):
                pass
            with self._lock:
                self.unanswered.update(recipients)
            time.sleep(0.1)

    def _next(self) -> tuple[int, list[str]]:
        with self._lock:
            self._numbers += 1
            domain = f"d{self.chance.randrange(DOMAINS)}.test"
            count = 3 if self.chance.random() < 0.1 else 1
            return self._numbers, [f"{self._name}{self._numbers}r{n}@{domain}" for n in range(count)]


def _content(user: str, recipients: list[str]) -> bytes:
    lines = [f"From: {user}", f"To: {', '.join(recipients)}", f"Message-ID: <{recipients[0]}>", "Subject: Load"]
    return "\r\n".join([*lines, "", "Hello there.", ""]).encode()


def _submit(client: smtplib.SMTP, user: str, recipients: list[str]) -> None:
    _expect(250, client.mail(user))
    for recipient in recipients:
        _expect(250, client.rcpt(recipient))
    _expect(250, client.data(_content(user, recipients)))


def _submit_pipelined(client: smtplib.SMTP, user: str, recipients: list[str]) -> None:
    """MAIL, RCPT and DATA in one write (RFC 2920)."""
    lines = [f"MAIL FROM:<{user}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA", ""]
    client.send("\r\n".join(lines))
    codes = [client.getreply() for _ in range(len(recipients) + 2)]
    for reply in codes[:-1]:
        _expect(250, reply)
    _expect(354, codes[-1])
    client.send(_content(user, recipients) + b".\r\n")
    _expect(250, client.getreply())


def _expect(code: int, reply: tuple[int, bytes]) -> None:
    if reply[0] != code:
        raise smtplib.SMTPResponseException(*reply)


# ---- What came of it -------------------------------------------------------------------------------------------------


def wait_all_ended(platform: Platform, within_s: float) -> None:
    def open_ones() -> int | None:
        with suppress(psycopg.OperationalError), platform.database() as connection:
            row = connection.execute(
                "SELECT count(*) FROM relay_recipient WHERE next_attempt_at IS NOT NULL"
            ).fetchone()
            return int(row[0]) if row else None
        return None

    deadline = time.monotonic() + within_s
    while (left := open_ones()) != 0:
        if time.monotonic() > deadline:
            with platform.database() as connection:
                rows = connection.execute(
                    "SELECT state, leased_by IS NOT NULL, attempts, next_attempt_at - now(), address FROM relay_recipient"
                    " WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT 20"
                ).fetchall()
            raise AssertionError(f"{left} recipients did not end within {within_s} s:\n{rows}")
        time.sleep(0.3)


@dataclass
class Ends:
    states: dict[str, str]  # by address, of all that was stored
    doubtful: set[str]  # addresses with an in_doubt event
    disagreements: list[str]
    doubts: int

    @classmethod
    def of(cls, platform: Platform) -> Ends:
        with platform.database() as connection:
            rows = connection.execute(
                "SELECT address, state FROM relay_recipient r JOIN accounts_organization o ON o.id = r.organization_id"
                " WHERE NOT o.is_system"
            ).fetchall()
            doubts = [row[0] for row in connection.execute("SELECT address FROM events_event WHERE type = 'in_doubt'")]
            assert len({row[0] for row in rows}) == len(rows), "a recipient is stored twice"
            return cls(dict(rows), set(doubts), disagreements(connection), len(doubts))


def add_second_organization(platform: Platform) -> tuple[str, str]:
    environment = {"PATH": os.environ["PATH"], "PLUGSEND_VAR": str(platform.var)}
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", SECOND_ORGANIZATION]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=60)
    words = done.stdout.split()
    assert words[:1] == ["made"], done.stdout + done.stderr
    return words[1], words[2]
