"""Made-up mail for `benchmarks.scale`: rows as the platform would have written them, as texts for COPY; each time the same.

One organization sends 40 %, the others the less the smaller they are; two thirds of the mail go to five of 200 destinations.
Most of it is delivered at once; some is deferred before, bounces, is suppressed, cancelled, complained of; what is open is of
the last day and a half. A message has 1.2 recipients, and each of them two events, with the facts and the transcript that the
engine writes.
"""

from __future__ import annotations

import itertools
import json
import random
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

DESTINATIONS = [f"{name}.test" for name in ("gmail", "outlook", "yahoo", "icloud", "web")] + [
    f"company{n}.test" for n in range(195)
]
_WEIGHTS = [30, 15, 10, 6, 5] + [34 / 195] * 195
FIRST_NAMES = (
    "ada",
    "bob",
    "carol",
    "dan",
    "eve",
    "frank",
    "grace",
    "heidi",
    "ivan",
    "judy",
    "mallory",
    "niaj",
    "olivia",
    "peggy",
)
LAST_NAMES = (
    "ng",
    "smith",
    "garcia",
    "mueller",
    "rossi",
    "sato",
    "silva",
    "kowalski",
    "dubois",
    "andersson",
    "okafor",
    "khan",
)
SUBJECTS = (
    ("Your receipt no. {}", "receipt", 25), ("Your order {} has shipped", "shipping", 20), ("Sign-in code {}", "code", 20),
    ("Reset your password", "password", 10), ("Invoice {} is due", "invoice", 8), ("News of the week {}", "newsletter", 15),
    ("Someone mentioned you in #{}", "mention", 2),
)  # fmt: skip
RARE_TAG, RARE_ONE_IN = "campaign:winter", 1000
BOUNCES = (
    ("no_such_address", "550", "5.1.1", "The email account does not exist", 60),
    ("mailbox_full", "552", "5.2.2", "Mailbox is full", 15),
    ("spam_suspected", "554", "5.7.1", "Message rejected as spam", 25),
)
OPEN_MS, DAY_MS = 36 * 3_600_000, 24 * 3_600_000
CONTENT_ONE_IN, CONTENT_DAYS = 50, 7

MESSAGES = (
    "relay_message (id, organization_id, domain_id, door, smtp_user_id, envelope_sender, header_from, subject,"
    " message_id_header, size_bytes, recipient_count, tags, metadata, submitted_at, scheduled_at)"
)
RECIPIENTS = (
    "relay_recipient (id, message_id, organization_id, address, destination, state, attempts, next_attempt_at, expires_at,"
    " reason, last_reply, state_at)"
)
EVENTS = (
    "events_event (id, organization_id, message_id, recipient_id, address, type, occurred_at, attempt, reason, detail,"
    " transcript)"
)
CONTENTS = "relay_content (id, raw)"
SCHEDULED = "relay_scheduledmessage (message_id, organization_id, send_at)"

_TRANSCRIPT = (
    "S: 220 mx1.{domain} ESMTP\\nC: EHLO mail.plugsend.test\\nS: 250-mx1.{domain}\\nS: 250-PIPELINING\\nS: 250-8BITMIME\\n"
    "S: 250 STARTTLS\\nC: STARTTLS\\nS: 220 2.0.0 Ready to start TLS\\nC: MAIL FROM:<b+{tail}@returns.plugsend.test>\\n"
    "S: 250 2.1.0 Ok\\nC: RCPT TO:<{address}>\\nS: 250 2.1.5 Ok\\nC: DATA\\nS: 354 End data with <CR><LF>.<CR><LF>\\n"
    "C: (2,048 octets)\\nS: {reply}\\n"
)
_TLS = {
    "version": "TLSv1.3",
    "cipher": "TLS_AES_256_GCM_SHA384",
    "verdict": "self_signed",
    "policy": "opportunistic",
}
_CONTENT = (
    "From: {sender}\\r\\nTo: {to}\\r\\nSubject: {subject}\\r\\nMessage-ID: <{id}@plugsend.test>\\r\\nMIME-Version: 1.0\\r\\n"
    "Content-Type: text/html; charset=utf-8\\r\\n\\r\\n<h1>Thank you</h1>\\r\\n"
    + "<p>for your order of today.</p>\\r\\n"
    * 60
)


@dataclass(frozen=True, slots=True)
class Sender:
    """An organization, and what it sends as: (SMTP user, its address, its domain's id)."""

    organization_id: UUID
    share: float
    users: list[tuple[UUID, str, UUID]]
    people: int


@dataclass(slots=True)
class Rows:
    """Lines for COPY, by table and columns."""

    of: dict[str, list[str]] = field(
        default_factory=lambda: {table: [] for table in (MESSAGES, RECIPIENTS, EVENTS, CONTENTS, SCHEDULED)}
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """An event after the first, `after_ms` the message's submission."""

    type: str
    after_ms: int
    attempt: int
    reason: str = ""
    code: str = "250"
    enhanced: str = "2.0.0"
    text: str = ""


class Mail:
    """`senders`: their shares together are 1."""

    def __init__(self, senders: list[Sender], start_ms: int, end_ms: int, messages: int) -> None:
        self._senders, self._start_ms, self._end_ms, self._messages = senders, start_ms, end_ms, messages
        self._chance = random.Random(7)
        self._shares = list(itertools.accumulate(sender.share for sender in senders))
        self._weights = list(itertools.accumulate(_WEIGHTS))
        self._kinds = list(itertools.accumulate(kind[2] for kind in SUBJECTS))
        self.events = self.recipients = 0

    def blocks(self, size: int) -> Iterator[Rows]:
        """All messages, so many at a time, in the order of time."""
        for first in range(0, self._messages, size):
            rows = Rows()
            for number in range(first, min(first + size, self._messages)):
                self._message(rows, number)
            self.events += len(rows.of[EVENTS])
            self.recipients += len(rows.of[RECIPIENTS])
            yield rows

    def address_of(self, person: int) -> str:
        """Of a number that stands for a person: always the same address, a name at a destination."""
        first, rest = person % len(FIRST_NAMES), person // len(FIRST_NAMES)
        where = DESTINATIONS[bisect(self._weights, person * 2_654_435_761 % 2**32 / 2**32 * self._weights[-1])]
        return f"{FIRST_NAMES[first]}.{LAST_NAMES[rest % len(LAST_NAMES)]}{rest}@{where}"

    def _message(self, rows: Rows, number: int) -> None:
        chance = self._chance
        ms = self._start_ms + (self._end_ms - self._start_ms) * number // self._messages
        [sender] = chance.choices(self._senders, cum_weights=self._shares)
        user_id, user, domain_id = chance.choice(sender.users)
        [(subject, kind, _)] = chance.choices(SUBJECTS, cum_weights=self._kinds)
        subject, moment = subject.format(number), _at(ms)
        tags = [f"kind:{kind}"] if chance.random() < 0.7 else []
        if chance.randrange(RARE_ONE_IN) == 0:
            tags.append(RARE_TAG)
        draw = chance.random()
        count = 1 if draw < 0.85 else 2 if draw < 0.96 else 3
        id_, self._counter = self._id(ms, 0), 1
        age_ms = self._end_ms - ms
        scheduled = (
            _at(self._end_ms + chance.randrange(DAY_MS)) if age_ms < DAY_MS and chance.random() < 0.01 else "\\N"
        )
        rows.of[MESSAGES].append(
            f"{id_}\t{sender.organization_id}\t{domain_id}\tsmtp\t{user_id}\t{user}\t{user}\t{subject}\t{id_}@mail.test\t2048"
            f'\t{count}\t{{{",".join(tags)}}}\t{{"order": "{number}"}}\t{moment}\t{scheduled}\n'
        )
        if scheduled != "\\N":
            rows.of[SCHEDULED].append(f"{id_}\t{sender.organization_id}\t{scheduled}\n")
        to = ""
        for person in chance.sample(range(sender.people), count):
            to = self.address_of(person)
            self._recipient(rows, sender, id_, ms, to, scheduled)
        if age_ms < CONTENT_DAYS * DAY_MS and number % CONTENT_ONE_IN == 0:
            raw = _CONTENT.format(sender=user, to=to, subject=subject, id=id_).encode().decode("unicode_escape")
            rows.of[CONTENTS].append(f"{id_}\t\\\\x{raw.encode().hex()}\n")

    def _recipient(self, rows: Rows, sender: Sender, message: str, ms: int, address: str, scheduled: str) -> None:
        domain, organization = address.partition("@")[2], sender.organization_id
        id_ = self._id(ms, self._counter)
        state, steps = ("scheduled", [_Step("scheduled", 0, 0)]) if scheduled != "\\N" else self._course(ms)
        self._event(
            rows, organization, message, id_, address, "submitted", ms, '{"door": "smtp", "client": "10.1.2.3"}'
        )
        tail, reply, at_ms = id_[-12:], "", ms
        for step in steps:
            detail = transcript = ""
            at_ms = min(ms + step.after_ms, self._end_ms)
            if step.attempt and step.type != "suppressed":
                reply = f"{step.code} {step.enhanced} {step.text or 'Ok: queued as ' + tail}"
                transcript = _TRANSCRIPT.format(domain=domain, tail=tail, address=address, reply=reply)
                detail = _detail(domain, step, tail)
            story = (detail or "{}", step.attempt, step.reason, transcript)
            self._event(rows, organization, message, id_, address, step.type, at_ms, *story)
        attempts = max((step.attempt for step in steps), default=0)
        last = next((step for step in reversed(steps) if step.type == state), None)
        expires_ms, due = ms + 3 * DAY_MS, "\\N"
        if state == "held":
            due = _at(expires_ms)
        elif state == "scheduled":
            due = scheduled
        elif state in {"submitted", "deferred", "in_doubt"}:
            due = _at(self._end_ms + self._chance.randrange(3_600_000))
        rows.of[RECIPIENTS].append(
            f"{id_}\t{message}\t{organization}\t{address}\t{domain}\t{state}\t{attempts}\t{due}\t{_at(expires_ms)}"
            f"\t{last.reason if last else ''}\t{reply}\t{_at(at_ms)}\n"
        )

    def _course(self, ms: int) -> tuple[str, list[_Step]]:
        """A state, and the events that led there."""
        chance, seconds = self._chance, 1000 + self._chance.randrange(2000)
        busy = _Step("deferred", seconds, 1, "exchanger_busy", "451", "4.3.2", "Try again later")
        doubt = _Step("in_doubt", seconds, 1, "connection_lost", "421", "4.4.2", "Connection lost after the final dot")
        if self._end_ms - ms < OPEN_MS and (draw := chance.random()) < 0.04:
            if draw < 0.003:
                return "held", [_Step("held", seconds, 0)]
            if draw < 0.005:
                return "in_doubt", [doubt]
            if draw < 0.008:
                return "submitted", []
            return "deferred", [busy]
        draw = chance.random()
        if draw < 0.88:
            return "delivered", [_Step("delivered", seconds, 1)]
        if draw < 0.95:
            return "delivered", [busy, _Step("delivered", seconds + 240_000 + chance.randrange(120_000), 2)]
        if draw < 0.952:
            return "delivered", [doubt, _Step("delivered", seconds + 400_000, 2)]
        if draw < 0.954:
            return "delivered", [_Step("delivered", seconds, 1), _Step("complained", seconds + 3_600_000, 0)]
        if draw < 0.984:
            [(reason, code, enhanced, text, _)] = chance.choices(BOUNCES, [bounce[4] for bounce in BOUNCES])
            return "bounced", [_Step("bounced", seconds, 1, reason, code, enhanced, text)]
        if draw < 0.996:
            return "suppressed", [_Step("suppressed", seconds, 1, "no_such_address")]
        if draw < 0.999:
            return "cancelled", [_Step("cancelled", seconds, 0)]
        return "unknown_outcome", [
            _Step("unknown_outcome", seconds, 1, "connection_lost", "421", "4.4.2", "Connection lost")
        ]

    def _event(
        self, rows: Rows, organization: UUID, message: str, recipient: str, address: str, type_: str, ms: int,
        detail: str, attempt: int = 0, reason: str = "", transcript: str = "",
    ) -> None:  # fmt: skip
        self._counter += 1
        rows.of[EVENTS].append(
            f"{self._id(ms, self._counter)}\t{organization}\t{message}\t{recipient}\t{address}\t{type_}\t{_at(ms)}\t{attempt}"
            f"\t{reason}\t{detail}\t{transcript}\n"
        )

    def _id(self, ms: int, counter: int) -> str:
        """A UUIDv7 (RFC 9562, 5.7); of one moment the greater the counter."""
        return f"{ms:012x}7{counter:03x}8{self._chance.getrandbits(60):015x}"


def _at(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _detail(domain: str, step: _Step, tail: str) -> str:
    return json.dumps(
        {
            "reply": {"code": int(step.code), "enhanced": step.enhanced, "text": step.text or f"Ok: queued as {tail}"},
            "exchanger": {"host": f"mx1.{domain}", "address": "192.0.2.7", "port": 25},
            "tls": _TLS,
            "duration_ms": 84.2,
            "phases_ms": {"dns": 2.1, "connect": 0.4, "greeting": 1.2, "tls": 9.7, "mail": 1.1, "rcpt": 1.0, "data": 68.7},
            "dkim": {"domain": "mail.test", "selector": "ps1", "selectors": ["ps1"]},
        }
    )  # fmt: skip
