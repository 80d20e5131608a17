"""Events have no ids from long before their transaction began to write: what the feed's promise rests on (`events.feed`).

An id is made by one machine's clock, and may be written late: its process was frozen, its statement waited for a connection or
a lock, that clock is behind. So the statement that writes looks at the database's clock itself, once, *after* its transaction
has an id of its own. From then on readers see that it writes, whatever happens to it; of those who looked before, none
had a horizon beyond that moment less `MARGIN`. Ids older than `OLDEST` are lifted to there, all of the statement by the
same time, so that their order stays. A clock that is ahead makes events appear as much later, and none missed.
"""

from datetime import timedelta
from uuid import UUID

MARGIN = timedelta(seconds=2)
OLDEST = MARGIN / 2  # the other half is for a database's clock that is set back, or another's that takes over

# Milliseconds by which ids are to be lifted of which the oldest was made at `{oldest}`. Evaluated once a statement.
_NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_LIFT = (
    "(SELECT CASE WHEN pg_current_xact_id() IS NOT NULL"  # gives it one
    f" THEN greatest(0, {_NOW_MS} - {OLDEST // timedelta(milliseconds=1)} - {{oldest}}) END)"
)


def lift(oldest: str) -> str:
    """SQL; `oldest`: an expression, of `made_at_ms` of the least id."""
    return _LIFT.format(oldest=oldest)


def lifted(column: str, oldest: str) -> str:
    """SQL: the id to write. The subquery appears twice; the second is only evaluated when there is something to lift."""
    made_at = f"('x' || left({column}::text, 8) || substr({column}::text, 10, 4))::bit(48)::bigint"
    new = f"(lpad(to_hex({made_at} + {lift(oldest)}), 12, '0') || substr({column}::text, 14))::uuid"
    return f"CASE {lift(oldest)} WHEN 0 THEN {column} ELSE {new} END"


def made_at_ms(identifier: UUID) -> int:
    """Of a UUIDv7 (RFC 9562, 5.7)."""
    return identifier.int >> 80


def moved(identifier: UUID, by_ms: int) -> UUID:
    return UUID(int=identifier.int + (by_ms << 80))
