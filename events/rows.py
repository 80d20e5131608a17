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
    `further`: a SELECT of more rows, in that order after those that are given, from what the same statement has `Sought`.
    """

    name: str
    columns: Mapping[str, str]
    is_read_by_id: bool = False
    further: str = ""

    @property
    def copy(self) -> str:
        return f"COPY {self._target} FROM STDIN (FORMAT BINARY)"

    @property
    def insert(self) -> str:
        if self.is_read_by_id:
            source = self._source(f"(VALUES ({self._typed_values}))")
            return f"INSERT INTO {self._target} SELECT {self._values('%s')} FROM {source}"  # noqa: S608
        return f"INSERT INTO {self._target} VALUES ({', '.join(['%s'] * len(self.columns))})"  # noqa: S608

    @property
    def insert_many(self) -> str:
        """Takes an array for each column."""
        return f"INSERT INTO {self._target} SELECT {self._values('%b')} FROM {self._source(f'unnest({self._arrays})')}"  # noqa: S608

    def head(self, rows: Sequence[Row]) -> list[object]:
        """Parameters in front of those of the rows."""
        return [time_of(cast(UUID, rows[0][0]))] * 2 if self.is_read_by_id else []

    def _values(self, parameter: str) -> str:
        values = [f"{name}::{TEXTS}" if type_ == TEXTS else name for name, type_ in self.columns.items()]
        if self.is_read_by_id:
            values[0] = lifted(values[0], f"{parameter}::timestamptz")
        return ", ".join(values)

    def _source(self, rows: str) -> str:
        given = f"{rows} AS r ({self._names})"
        return f"(SELECT * FROM {given} UNION ALL {self.further}) AS r ({self._names})" if self.further else given  # noqa: S608

    @property
    def _typed_values(self) -> str:
        return ", ".join(f"%s::{type_}" for type_ in self.columns.values())

    @property
    def _arrays(self) -> str:
        # %b: binary, several times cheaper. An array of arrays must be rectangular in PostgreSQL: those travel as text.
        return ", ".join(f"%b::{'text' if type_ == TEXTS else type_}[]" for type_ in self.columns.values())

    @property
    def _names(self) -> str:
        return ", ".join(self.columns)

    @property
    def _target(self) -> str:
        return f"{self.name} ({self._names})"


@dataclass(frozen=True, eq=False)
class Sought(Table):
    """Rows `r` beside which more is looked up before they go into a table: by the name of `query`, which reads them.

    `insert_of`: the INSERT that takes them from there.
    """

    query: str = ""  # a SELECT from {rows}
    insert_of: str = ""

    @property
    def insert(self) -> str:
        return self.query.format(rows=self._source(f"(VALUES ({self._typed_values}))"))

    @property
    def insert_many(self) -> str:
        return self.query.format(rows=self._source(f"unnest({self._arrays})"))


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

    `then`: a SELECT, with its `terms`, to be run in the same statement; its rows are for the caller to fetch.
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
    parts: list[tuple[str, str]] = []
    stored: list[tuple[str, str]] = []
    for number, table in enumerate(tables):
        statement = table.insert_many if is_many else table.insert
        if isinstance(table, Sought):
            parts.append((f"{table.name} AS MATERIALIZED", statement))
            stored.append((f"i{number} AS", table.insert_of))
        else:
            parts.append((f"t{number} AS", statement))
    *others, (_, last) = [*parts, *stored, *([("", then)] if then else [])]
    with_them = ", ".join(f"{name} ({statement})" for name, statement in others)
    return f"WITH {with_them} {last}" if others else last
