"""Counts messages where they are stored, so that what is accepted is what is counted, and no limit is ever passed.

A counter's row (of an organization's day and month, of an SMTP user's hour and day) would be what all committers of all
processes wait for while one of them flushes. So each committer reserves some messages ahead, in a statement of its own that
need not be flushed, and gets a *share*: a row that is its alone, whose `used` grows in the transaction that stores messages.
PostgreSQL refuses a transaction in which `used` would pass `granted`.

Near a limit nothing is reserved ahead. What does not fit any more is counted in the storing transaction itself
(`Meter.take`), which holds the counters and first takes back what others have reserved and not used: the last message
of a limit can be sent, whoever comes with it. That is safe at any time, because a committer whose share was taken back is
refused by PostgreSQL and asks anew; so what a process that died had reserved is lost to nobody either.

Accepted is, at any moment, what the counter says without what shares have left (`relay.usage`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor

from accounts.catalogue import Refused
from accounts.credentials import Allowance, UsageLimit
from accounts.ids import first_id_at, uuid7
from events.rows import Row, Table
from relay.submission.accept import Parcel
from relay.usage import LOCK_COUNTERS, LOCK_SHARES, TAKE_BACK, end_of, start_of

AHEAD = 1000  # messages that are reserved at once
PART = 16  # of what is left of a limit, at most one in so many
KEPT_ACCOUNTS = 2000
KEPT_MOST = 10_000  # shares that a committer has in mind
UNLIMITED = 2**62

# An SMTP user's limit may be younger than the period: what was sent before it was set counts, too. Not flushed, as a
# reservation is not.
_LAY = """
    INSERT INTO relay_usagecounter (subject_id, period, starts_at, count)
    SELECT subject_id, period, starts_at,
           (SELECT count(*) FROM relay_message WHERE smtp_user_id = w.subject_id AND id >= w.first_id AND id < w.end_id)
    FROM set_config('synchronous_commit', 'off', true),
        unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::uuid[], %s::uuid[])
        AS w (subject_id, period, starts_at, first_id, end_id)
    ON CONFLICT (subject_id, period, starts_at) DO NOTHING
"""
# Waits for nobody: what another transaction holds is not granted. Not flushed: a commit that uses the share is written after
# it, so that wherever the one survives a crash, the other does.
_RESERVE = f"""
    WITH wanted AS MATERIALIZED (
        SELECT w.* FROM set_config('synchronous_commit', 'off', true),
        unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[],
               %s::text[], %s::timestamptz[], %s::bigint[], %s::bigint[])
            AS w (subject_id, short, short_at, short_most, long, long_at, long_most, need)
    ), longer AS MATERIALIZED (
        SELECT w.*, long_most - c.count AS long_room FROM relay_usagecounter c JOIN wanted w
            ON (c.subject_id, c.period, c.starts_at) = (w.subject_id, w.long, w.long_at)
        FOR UPDATE OF c SKIP LOCKED
    ), shorter AS MATERIALIZED (
        SELECT w.*, least(long_room, short_most - c.count) AS room FROM relay_usagecounter c JOIN longer w
            ON (c.subject_id, c.period, c.starts_at) = (w.subject_id, w.short, w.short_at)
        FOR UPDATE OF c SKIP LOCKED
    ), granted AS MATERIALIZED (
        SELECT *, greatest(need, least({AHEAD}, room / {PART})) AS number FROM shorter WHERE need <= room
    ), counted AS ( -- an UPDATE would look for rows as they were when the statement began
        INSERT INTO relay_usagecounter AS c (subject_id, period, starts_at, count)
        SELECT subject_id, long, long_at, number FROM granted
        UNION ALL SELECT subject_id, short, short_at, number FROM granted
        ON CONFLICT (subject_id, period, starts_at) DO UPDATE SET count = c.count + excluded.count
    )
    INSERT INTO relay_usageshare AS s (holder_id, subject_id, period, starts_at, granted, used)
    SELECT %s, subject_id, short, short_at, number, 0 FROM granted
    ON CONFLICT (holder_id, subject_id, starts_at) DO UPDATE SET granted = s.granted + excluded.granted
    RETURNING subject_id, period, starts_at, granted - used
"""  # noqa: S608
_ADD = """
    UPDATE relay_usagecounter AS c SET count = c.count + w.number
    FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[]) AS w (subject_id, period, starts_at, number)
    WHERE (c.subject_id, c.period, c.starts_at) = (w.subject_id, w.period, w.starts_at)
"""


class _Shares(Table):
    """What is used of shares; written with the messages."""

    @property
    def insert(self) -> str:
        return "UPDATE relay_usageshare SET used = used + %s WHERE (holder_id, subject_id, starts_at) = (%s, %s, %s)"

    @property
    def insert_many(self) -> str:
        return """
            UPDATE relay_usageshare s SET used = s.used + r.number
            FROM unnest(%b::int8[], %b::uuid[], %b::uuid[], %b::timestamptz[]) AS r (number, holder_id, subject_id, starts_at)
            WHERE (s.holder_id, s.subject_id, s.starts_at) = (r.holder_id, r.subject_id, r.starts_at)
        """


SHARES = _Shares(
    "relay_usageshare", {"used": "int8", "holder_id": "uuid", "subject_id": "uuid", "starts_at": "timestamptz"}
)


class Key(NamedTuple):
    """Of a counter: a subject's period."""

    subject_id: UUID
    period: str
    starts_at: datetime

    @property
    def ends_at(self) -> datetime:
        return end_of(self.period, self.starts_at)


class Account(NamedTuple):
    """A subject's two counters of a moment."""

    short: Key
    long: Key

    @classmethod
    def of(cls, allowance: Allowance, moment: datetime) -> Account:
        subject_id, short, long = allowance.subject_id, allowance.short.period, allowance.long.period
        return cls(Key(subject_id, short, start_of(short, moment)), Key(subject_id, long, start_of(long, moment)))


Accounts = Mapping[Account, Allowance]


class Metered(NamedTuple):
    """A parcel and what it is counted in. Parcels by one credential share their accounts."""

    parcel: Parcel
    accounts: Accounts

    @property
    def number(self) -> int:
        return len(self.parcel.messages)


class Meter:
    """A committer's shares. Use it on the committer's connection, one call at a time."""

    def __init__(self) -> None:
        self._holder_id = uuid7()
        self._spare: dict[Account, int] = {}
        self._under: dict[Account, Allowance] = {}  # the limits under which it was reserved
        # By the identity of allowances, and hour. Those are kept with it, so that nothing else gets their identity.
        self._accounts: dict[tuple[int, int], tuple[tuple[Allowance, ...], Accounts]] = {}

    def metered(self, parcel: Parcel) -> Metered:
        moment, allowances = parcel.messages[0].submitted_at, parcel.allowances
        key = id(allowances), int(moment.timestamp()) // 3600
        known = self._accounts.get(key)
        if known is None:
            if len(self._accounts) >= KEPT_ACCOUNTS:
                self._accounts.clear()
            accounts = {Account.of(allowance, moment): allowance for allowance in allowances}
            known = self._accounts[key] = allowances, accounts
        return Metered(parcel, known[1])

    async def reserve(self, connection: AsyncConnection[Any], parcels: Sequence[Metered]) -> set[Account]:
        """Sees to it that there is enough for all parcels. Returns the accounts where there is not, for now or at all."""
        for accounts in {id(parcel.accounts): parcel.accounts for parcel in parcels}.values():
            for account, allowance in accounts.items():
                if self._under.get(account) != allowance:
                    self._spare.pop(account, None)  # a limit that is lowered holds at once
                    self._under[account] = allowance
        needs = _needs(parcels)
        lacking = {account for account, need in needs.items() if self._spare.get(account, 0) < need}
        if not lacking:
            return set()
        if new := lacking - self._spare.keys():
            await self._lay(connection, new)
        wanted = sorted(lacking)
        limits = [(self._under[account].short.most, self._under[account].long.most) for account in wanted]
        cursor = await connection.execute(
            _RESERVE,
            (
                [account.short.subject_id for account in wanted],
                [account.short.period for account in wanted],
                [account.short.starts_at for account in wanted],
                [UNLIMITED if short is None else short for short, _ in limits],
                [account.long.period for account in wanted],
                [account.long.starts_at for account in wanted],
                [UNLIMITED if long is None else long for _, long in limits],
                [needs[account] - self._spare.get(account, 0) for account in wanted],
                self._holder_id,
            ),
        )
        granted = {(row[0], row[1], row[2].astimezone(UTC)): row[3] for row in await cursor.fetchall()}
        self._spare.update({account: granted[account.short] for account in wanted if account.short in granted})
        return {account for account in wanted if self._spare.get(account, 0) < needs[account]}

    async def take(
        self, cursor: AsyncCursor[Any], parcels: Sequence[Metered], short: set[Account]
    ) -> dict[UUID, Refused]:
        """Counts what fits of what is short, parcel by parcel, in the caller's transaction, and holds the counters until its
        end. Returns the refusals of the others, by parcel."""
        keys = _in_order(account for parcel in parcels for account in parcel.accounts if account in short)
        if not keys:
            return {}
        await cursor.execute(LOCK_COUNTERS, _columns(keys))
        used = Counter({_key(row): row[3] for row in await cursor.fetchall()})
        if tight := _tight(parcels, short, used):
            await self._take_back(cursor, tight, used)
        refused: dict[UUID, Refused] = {}
        taken = Counter[Key]()
        for parcel in parcels:
            if full := _full(parcel, short, used):
                limit, key, allowance = max(full, key=lambda found: found[1].ends_at)  # keeps it out longest
                refused[parcel.parcel.id] = _refusal(allowance, limit, key, used[key], parcel.number)
                continue
            for account in parcel.accounts.keys() & short:
                for key in account:
                    used[key] += parcel.number
                    taken[key] += parcel.number
        if taken:
            changed = sorted(taken)
            await cursor.execute(_ADD, (*_columns(changed), [taken[key] for key in changed]))
        return refused

    def rows(self, parcels: Sequence[Metered], short: set[Account]) -> list[Row]:
        """What is stored of shares (`SHARES`) together with these parcels. `short`: is counted otherwise."""
        return [
            (number, self._holder_id, account.short.subject_id, account.short.starts_at)
            for account, number in _needs(parcels).items()
            if account not in short
        ]

    def spend(self, parcels: Sequence[Metered], short: set[Account]) -> None:
        """They are stored."""
        for account, number in _needs(parcels).items():
            if account not in short:
                self._spare[account] -= number
        if len(self._under) > KEPT_MOST:
            self.forget_all()  # a grant tells what is left of each

    def forget(self, parcels: Sequence[Metered]) -> None:
        """Their shares are not what they were."""
        for parcel in parcels:
            for account in parcel.accounts:
                self._spare.pop(account, None)

    def forget_all(self) -> None:
        self._spare.clear()
        self._under.clear()

    async def give_back(self, connection: AsyncConnection[Any]) -> None:
        """What it has left, at the end."""
        accounts = {account for account, spare in self._spare.items() if spare}
        self._spare.clear()
        if accounts:
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.execute(LOCK_COUNTERS, _columns(sorted({account.long for account in accounts})))
                await cursor.execute(LOCK_SHARES, terms := (*_gates(accounts), self._holder_id))
                await cursor.execute(TAKE_BACK, terms)

    async def _lay(self, connection: AsyncConnection[Any], accounts: Iterable[Account]) -> None:
        keys = _in_order(accounts)
        first = [first_id_at(key.starts_at) for key in keys]
        await connection.execute(_LAY, (*_columns(keys), first, [first_id_at(key.ends_at) for key in keys]))

    async def _take_back(self, cursor: AsyncCursor[Any], accounts: set[Account], used: Counter[Key]) -> None:
        await cursor.execute(LOCK_SHARES, terms := (*_gates(accounts), None))
        await cursor.execute(TAKE_BACK, terms)
        for row in await cursor.fetchall():
            if (key := _key(row)) in used:
                used[key] -= int(row[3])
        subjects = {account.short.subject_id for account in accounts}
        self._spare = {
            account: spare for account, spare in self._spare.items() if account.short.subject_id not in subjects
        }


def _needs(parcels: Iterable[Metered]) -> Counter[Account]:
    numbers: dict[int, list[Any]] = {}  # by the identity of accounts, which costs less than to look into them
    for parcel in parcels:
        numbers.setdefault(id(parcel.accounts), [parcel.accounts, 0])[1] += parcel.number
    needs = Counter[Account]()
    for accounts, number in numbers.values():
        for account in accounts:
            needs[account] += number
    return needs


def _tight(parcels: Sequence[Metered], short: set[Account], used: Counter[Key]) -> set[Account]:
    """Where not all parcels fit, for now."""
    needs = _needs(parcels)
    return {
        account
        for parcel in parcels
        for account, allowance in parcel.accounts.items()
        if account in short
        and any(_passes(limit, used[key] + needs[account]) for key, limit in _limits(account, allowance))
    }


def _full(parcel: Metered, short: set[Account], used: Counter[Key]) -> list[tuple[UsageLimit, Key, Allowance]]:
    """The limits that it would pass."""
    return [
        (limit, key, allowance)
        for account, allowance in parcel.accounts.items()
        if account in short
        for key, limit in _limits(account, allowance)
        if _passes(limit, used[key] + parcel.number)
    ]


def _limits(account: Account, allowance: Allowance) -> tuple[tuple[Key, UsageLimit], tuple[Key, UsageLimit]]:
    return (account.short, allowance.short), (account.long, allowance.long)


def _passes(limit: UsageLimit, number: int) -> bool:
    return limit.most is not None and number > limit.most


def _in_order(accounts: Iterable[Account]) -> list[Key]:
    """In which all transactions lock counters: by subject, the longer one first."""
    ordered = sorted(set(accounts), key=lambda account: (account.long, account.short))
    return list(dict.fromkeys(key for account in ordered for key in (account.long, account.short)))


def _columns(keys: Iterable[Key]) -> tuple[list[Any], ...]:
    keys = list(keys)
    return [key.subject_id for key in keys], [key.period for key in keys], [key.starts_at for key in keys]


def _gates(accounts: Iterable[Account]) -> tuple[list[Any], ...]:
    """The terms of TAKE_BACK: each subject's longer period once, all of it."""
    gates = {account.long: account.short.period for account in accounts}
    keys = sorted(gates)
    return (
        [key.subject_id for key in keys],
        [gates[key] for key in keys],
        [key.period for key in keys],
        [key.starts_at for key in keys],
        [key.ends_at for key in keys],
    )


def _key(row: Sequence[Any]) -> Key:
    return Key(row[0], row[1], row[2].astimezone(UTC))


def _refusal(allowance: Allowance, limit: UsageLimit, key: Key, used: int, wanted: int) -> Refused:
    return Refused(
        limit.code,
        retry_after_s=max(1, math.ceil((key.ends_at - datetime.now(UTC)).total_seconds())),
        subject=allowance.subject,
        most=f"{limit.most:,}",
        period=key.period,
        used=f"{used:,}",
        wanted=f"{wanted:,}",
        until=f"{key.ends_at:%H:%M} UTC" if key.period == "hour" else f"{key.ends_at:%-d %B, %H:%M} UTC",
    )
