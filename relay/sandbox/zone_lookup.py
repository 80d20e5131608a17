"""What the sandbox's zone has at a name, out of the database."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from django.conf import settings

from relay.sandbox.database import Connection, Database
from relay.sandbox.faults import Fault, Kind, Role, Rows
from relay.sandbox.internet import Lookup, ZoneRows

FAULTS_AT = """
    SELECT name, kind, role, server, rows, ede, extract(epoch FROM until - now())::float FROM sandbox_zonefault
    WHERE name = ANY(%s) AND (until IS NULL OR until > now())
"""
ROWS_AT = "SELECT name, type, value FROM sandbox_zonerecord WHERE name = ANY(%s) ORDER BY name, type, value"
ANY_BELOW = "SELECT EXISTS (SELECT FROM sandbox_zonerecord WHERE right(name, %s) = %s)"


def zone_of(database: Database) -> Lookup:
    """Looks rows and faults up as they are now."""
    by_itself = _platform_rows()

    async def lookup(name: str) -> ZoneRows:
        async def read(connection: Connection) -> ZoneRows:
            names = ancestry(name)
            faults = await (await connection.execute(FAULTS_AT, [names])).fetchall()
            asked = [*names, *(f"*.{above}" for above in names[1:])]
            found = _by_name(await (await connection.execute(ROWS_AT, [asked])).fetchall())
            rows, has_below = found.get(name) or by_itself.get(name, ()), False
            if not rows:
                rows = await _by_wildcard(connection, names, found)
                has_below = "_" in name and await _is_any_below(connection, name)  # others exist anyhow
            cut = nearest_cut(names, found)
            return ZoneRows(rows, has_below, cut, found.get(cut, ()), tuple(_fault(*fault) for fault in faults))

        return await database.run(read)

    return lookup


def _platform_rows() -> dict[str, Rows]:
    """What stands behind customers' return paths: bounces come to us (RFC 5321, 5.1), who may send (RFC 7208)."""
    spf = "v=spf1 ip4:127.0.0.1 ip6:::1 -all"
    return {settings.RETURN_PATH_TARGET.rstrip(".").lower(): (("MX", f"10 {settings.HOSTNAME}."), ("TXT", spf))}


async def _by_wildcard(connection: Connection, names: list[str], found: dict[str, Rows]) -> Rows:
    """RFC 4592, 3.3.1: it gives to what does not exist, and not past a name that does exist on the way down."""
    wildcard, child = nearest_wildcard(names, found)
    if not wildcard or child in found or await _is_any_below(connection, child):
        return ()
    return wildcard


async def _is_any_below(connection: Connection, name: str) -> bool:
    row = await (await connection.execute(ANY_BELOW, [len(name) + 1, "." + name])).fetchone()
    return bool(row and row[0])


def ancestry(name: str) -> list[str]:
    """The name and those above it, nearest first."""
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def nearest_wildcard(names: list[str], found: dict[str, Rows]) -> tuple[Rows, str]:
    """Its rows, and the name next below its parent on the way to `names[0]`."""
    for child, above in pairwise(names):
        if rows := found.get(f"*.{above}"):
            return rows, child
    return (), ""


def nearest_cut(names: list[str], found: dict[str, Rows]) -> str:
    """See `ZoneRows`."""
    return next((name for name in names if any(type_ in {"NS", "DS"} for type_, _ in found.get(name, ()))), "")


def _by_name(rows: list[tuple[Any, ...]]) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for name, type_, value in rows:
        found[name] = (*found.get(name, ()), (type_, value))
    return found


def _fault(name: str, kind: str, role: str, server: int, rows: list[Any], ede: int, remaining_s: float | None) -> Fault:
    told_by = Role(role) if role else None
    return Fault(name, Kind(kind), told_by, server, tuple((type_, value) for type_, value in rows), ede, remaining_s)
