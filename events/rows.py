"""Rows into several tables: by one statement for all of them, or by COPY.

Each COPY is a conversation of several turns with the server; one statement with an array for each column is a single one
and cheaper for a group commit's tens of rows, and a plain INSERT for one row of each table. COPY is best for much data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from psycopg import AsyncCursor

from accounts.ids import time_of
from events.margin import lifted

TEXTS = "text[]"


@dataclass(frozen=True, eq=False)
class Table:
    """`columns`: name and PostgreSQL's name of the type, in the order of the rows' values.

    `is_read_by_id`: a feed follows the rows by their `id`, the first column (`events.margin`); their ids were made in order.
    """

    name: str
    columns: Mapping[str, str]
    is_read_by_id: bool = False

    @property
    def copy(self) -> str:
        return f"COPY {self._target} FROM STDIN (FORMAT BINARY)"

    @property
    def insert(self) -> str:
        if self.is_read_by_id:
            values = ", ".join(f"%s::{type_}" for type_ in self.columns.values())
            return (
                f"INSERT INTO {self._target} SELECT {self._values('%s')} FROM (VALUES ({values})) AS r ({self._names})"  # noqa: S608
            )
        return f"INSERT INTO {self._target} VALUES ({', '.join(['%s'] * len(self.columns))})"  # noqa: S608

    @property
    def insert_many(self) -> str:
        """Takes an array for each column."""
        # %b: binary, several times cheaper. An array of arrays must be rectangular in PostgreSQL: those travel as text.
        sources = ", ".join(f"%b::{'text' if type_ == TEXTS else type_}[]" for type_ in self.columns.values())
        return f"INSERT INTO {self._target} SELECT {self._values('%b')} FROM unnest({sources}) AS r ({self._names})"  # noqa: S608

    def head(self, rows: Sequence[Row]) -> list[object]:
        """Parameters in front of those of the rows."""
        return [time_of(cast(UUID, rows[0][0]))] * 2 if self.is_read_by_id else []

    def _values(self, parameter: str) -> str:
        values = [f"{name}::{TEXTS}" if type_ == TEXTS else name for name, type_ in self.columns.items()]
        if self.is_read_by_id:
            values[0] = lifted(values[0], f"{parameter}::timestamptz")
        return ", ".join(values)

    @property
    def _names(self) -> str:
        return ", ".join(self.columns)

    @property
    def _target(self) -> str:
        return f"{self.name} ({self._names})"


Row = Sequence[object]
Rows = tuple[Table, Sequence[Row]]


async def copy_rows(cursor: AsyncCursor[Any], table: Table, rows: Sequence[Row]) -> None:
    """In the caller's transaction. The values must be of the very types of the columns."""
    if rows:
        async with cursor.copy(table.copy) as copy:
            copy.set_types(list(table.columns.values()))
            for row in rows:
                await copy.write_row(row)


async def insert_rows(cursor: AsyncCursor[Any], *groups: Rows, then: str = "", terms: Sequence[object] = ()) -> None:
    """All of them or none: one statement, which is a transaction by itself where the caller has none.

    `then`: a SELECT, with its `terms`, to be run in the same statement.
    """
    groups = tuple((table, rows) for table, rows in groups if rows)
    if not groups:
        return
    tables = tuple(table for table, _ in groups)
    if all(len(rows) == 1 for _, rows in groups):
        values = [value for table, rows in groups for value in (*table.head(rows), *rows[0])]
        await cursor.execute(_statement(tables, then, is_many=False), [*values, *terms])
    else:
        arrays = [array for table, rows in groups for array in (*table.head(rows), *_arrays(table, rows))]
        await cursor.execute(_statement(tables, then, is_many=True), [*arrays, *terms])


def _arrays(table: Table, rows: Sequence[Row]) -> list[list[object]]:
    columns = zip(table.columns.values(), zip(*rows, strict=True), strict=True)
    return [[_as_text(value) for value in values] if type_ == TEXTS else list(values) for type_, values in columns]


def _as_text(texts: Any) -> str:
    """PostgreSQL manual, 8.15.2: an array's own form in text."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


@lru_cache(maxsize=32)
def _statement(tables: tuple[Table, ...], then: str, *, is_many: bool) -> str:
    inserts = [table.insert_many if is_many else table.insert for table in tables]
    *others, last = [*inserts, then] if then else inserts
    parts = ", ".join(f"t{number} AS ({insert})" for number, insert in enumerate(others))
    return f"WITH {parts} {last}" if parts else last
