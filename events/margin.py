"""Events have no ids from long before their transaction began to write: what the feed's promise rests on (`events.feed`).

An id is made by one machine's clock, and may be written late: its process was frozen, its statement waited for a connection or
a lock, that clock is behind. So the statement that writes looks at the database's clock itself, once, *after* its transaction
has an id of its own. From then on readers see that it writes, whatever happens to it; of those who looked before, none
had a horizon beyond that moment less `MARGIN`. Where the first id is older than `OLDEST` all of the statement are lifted to
there, and keep their order. A clock that is ahead makes events appear as much later, and none missed.
"""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from uuid import UUID

from django.db import connection

from accounts.ids import time_of

MARGIN = timedelta(seconds=2)
OLDEST = MARGIN / 2  # the other half is for a database's clock that is set back, or another's that takes over

# Of ids the oldest of which was made at `{oldest}`: by how much they are to be lifted, and whether, found out once a statement.
_BEHIND = f"clock_timestamp() - interval '{OLDEST.total_seconds():g} s' - {{oldest}}"
_IS_BEHIND = (
    "(SELECT CASE WHEN pg_current_xact_id() IS NOT NULL"  # which gives it one
    f" THEN clock_timestamp() - interval '{OLDEST.total_seconds():g} s' > {{oldest}} END)"
)


def lifted(column: str, oldest: str) -> str:
    """SQL: the id to write. `oldest`: an expression, of when the first of the ids was made; they were made in order."""
    lift = _BEHIND.format(oldest=oldest)
    return f"CASE WHEN {_IS_BEHIND.format(oldest=oldest)} THEN events_lifted({column}, {lift}) ELSE {column} END"


def lift_now(ids: Sequence[UUID]) -> list[UUID]:
    """The ids to write, in order, in the transaction that is open."""
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        cursor.execute(f"SELECT {_BEHIND.format(oldest='%s')}", [time_of(ids[0])])
        [behind] = cursor.fetchone()
    return [moved(one, behind) for one in ids] if behind > timedelta(0) else list(ids)


def moved(identifier: UUID, by: timedelta) -> UUID:
    return UUID(int=identifier.int + (ceil(by / timedelta(milliseconds=1)) << 80))
