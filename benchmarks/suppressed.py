"""What the suppression list costs at the door: beside none, a thousand and a million entries, in a database of its own.

    python -m benchmarks.suppressed [--entries 0,1000,1000000] [--messages 3000]

Messages go through a desk as both doors use it, one alone after the other and twenty at a time. Counted is the CPU time of this
process and of PostgreSQL together. It runs in a checkout of before streams, too, where only `0` means something.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from typing import Any

from plugsend.engines import scratch

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suppressed", description=__doc__)
    parser.add_argument("--entries", default="0,1000,1000000")
    parser.add_argument("--messages", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plugsend-suppressed-") as var, scratch() as engines:
        os.environ |= {"PLUGSEND_VAR": var, "DATABASE_URL": engines.database_url, "REDIS_URL": engines.redis_url}
        os.environ["DJANGO_SETTINGS_MODULE"] = "plugsend.settings"
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True)
        import django

        django.setup()
        from accounts.models import Organization
        from domains.models import DomainStatus
        from domains.services import add_domain
        from events.partitions import ensure_partitions

        ensure_partitions()
        organization = Organization.objects.create(name="Acme")
        domain = add_domain(organization, "acme.test")
        domain.status = DomainStatus.VERIFIED
        domain.save()
        print("| entries | CPU ms a message, one alone | twenty at a time | look-up alone, ms |")
        print("|---|---|---|---|")
        loaded = 0
        for entries in map(int, options.entries.split(",")):
            load(organization.pk, loaded, entries)
            loaded = entries
            alone, together = asyncio.run(measure(organization.pk, options.messages))
            print(f"| {entries:,} | {alone:.3f} | {together:.3f} | {look_up_ms(organization.pk):.3f} |", flush=True)


def load(organization_id: Any, first: int, end: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO relay_suppression (id, organization_id, address, reason, reply, created_at)"
            " SELECT gen_random_uuid(), %s, 'gone' || n || '@b' || n %% 1000 || '.test', 'no_such_address', '', now()"
            " FROM generate_series(%s, %s) n",
            [organization_id, first + 1, end],
        )
        cursor.execute("ANALYZE relay_suppression")


def look_up_ms(organization_id: Any) -> float:
    """PostgreSQL's own time for twenty of them, a miss each."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT (SELECT id FROM relay_suppression s WHERE s.organization_id = %s AND"
            " s.address = 'fine' || n || '@b1.test' ORDER BY id LIMIT 1) FROM generate_series(1, 20) n",
            [organization_id],
        )
        return float(cursor.fetchone()[0][0]["Execution Time"])


async def measure(organization_id: Any, messages: int) -> tuple[float, float]:
    """The least of some rounds: what else runs on the machine only adds."""
    from accounts.credentials import Credential
    from relay.database import database_url
    from relay.submission.accept import Submission
    from relay.submission.desk import Desk

    credential = Credential(organization_id, False, None, None, frozenset({"send"}), "")
    content = b"From: Ada <ada@acme.test>\r\nSubject: Hi\r\n\r\n" + b"Hello, this is a line of text.\r\n" * 60
    desk = Desk(database_url())
    await desk.open()

    async def send(number: int) -> None:
        recipient = (f"fine{number}@b{number % 5}.test",)
        await desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", recipient, content))

    async def some(number: int, at_once: int) -> float:
        before = cpu_s()
        for begin in range(0, number, at_once):
            await asyncio.gather(*(send(begin + one) for one in range(at_once)))
        return 1000 * (cpu_s() - before) / number

    await some(200, 20)
    alone = [await some(messages // 4, 1) for _ in range(ROUNDS)]
    together = [await some(messages, 20) for _ in range(ROUNDS)]
    await desk.close()
    return min(alone), min(together)


def cpu_s() -> float:
    """Of this process and all its descendants that live."""
    ticks, parents, used = os.sysconf("SC_CLK_TCK"), {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(name)], used[int(name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    own = os.times()
    return own.user + own.system + sum(used[pid] for pid in family if pid in used and pid != os.getpid()) / ticks


if __name__ == "__main__":
    main()
