"""By which indexes PostgreSQL answers a statement, told by their names on the partitioned tables."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import QuerySet


def indexes_of(cursor: Any, statement: str, parameters: Any = ()) -> set[str]:
    """With the planner forbidden what it only does because a test's tables are small."""
    for way in ("seqscan", "bitmapscan", "sort"):
        cursor.execute(f"SET enable_{way} = off")
    try:
        cursor.execute(f"EXPLAIN {statement}", parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    finally:
        for way in ("seqscan", "bitmapscan", "sort"):
            cursor.execute(f"RESET enable_{way}")
    cursor.execute("SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits")
    parents = dict(cursor.fetchall())
    used = {name for name in parents if f" {name} on " in plan}
    names = set[str]()
    for name in used:
        while name in parents:
            name = parents[name]
        names.add(name)
    cursor.execute("SELECT indexrelid::regclass::text FROM pg_index")
    names |= {row[0] for row in cursor.fetchall() if f" {row[0]} on " in plan and row[0] not in parents}
    assert "Seq Scan on relay_" not in plan, plan
    return names


def indexes_of_query(query: QuerySet[Any]) -> set[str]:
    statement, parameters = query.query.sql_with_params()
    with connection.cursor() as cursor:
        return indexes_of(cursor, statement, parameters)
