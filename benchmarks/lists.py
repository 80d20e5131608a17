"""What reading costs beside 50 thousand and 5 million messages, in a database of its own: the views of REST, called in-process.

    python -m benchmarks.lists [--rows 50000,5000000] [--rounds 40]

The messages have one recipient and two events each and lie in the last 30 days' partitions. Nine tenths belong to the first of
three organizations, which is the one that reads. No contents. 5 million rows take some 12 GB below /tmp while it runs.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from plugsend.engines import scratch

DAYS = 30
STEP = 500_000  # rows in one statement
WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lists", description=__doc__)
    parser.add_argument("--rows", default="50000,5000000")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    columns: dict[int, dict[str, str]] = {}
    for rows in map(int, options.rows.split(",")):
        with database():
            columns[rows] = measure(Loaded(rows), options.rounds)
    print(f"| p50 / p95 in ms | {' | '.join(f'{rows:,} messages' for rows in columns)} |")
    print("|---|" + "---|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | {' | '.join(column[name] for column in columns.values())} |")


@contextmanager
def database() -> Iterator[None]:
    """A fresh one for each size, and Django set up for it."""
    with tempfile.TemporaryDirectory(prefix="plugsend-lists-") as var, scratch() as engines:
        os.environ |= {"PLUGSEND_VAR": var, "DATABASE_URL": engines.database_url, "REDIS_URL": engines.redis_url}
        os.environ["DJANGO_SETTINGS_MODULE"] = "plugsend.settings"
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True)
        import django

        django.setup()
        from django.conf import settings
        from django.db import connection

        from plugsend.settings import django_database

        settings.ALLOWED_HOSTS = ["testserver"]
        connection.settings_dict.update(settings.DATABASES["default"] | django_database(engines.database_url))
        try:
            yield
        finally:
            connection.close()


class Loaded:
    """What there is to read. The ids follow from the row's number, so that they need not be kept."""

    def __init__(self, rows: int) -> None:
        from accounts.models import Organization
        from domains.models import SendingDomain

        self.rows = rows
        self.start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
        self.span_ms = int((datetime.now(UTC) - self.start).total_seconds() * 1000)
        self.organizations = [Organization.objects.create(name=name) for name in ("Acme", "Globex", "Initech")]
        self.domains = [
            SendingDomain.objects.create(organization=self.organizations[0], name=name)
            for name in ("acme.test", "news.acme.test", "unused.acme.test")
        ]
        self.users = [UUID(int=0x1000 + n) for n in range(50)]  # the last has no mail
        self._load()

    def _load(self) -> None:
        from django.db import connection

        from events.partitions import _make_partition, partitioned_tables

        with connection.cursor() as cursor:
            for table in partitioned_tables():
                for day in range(DAYS + 1):
                    _make_partition(cursor, table, self.start + timedelta(days=day))
            for first in range(0, self.rows, STEP):
                terms = {
                    "first": first,
                    "last": min(first + STEP, self.rows) - 1,
                    "rows": self.rows,
                    "start": int(self.start.timestamp() * 1000),
                    "span": self.span_ms,
                    "organizations": [one.pk for one in self.organizations],
                    "domains": [one.pk for one in self.domains],
                    "users": self.users,
                }
                cursor.execute(_LOAD, terms)
            cursor.execute("VACUUM ANALYZE")

    def id_of(self, number: int) -> UUID:
        from django.db import connection

        with connection.cursor() as cursor:
            terms = {"start": int(self.start.timestamp() * 1000), "span": self.span_ms, "rows": self.rows, "n": number}
            cursor.execute(f"SELECT {_ID} FROM (SELECT %(n)s::bigint AS n) ids", terms)
            found: UUID = cursor.fetchone()[0]
            return found


# A UUIDv7 of the row's moment. Of ten rows nine are the first organization's; one in 100 bounced, one in 5 is a newsletter.
_ID = """(lpad(to_hex(%(start)s::bigint + n * %(span)s::bigint / %(rows)s), 12, '0') || '7' || substr(md5(n::text), 1, 3)
          || '8' || substr(md5(n::text), 4, 15))::uuid"""
_LOAD = f"""
    WITH ids AS MATERIALIZED (
        SELECT n, {_ID} AS id,
               (%(organizations)s::uuid[])[CASE WHEN mod(n, 10) < 9 THEN 1 WHEN mod(n, 20) = 9 THEN 2 ELSE 3 END]
                   AS organization,
               to_timestamp((%(start)s::bigint + n * %(span)s::bigint / %(rows)s) / 1000.0) AS moment,
               CASE WHEN mod(n, 100) = 7 THEN 'bounced' ELSE 'delivered' END AS state,
               'r' || mod(n * 7919, 200000) || '@inbox' || mod(n, 50) || '.test' AS address
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) n),
    messages AS (
        INSERT INTO relay_message (id, organization_id, domain_id, door, smtp_user_id, envelope_sender, header_from, subject,
                                   message_id_header, size_bytes, recipient_count, tags, metadata, submitted_at)
        SELECT id, organization, (%(domains)s::uuid[])[CASE WHEN mod(n, 5) = 0 THEN 2 ELSE 1 END], 'smtp',
               (%(users)s::uuid[])[CASE WHEN mod(n, 1000) = 1 THEN 49 ELSE 1 + mod(n, 48) END],
               'hello@acme.test', 'Acme <hello@acme.test>', 'Your receipt no. ' || n, id || '@acme.test', 2048, 1,
               ARRAY[CASE WHEN mod(n, 1000) = 3 THEN 'kind:rare' WHEN mod(n, 5) = 0 THEN 'kind:news' ELSE 'kind:receipt' END],
               jsonb_build_object('order', n::text), moment FROM ids),
    recipients AS (
        INSERT INTO relay_recipient (id, message_id, organization_id, address, destination, state, attempts, next_attempt_at,
                                     expires_at, reason, last_reply, state_at)
        SELECT id, id, organization, address, split_part(address, '@', 2), state, 1, NULL, moment + interval '3 days', '', '',
               moment FROM ids)
    INSERT INTO events_event (id, organization_id, message_id, recipient_id, address, type, occurred_at, attempt, reason,
                              detail, transcript)
    SELECT overlay(id::text placing e.variant from 20 for 2)::uuid, organization, id, id, address, e.type, moment,
           0, '', '{{"reply": {{"code": 250, "enhanced": "2.0.0", "text": "Ok: queued as 4F1B72C09D"}}}}', ''
    FROM ids, LATERAL (VALUES ('8a', 'submitted'), ('8b', state)) e (variant, type)
"""


def measure(loaded: Loaded, rounds: int) -> dict[str, str]:
    from unittest.mock import patch

    from rest_framework.test import APIRequestFactory, force_authenticate

    from accounts.credentials import Credential
    from domains.models import SmtpUser  # noqa: F401  (loaded, so that the first call does not pay for it)
    from relay.rest import emails, feed, reading

    credential = Credential(loaded.organizations[0].pk, False, None, None, frozenset({"read"}), "")
    factory, chance = APIRequestFactory(), random.Random(7)

    def get(view: Any, query: dict[str, Any] | None = None, **where: UUID) -> Any:
        request = factory.get("/", query or {})
        force_authenticate(request, user=credential)
        answer = view.as_view()(request, **where)
        answer.render()
        assert answer.status_code == 200, answer.data
        return answer.data

    def listed(**query: Any) -> Callable[[], Any]:
        return lambda: get(
            emails.EmailsView, {name: value() if callable(value) else value for name, value in query.items()}
        )

    def any_id() -> UUID:
        number = chance.randrange(loaded.rows)
        return loaded.id_of(number - 1 if number % 10 == 9 else number)

    def any_address() -> str:
        n = chance.randrange(loaded.rows)
        n = n - 1 if n % 10 == 9 else n
        return f"R{n * 7919 % 200000}@inbox{n % 50}.test"

    def users(_: Any, wanted: str | None) -> frozenset[UUID] | None:
        return None if wanted is None else frozenset({UUID(wanted)})

    day = loaded.start + timedelta(days=DAYS // 2)
    works: dict[str, Callable[[], Any]] = {
        "first page of 20": listed(),
        "first page of 100": listed(limit=100),
        "a page deep inside": listed(after=any_id),
        "by recipient": listed(recipient=any_address),
        "by a recipient who had no mail": listed(recipient="nobody@nowhere.test"),
        "by state: delivered": listed(state="delivered"),
        "by state: bounced, deep inside": listed(state="bounced", after=any_id),
        "by state: deferred, of which there are none": listed(state="deferred"),
        "by tag, one in five": listed(tag="kind:news"),
        "by tag, one in a thousand": listed(tag="kind:rare"),
        "by tag name": listed(tag="kind"),
        "by sender domain": listed(domain="news.acme.test"),
        "by sender domain without mail": listed(domain="unused.acme.test"),
        "by SMTP user": listed(smtp_user=str(loaded.users[3])),
        "by SMTP user, one in a thousand": listed(smtp_user=str(loaded.users[48])),
        "by SMTP user without mail": listed(smtp_user=str(loaded.users[49])),
        "by state and tag": listed(state="bounced", tag="kind:receipt"),
        "by metadata, within an hour": listed(
            **{"metadata[order]": "1", "since": day.isoformat(), "until": (day + timedelta(hours=1)).isoformat()}
        ),
        "a day's emails": listed(since=day.isoformat(), until=(day + timedelta(days=1)).isoformat()),
        "one email": lambda: get(emails.EmailView, message_id=any_id()),
        "events of one email": lambda: get(reading.EmailEventsView, message_id=any_id()),
        "feed: a page of 100 events": lambda: get(feed.EventsView, {"after": any_id()}),
        "feed: 100 bounces": lambda: get(feed.EventsView, {"after": any_id(), "type": "bounced"}),
        "feed: 100 events of a domain": lambda: get(feed.EventsView, {"after": any_id(), "domain": "news.acme.test"}),
        "feed: nothing new": lambda: get(feed.EventsView, {"since": datetime.now(UTC).isoformat()}),
    }
    with patch("relay.rest.queries._smtp_users", users):
        return {name: _timed(work, rounds) for name, work in works.items()}


def _timed(work: Callable[[], Any], rounds: int) -> str:
    times = []
    for number in range(WARM_UP + rounds):
        started = time.perf_counter()
        work()
        if number >= WARM_UP:
            times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return f"{statistics.median(times):.1f} / {times[int(len(times) * 0.95)]:.1f}"


if __name__ == "__main__":
    print(f"{datetime.now(UTC):%Y-%m-%d}, warm, PostgreSQL with 64 MB of shared buffers")
    main()
