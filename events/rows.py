"""Rows into tables: many by COPY, or one for each of several tables in a single statement.

COPY of 50 rows is many times cheaper than 50 INSERTs, but each COPY is a conversation of several turns with the server. A
message that comes alone is written in one turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from psycopg import AsyncCursor


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[str, ...]
    types: tuple[
        str, ...
    ] = ()  # when given, COPY sends binary: large octet strings cost a third of what they do as text

    @cached_property
    def copy(self) -> str:
        form = " (FORMAT BINARY)" if self.types else ""
        return f"COPY {self.name} ({', '.join(self.columns)}) FROM STDIN{form}"

    @cached_property
    def insert(self) -> str:
        values = ", ".join(["%s"] * len(self.columns))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({values})"  # noqa: S608


Row = Sequence[object]


async def copy_rows(cursor: AsyncCursor[Any], table: Table, rows: Sequence[Row]) -> None:
    """In the caller's transaction."""
    if rows:
        async with cursor.copy(table.copy) as copy:
            if table.types:
                copy.set_types(table.types)
            for row in rows:
                await copy.write_row(row)


async def insert_one_of_each(cursor: AsyncCursor[Any], rows: Sequence[tuple[Table, Row]]) -> None:
    """One row into each table, all of them or none."""
    statement = _insert_one_of_each(tuple(table for table, _ in rows))
    await cursor.execute(statement, [value for _, row in rows for value in row])


@lru_cache(maxsize=16)
def _insert_one_of_each(tables: tuple[Table, ...]) -> str:
    *others, last = tables
    parts = ", ".join(f"t{number} AS ({table.insert})" for number, table in enumerate(others))
    return f"WITH {parts} {last.insert}"
