"""What pages and REST cost beside 50 thousand and 5 million messages: loads made-up mail, then asks as people and programs do.

    python -m benchmarks.scale [--messages 50000,5000000] [--rounds 40] [--at FOLDER] [--prepare COMMAND] [--only WORD]

Each number of messages has a PostgreSQL of its own, as the platform starts it, in which mail of 30 days and 50 organizations
(one sends 40 %) is loaded by COPY into the real, partitioned, indexed tables (`benchmarks.made_up`). Then each page and each
operation is asked for by Django's test client: signed in, or with an API key, through all middleware, walls and templates. The
figures are those of whole answers, warm. At the end states and events are audited (`manage.py audit_timelines`).

`--at` keeps the data there, and finds it again; else it is below /tmp and goes. 5 million messages have about 12 million events
and take some 26 GB. `--prepare` runs a command of manage.py after loading, for tables that are made from the log.
Exit code 1: a page took more than 100 ms (p95), or more than twice as long beside the most messages as beside the fewest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks.made_up import RARE_TAG, Mail, Sender
from plugsend.engines import running

if TYPE_CHECKING:
    import psycopg

DAYS = 30
ORGANIZATIONS, GREATEST_SHARE = 50, 0.4
DOMAINS, USERS = 2, 3  # of an organization; of a domain
PEOPLE = 1_000_000  # of all organizations, by their shares
AT_ONCE = 10_000  # messages in a COPY
WARM_UP = 5
MOST_P95_MS, MOST_GROWTH = 100.0, 2.0
NOISE_MS = 2.0  # what a page may grow by, however little it takes
SAMPLES = 400  # messages that are asked for

Times = dict[str, tuple[float, float]]  # p50 and p95, ms


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--messages", default="50000,5000000")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--at", type=Path, help="keep the data below this folder")
    parser.add_argument("--prepare", action="append", default=[], help="a command of manage.py")
    parser.add_argument("--only", default="", help="what has this word in its name")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_one(options)))
        return 0
    columns: dict[int, Times] = {}
    with ExitStack() as stack:
        if options.at is None:
            options.at = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plugsend-scale-")))
        options.at.mkdir(exist_ok=True)
        options.at.chmod(0o711)  # as root the engines' account must be able to pass
        for messages in map(int, options.messages.split(",")):
            given = [f"--rounds={options.rounds}", f"--at={options.at}", f"--only={options.only}"]
            given += [f"--prepare={command}" for command in options.prepare]
            # A process for each: Django knows one database for as long as it lives.
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", f"--one={messages}", *given], stdout=subprocess.PIPE, check=True
            )  # fmt: skip
            columns[messages] = json.loads(done.stdout)
    return show(columns)


def show(columns: dict[int, Times]) -> int:
    fewest, most = min(columns), max(columns)
    print(f"| p50 / p95 in ms | {' | '.join(f'{count:,} messages' for count in columns)} | growth p50 / p95 |")
    print("|---|" + "---|" * (len(columns) + 1))
    missed = []
    for name, few in columns[fewest].items():
        many = columns[most][name]
        growth = [b / a for a, b in zip(few, many, strict=True)]
        cells = [f"{column[name][0]:.1f} / {column[name][1]:.1f}" for column in columns.values()]
        print(f"| {name} | {' | '.join(cells)} | {growth[0]:.2f} / {growth[1]:.2f} |")
        if many[1] > MOST_P95_MS or (growth[1] > MOST_GROWTH and many[1] - few[1] > NOISE_MS):
            missed.append(name)
    if missed:
        print(f"\nOver {MOST_P95_MS:.0f} ms, or grown more than {MOST_GROWTH:.0f} times: {'; '.join(missed)}")
    return int(bool(missed))


# ---- One number of messages ------------------------------------------------------------------------------------------


def measure_one(options: argparse.Namespace) -> Times:
    home = options.at / str(options.one)
    home.mkdir(exist_ok=True)
    home.chmod(0o711)
    with running(home, durable=False) as engines:
        os.environ |= {"PLUGSEND_VAR": str(home), "DATABASE_URL": engines.database_url, "REDIS_URL": engines.redis_url}
        os.environ |= {"DJANGO_SETTINGS_MODULE": "plugsend.settings", "API_KEY_RATE": "1000000"}
        os.environ |= {"API_ORGANIZATION_RATE": "1000000"}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True)
        import django

        django.setup()
        loaded = home / "loaded"
        if not loaded.exists():
            load(options.one)
            for command in options.prepare:
                from django.core.management import call_command

                call_command(*command.split(), stdout=sys.stderr)
            loaded.touch()
        times = Asking(options.rounds, options.only).times()
        say(audited())
        return times


def say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", file=sys.stderr, flush=True)


def load(messages: int) -> None:
    from django.db import connection

    from events.partitions import make_partitions

    now = datetime.now(UTC)
    start = (now - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    make_partitions([start + timedelta(days=day) for day in range(DAYS + 7)])
    mail = Mail(senders(), int(start.timestamp() * 1000), int(now.timestamp() * 1000), messages)
    began = time.monotonic()
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    with raw.cursor() as cursor:
        for number, rows in enumerate(mail.blocks(AT_ONCE)):
            for table, lines in rows.of.items():
                with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                    copy.write("".join(lines))
            if number % 50 == 49:
                say(f"{(number + 1) * AT_ONCE:,} messages in {time.monotonic() - began:.0f} s")
        cursor.execute("VACUUM ANALYZE")
    say(f"loaded {messages:,} messages, {mail.recipients:,} recipients, {mail.events:,} events")


def senders() -> list[Sender]:
    """The greatest first; the shares of the others fall from one to the next."""
    from django.utils import timezone

    from accounts.models import User
    from accounts.services import create_organization
    from domains.models import DomainStatus, SendingDomain, SmtpUser

    rest = [1 / (rank + 3) for rank in range(ORGANIZATIONS - 1)]
    shares = [GREATEST_SHARE, *(share / sum(rest) * (1 - GREATEST_SHARE) for share in rest)]
    made = []
    for number, share in enumerate(shares):
        owner = User.objects.create_user(f"owner{number}@people.test")
        organization = create_organization(f"Organization {number}", owner)
        users = []
        for name in ("shop", "news")[:DOMAINS]:
            domain = SendingDomain.objects.create(
                organization=organization, name=f"{name}{number}.test", status=DomainStatus.VERIFIED, verified_at=timezone.now()
            )  # fmt: skip
            for local_part in ("orders", "team", "no-reply")[:USERS]:
                user = SmtpUser.objects.create(
                    organization=organization, domain=domain, address=f"{local_part}@{domain.name}"
                )
                users.append((user.pk, user.address, domain.pk))
        made.append(Sender(organization.pk, share, users, people=max(1000, int(share * PEOPLE))))
    return made


def audited() -> str:
    """In a process of its own, so that its memory is known."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "manage.py", "audit_timelines"], capture_output=True, text=True, check=False)
    mebibytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    told = (done.stdout + done.stderr).strip()[-500:]
    return f"audit_timelines: {time.monotonic() - began:.1f} s, at most {mebibytes} MiB: {told}"


# ---- Asking ----------------------------------------------------------------------------------------------------------


class Asking:
    """As the owner of the greatest organization, with a full API key of it; as that of the least; as an operator."""

    def __init__(self, rounds: int, only: str) -> None:
        from django.test import Client

        from accounts.api_keys import create_api_key
        from accounts.models import Organization, User

        self._rounds, self._only, self._chance = rounds, only, random.Random(7)
        by_name = {one.name: one for one in Organization.objects.filter(is_system=False)}
        self.great, self.small = by_name["Organization 0"], by_name[f"Organization {ORGANIZATIONS - 1}"]
        self.key = create_api_key(self.great, "benchmark").secret
        self.clients: dict[Any, Any] = {one: Client(headers={"host": "localhost"}) for one in (self.great, self.small)}
        for organization, client in self.clients.items():
            client.force_login(organization.memberships.get().user)
        self.clients["operator"] = Client(headers={"host": "localhost"})
        operator = User.objects.filter(is_superuser=True).first() or User.objects.create_superuser(
            "operator@people.test"
        )
        self.clients["operator"].force_login(operator)
        self.samples = {one: self._sample(one) for one in (self.great, self.small)}

    def _sample(self, organization: Any) -> list[tuple[UUID, str]]:
        """Messages of all days, each with the address of a recipient."""
        from relay.models import Message, Recipient

        def nearest(low: UUID, high: UUID) -> UUID | None:
            span = Message.objects.filter(organization=organization, id__gte=low, id__lt=high)
            return span.order_by("id").values_list("id", flat=True).first()

        first, last = (
            Message.objects.filter(organization=organization).order_by(order).values_list("id", flat=True)[0]
            for order in ("id", "-id")
        )
        found = []
        for _ in range(SAMPLES):
            low = UUID(int=self._chance.randrange(first.int, last.int))
            if message_id := nearest(low, last):
                addresses = Recipient.objects.filter(message_id=message_id, id__gte=message_id)
                found.append((message_id, addresses.values_list("address", flat=True)[0]))
        return found

    def times(self) -> Times:
        return {name: self._timed(name, work) for name, work in self._works() if self._only in name}

    def _works(self) -> Iterable[tuple[str, Callable[[], None]]]:
        yield "page: overview", self.page("/overview/")
        yield "page: overview, small organization", self.page("/overview/", of=self.small)
        yield "page: messages", self.page("/messages/")
        yield "page: messages, small organization", self.page("/messages/", of=self.small)
        yield "page: messages, deep", self.page("/messages/", before=self.any_id)
        yield "page: by recipient", self.page("/messages/", q=self.any_address)
        yield "page: by recipient, small organization", self.page("/messages/", of=self.small, q=self.any_address)
        yield "page: by recipient without mail", self.page("/messages/", q="nobody@nowhere.test")
        yield "page: by part of an address", self.page("/messages/", q="garcia")
        yield "page: by destination", self.page("/messages/", q="@company7.test")
        yield "page: by state, bounced", self.page("/messages/", state="bounced")
        yield "page: by state, bounced, deep", self.page("/messages/", state="bounced", before=self.any_id)
        yield "page: by state, in the queue", self.page("/messages/", state="open")
        yield "page: by state and reason", self.page("/messages/", state="bounced", reason="mailbox_full")
        yield "page: by sender", self.page("/messages/", sender="team@news0.test")
        yield "page: by sender without mail", self.page("/messages/", sender="nobody@news0.test", last="7d")
        yield "page: by part of a subject", self.page("/messages/", subject="password")
        yield "page: statistics, 7 days", self.page("/statistics/", range="7d")
        yield "page: statistics, 30 days by provider", self.page("/statistics/", range="30d", by="provider")
        yield "page: find, by recipient", self.page("/find/", q=self.any_address)
        yield "page: find, by recipient without mail", self.page("/find/", q="nobody@nowhere.test")
        yield "page: find, by id", self.page("/find/", q=self.any_id)
        yield "page: find, by a word", self.page("/find/", q="news")
        yield "page: one message", lambda: self.get(self.clients[self.great], f"/messages/{self.any_id()}/")
        yield from self._operators_works()
        yield "REST: GET /emails", self.rest("emails")
        yield "REST: GET /emails, 100, deep", self.rest("emails", limit="100", after=self.any_id)
        yield "REST: GET /emails by recipient", self.rest("emails", recipient=self.any_address)
        yield "REST: GET /emails by state", self.rest("emails", state="bounced", after=self.any_id)
        yield "REST: GET /emails by rare tag", self.rest("emails", tag=RARE_TAG)
        yield "REST: GET /emails by sender domain", self.rest("emails", domain="news0.test")
        yield "REST: GET /emails by SMTP user", self.rest("emails", smtp_user="team@news0.test", after=self.any_id)
        yield "REST: GET /emails by metadata, a day", self.rest("emails", **{"metadata[order]": "1"}, **self.a_day())
        yield "REST: GET /emails of a day", self.rest("emails", since=self.any_day)
        yield "REST: GET /emails/{id}", lambda: self.ask(f"emails/{self.any_id()}")
        yield "REST: GET /emails/{id}/events", lambda: self.ask(f"emails/{self.any_id()}/events")
        yield "REST: GET /statistics, 30 days", self.rest("statistics", range="30d")
        yield "REST: GET /events, 100", self.rest("events", limit="100", after=self.any_id)
        yield "REST: GET /events, 100 bounces", self.rest("events", limit="100", after=self.any_id, type="bounced")
        yield "REST: GET /events of a domain", self.rest("events", limit="100", after=self.any_id, domain="news0.test")
        yield "REST: GET /events, nothing new", self.rest("events", since=lambda: datetime.now(UTC).isoformat())

    def _operators_works(self) -> Iterable[tuple[str, Callable[[], None]]]:
        at = {"messages": "relay/message", "recipients": "relay/recipient", "events": "events/event"}
        at |= {
            "contents": "relay/content",
            "webhook deliveries": "webhooks/webhookdelivery",
            "audit log": "accounts/auditentry",
        }
        at |= {"suppressions": "relay/suppression", "what came back": "relay/returnedmessage"}
        yield "operators: dashboard", self.operator("")
        yield "operators: organization", self.operator(f"accounts/organization/{self.great.pk}/change/")
        yield "operators: organizations, by name", self.operator("accounts/organization/", q="Organization 7")
        yield "operators: people, by name", self.operator("accounts/user/", q="owner")
        yield "operators: destinations", self.operator("relay/pauseddestination/")
        for name, path in at.items():
            yield f"operators: {name}", self.operator(f"{path}/")
        for name in ("messages", "recipients", "events", "contents"):
            yield f"operators: {name}, deep", self.operator(f"{at[name]}/", before=self.any_id)
            yield f"operators: {name}, by id", self.operator(f"{at[name]}/", q=self.any_id)
        for name in ("messages", "recipients"):
            yield f"operators: {name}, by address", self.operator(f"{at[name]}/", q=self.any_address)
            yield f"operators: {name}, by address without mail", self.operator(f"{at[name]}/", q="nobody@nowhere.test")
            yield (
                f"operators: {name}, by organization",
                self.operator(f"{at[name]}/", q="Organization 0", before=self.any_id),
            )
            yield (
                f"operators: {name}, by Message-ID without mail",
                self.operator(f"{at[name]}/", q="<no-such@mail.test>"),
            )
        yield (
            "operators: messages, by sending domain",
            self.operator("relay/message/", q="news0.test", before=self.any_id),
        )
        yield (
            "operators: messages, by SMTP user",
            self.operator("relay/message/", q="team@news0.test", before=self.any_id),
        )
        for door in ("smtp", "platform"):
            yield f"operators: messages, by door {door}", self.operator("relay/message/", door__exact=door)
        yield "operators: recipients, by destination", self.operator("relay/recipient/", q="company7.test")
        yield (
            "operators: recipients, by destination and organization",
            self.operator("relay/recipient/", q=f"{self.great.pk} company7.test"),
        )
        yield "operators: recipients, in the queue", self.operator("relay/recipient/", queue="open")
        for state in ("bounced", "deferred", "held", "cancelled", "unknown_outcome"):
            yield f"operators: recipients, {state}", self.operator("relay/recipient/", state__exact=state)
        for kind in ("bounced", "complained", "released"):
            yield f"operators: events, {kind}", self.operator("events/event/", type__exact=kind)
            yield (
                f"operators: events, {kind}, deep",
                self.operator("events/event/", type__exact=kind, before=self.any_id),
            )
        yield (
            "operators: one message",
            lambda: self.get(self.clients["operator"], f"/admin/relay/message/{self.any_id()}/change/"),
        )

    def operator(self, path: str, **query: Any) -> Callable[[], None]:
        return lambda: self.get(self.clients["operator"], f"/admin/{path}", **_valued(query))

    def any_id(self, of: Any = None) -> str:
        return str(self._chance.choice(self.samples[of or self.great])[0])

    def any_address(self, of: Any = None) -> str:
        return self._chance.choice(self.samples[of or self.great])[1].title()

    def a_day(self) -> dict[str, str]:
        since = datetime.now(UTC) - timedelta(days=DAYS // 2)
        return {"since": since.isoformat(), "until": (since + timedelta(days=1)).isoformat()}

    def any_day(self) -> str:
        return (datetime.now(UTC) - timedelta(days=self._chance.randrange(1, DAYS - 1))).isoformat()

    def page(self, path: str, *, of: Any = None, **query: Any) -> Callable[[], None]:
        organization = of or self.great
        takes = (self.any_id, self.any_address)
        filled = {
            name: (lambda value=value: value(organization)) if value in takes else value
            for name, value in query.items()
        }
        return lambda: self.get(self.clients[organization], path, **_valued(filled))

    def rest(self, path: str, **query: Any) -> Callable[[], None]:
        return lambda: self.ask(path, **_valued(query))

    def ask(self, path: str, **query: str) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        self.get(self.clients[self.great], f"/api/v1/{path}", headers=headers, **query)

    def get(self, client: Any, path: str, *, headers: dict[str, str] | None = None, **query: str) -> None:
        answer = client.get(path, query, headers=headers or {}, follow=True)  # what was typed leads to filters
        if answer.status_code != 200:
            raise RuntimeError(f"GET {path} {query}: {answer.status_code} {answer.content[:500]!r}")

    def _timed(self, name: str, work: Callable[[], None]) -> tuple[float, float]:
        times = []
        for number in range(WARM_UP + self._rounds):
            began = time.perf_counter()
            work()
            if number >= WARM_UP:
                times.append((time.perf_counter() - began) * 1000)
        times.sort()
        p50, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
        say(f"{name}: {p50:.1f} / {p95:.1f}")
        return p50, p95


def _valued(query: dict[str, Any]) -> dict[str, str]:
    return {name: value() if callable(value) else value for name, value in query.items()}


if __name__ == "__main__":
    sys.exit(main())
