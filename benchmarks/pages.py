"""What every page costs on the server: time, queries and weight, with demo data in every table.

    python -m benchmarks.pages [--rounds 20] [--messages 2000]

The pages are found in the URL patterns, with an organization that has a row of every kind and further messages; they are asked
for by Django's test client, signed in as the owner, and those of the admin as an operator, through all middleware, walls and
templates. Processor time is that of this
process, without PostgreSQL's. Exit code 1: a page took more than 150 ms (p95).
"""

from __future__ import annotations

import argparse
import gc
import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from plugsend.engines import running

Cost = tuple[str, float, float, float, int, int]  # path; p50, p95, processor time in ms; queries; octets compressed
MOST_P95_MS = 150.0
WARM_UP = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--messages", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plugsend-pages-") as place:
        home = Path(place)
        home.chmod(0o711)  # as root the engines' account must be able to pass
        with running(home, durable=False) as engines:
            os.environ |= {"PLUGSEND_VAR": place, "DATABASE_URL": engines.database_url, "REDIS_URL": engines.redis_url}
            os.environ |= {"DJANGO_SETTINGS_MODULE": "plugsend.settings"}
            subprocess.run([sys.executable, "manage.py", "prepare"], check=True, stdout=subprocess.DEVNULL)
            import django

            django.setup()
            return show(measure(options))


def measure(options: argparse.Namespace) -> list[Cost]:
    """The slowest first."""
    from django.test import Client

    from accounts.models import User
    from tests.every_page import operators_pages, pages_of, paths_of
    from tests.factories import make_message
    from tests.full_tenant import make_full_tenant

    tenant = make_full_tenant("demo")
    for number in range(options.messages):
        state = "bounced" if number % 40 == 0 else "delivered"
        make_message(tenant.domain, to=f"person{number % 500}@inbox.test", state=state, seconds_ago=60 + 30 * number)
    owner, operator = tenant.client("owner"), Client()
    operator.force_login(User.objects.create_superuser("operator@people.test", "x"))
    for client in (owner, operator):
        client.defaults["HTTP_HOST"] = "localhost"
    owners = pages_of(owner, [*paths_of(tenant), "/find/?q=person7@inbox.test", "/find/?q=demo"])
    gc.collect()
    gc.freeze()  # as the forker does before it makes web processes
    found = costs(owner, owners, options.rounds) + costs(operator, operators_pages(operator), options.rounds)
    return sorted(found, key=lambda one: -one[2])


def costs(client: Any, paths: list[str], rounds: int) -> list[Cost]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    found = []
    for path in paths:
        for _ in range(WARM_UP):
            client.get(path)
        times, worked = [], time.process_time()
        for _ in range(rounds):
            began = time.perf_counter()
            answer = client.get(path)
            times.append((time.perf_counter() - began) * 1000)
        worked_ms = (time.process_time() - worked) * 1000 / rounds
        times.sort()
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        weight = len(gzip.compress(answer.content))
        found.append((path, times[len(times) // 2], times[int(len(times) * 0.95)], worked_ms, len(queries), weight))
    return found


def show(found: list[Cost]) -> int:
    print("| page | p50, ms | p95, ms | processor, ms | queries | kB compressed |\n|---|---|---|---|---|---|")
    for path, p50, p95, worked, queries, weight in found:
        print(f"| {path} | {p50:.1f} | {p95:.1f} | {worked:.1f} | {queries} | {weight / 1000:.1f} |")
    return int(any(p95 > MOST_P95_MS for _, _, p95, *_ in found))


if __name__ == "__main__":
    sys.exit(main())
