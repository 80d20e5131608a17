"""Tables partitioned by the day of their UUIDv7 primary key, so that retention is a dropped partition.

Django makes the table, `PartitionByDay` then turns it into a partitioned one of the same shape. Rows whose day has no
partition fall into the default partition: late upkeep costs tidiness, never mail.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from django.db import connection
from django.db.migrations.operations.base import Operation

from accounts.ids import first_id_at

DAYS_AHEAD = 7


class PartitionByDay(Operation):
    """Migration operation: makes an (empty) table with UUIDv7 key `id` a table partitioned by ranges of `id`."""

    reversible = True

    def __init__(self, table: str) -> None:
        self.table = table

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = self.table
        schema_editor.execute(f"ALTER TABLE {table} RENAME TO {table}_plain")
        schema_editor.execute(f"CREATE TABLE {table} (LIKE {table}_plain INCLUDING ALL) PARTITION BY RANGE (id)")
        schema_editor.execute(f"DROP TABLE {table}_plain")
        schema_editor.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        pass  # the table itself goes with CreateModel

    def describe(self) -> str:
        return f"Partition {self.table} by day"


def partitioned_tables() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall()]


class Executor(Protocol):
    """A cursor or a connection, of psycopg or of Django's."""

    def execute(self, query: Any, params: Any = None) -> Any: ...


def days_of(executor: Executor, table: str) -> list[datetime]:
    """The days (UTC) for which a table has a partition, oldest first."""
    names = (
        "SELECT coalesce(array_agg(c.relname::text), '{}') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass"
    )
    [found] = executor.execute(names, [table]).fetchone()
    days = (re.fullmatch(rf"{table}_(\d{{8}})", name) for name in found)
    return sorted(datetime.strptime(day[1], "%Y%m%d").replace(tzinfo=UTC) for day in days if day)


def ensure_partitions(days_ahead: int = DAYS_AHEAD) -> list[str]:
    """Makes what is missing of the partitions of today and the days ahead. Returns the names of those made."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return make_partitions([today + timedelta(days=n) for n in range(days_ahead + 1)])


def make_partitions(days: list[datetime]) -> list[str]:
    """Makes what is missing of the partitions of these days, which begin at midnight (UTC). Returns the names of those made."""
    made = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7203)")  # one maker at a time: several processes start together
        try:
            for table in partitioned_tables():
                for day in days:
                    if name := _make_partition(cursor, table, day):
                        made.append(name)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(7203)")
    return made


def _make_partition(cursor: Any, table: str, day: datetime) -> str | None:
    name = f"{table}_{day:%Y%m%d}"
    lower, upper = first_id_at(day), first_id_at(day + timedelta(days=1))
    cursor.execute("SELECT to_regclass(%s)", [name])
    if cursor.fetchone()[0]:
        return None
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {table}_default WHERE id >= %s AND id < %s)", [lower, upper])  # noqa: S608
    if cursor.fetchone()[0]:
        return None  # rows of that day came before their partition: they stay in the default one
    cursor.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{lower}') TO ('{upper}')")
    return name
