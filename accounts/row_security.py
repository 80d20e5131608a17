"""The rights of tenants in PostgreSQL: a role of their own, and for each table a policy that shows it one organization's rows.

The platform connects as the owner of the tables, whom policies do not concern (PostgreSQL manual, 5.9): engines, tasks and
the mail path pay nothing. The role cannot sign in; `accounts.walls` puts it on for the length of a request. Whose the rows of a
table are stands with its model (`belonging`); one of which nothing is said is closed to tenants. `lay` makes the database as
the models say, after each migration, and changes nothing where it is so already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection, connections, transaction
from django.db.models import Model
from psycopg import sql
from psycopg.errors import DuplicateObject, InsufficientPrivilege, UniqueViolation

ORGANIZATION_SETTING, USER_SETTING = "plugsend.organization", "plugsend.user"
# Not set means NULL, which equals nothing. Of a connection that had it once, '' is left.
ORGANIZATION = f"NULLIF(current_setting('{ORGANIZATION_SETTING}', true), '')::uuid"
USER = f"NULLIF(current_setting('{USER_SETTING}', true), '')::uuid"

_ROLE = "left(session_user::text, 56) || '_tenant'"  # two installations of one cluster have different users, or may share it
_LOCK = 7204


# ---- What belongs to whom --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Belonging:
    """What tenants may do (`rights`) with which rows of a table.

    `own`: the condition, of SQL; `{organization}` and `{user}` are those in whose name a request acts. `seen`: that of further
    rows that may be read.
    """

    own: str
    rights: str = "SELECT, INSERT, UPDATE, DELETE"
    seen: str = ""


OWN = Belonging("organization_id = {organization}")
LOGGED = Belonging("organization_id = {organization}", "SELECT, INSERT")
CLOSED = Belonging("false", "")


def shared(rights: str = "SELECT") -> Belonging:
    """For tables without data of tenants."""
    return Belonging("true", rights)


@dataclass(frozen=True, slots=True)
class Through:
    """Rows that belong to whom another table's row belongs: `column` holds the key of one of `model`.

    `is_partitioned`: that table is, by its key. A condition is planned for all partitions with each statement (10 ms at 60); in
    a function it is planned for the key that is asked for, and so for one.
    """

    column: str
    model: str
    is_partitioned: bool = False

    @property
    def parent(self) -> type[Model]:
        return apps.get_model(self.model)

    @property
    def function(self) -> str:
        return f"{self.parent._meta.db_table}_is_own"


def belonging_of(model: type[Model]) -> Belonging:
    """As declared at the model (`belonging`); OWN where it has an organization; else closed."""
    declared = declared_of(model)
    if isinstance(declared, Through):
        table, key = declared.parent._meta.db_table, declared.parent._meta.pk.column
        if declared.is_partitioned:
            return Belonging(f"{declared.function}({declared.column})")
        return Belonging(f"EXISTS (SELECT FROM {table} p WHERE p.{key} = {model._meta.db_table}.{declared.column})")
    return declared or CLOSED


def declared_of(model: type[Model]) -> Belonging | Through | None:
    """None: nothing is said of it."""
    declared: Belonging | Through | None = getattr(model, "belonging", None)
    if declared is None and any(field.column == "organization_id" for field in model._meta.concrete_fields):
        return OWN
    return declared


# ---- Laying it into the database -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Policy:
    name: str
    command: str  # ALL or SELECT
    condition: str

    def statement(self, table: str) -> str:
        checked = f" WITH CHECK ({self.condition})" if self.command == "ALL" else ""
        return f"CREATE POLICY {self.name} ON {table} FOR {self.command} USING ({self.condition}){checked}"

    def mark(self, table: str) -> str:
        return hashlib.sha256(self.statement(table).encode()).hexdigest()[:16]


def lay() -> str | None:
    """Makes policies and rights as the models say, and the role if it may. Returns the role; None: there is none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        role = usable_role(cursor.connection) or _make_role(cursor)
        tables = {model._meta.db_table: belonging_of(model) for model in _models()}
        for model in _models():
            declared = declared_of(model)
            if isinstance(declared, Through) and declared.is_partitioned:
                _lay_function(cursor, declared)
        marks = _marks(cursor)
        for table, belonging in tables.items():
            _lay_policies(cursor, table, list(_policies(belonging)), marks.get(table, {}))
        if role:
            _grant(cursor, role, {table: _rights(belonging) for table, belonging in tables.items()})
    return role


def _lay_function(cursor: Any, through: Through) -> None:
    table, key = through.parent._meta.db_table, through.parent._meta.pk.column
    body = f"BEGIN RETURN EXISTS (SELECT FROM {table} WHERE {key} = $1); END"
    cursor.execute("SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure(%s)", [f"{through.function}(uuid)"])
    if cursor.fetchone() != (body,):
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {through.function}(uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS '{body}'"
        )


def _models() -> list[type[Model]]:
    return [
        model for model in apps.get_models(include_auto_created=True) if model._meta.managed and not model._meta.proxy
    ]


def _rights(belonging: Belonging) -> frozenset[str]:
    return frozenset(filter(None, belonging.rights.split(", ")))


def _policies(belonging: Belonging) -> Iterator[_Policy]:
    if belonging.own == "true" or belonging == CLOSED:
        return
    words = {"organization": ORGANIZATION, "user": USER}
    yield _Policy("own", "ALL", belonging.own.format(**words))
    if belonging.seen:
        yield _Policy("seen", "SELECT", belonging.seen.format(**words))


def _marks(cursor: Any) -> dict[str, dict[str, str]]:
    """By table with row security, and policy: what it was made from."""
    cursor.execute(
        "SELECT c.relname, p.polname, obj_description(p.oid, 'pg_policy') FROM pg_class c"
        " LEFT JOIN pg_policy p ON p.polrelid = c.oid"
        " WHERE c.relrowsecurity AND c.relnamespace = current_schema()::regnamespace"
    )
    found: dict[str, dict[str, str]] = {}
    for table, policy, mark in cursor.fetchall():
        found.setdefault(table, {}).update({policy: mark} if policy else {})
    return found


def _lay_policies(cursor: Any, table: str, wanted: Sequence[_Policy], marks: dict[str, str]) -> None:
    if not wanted and not marks:
        return
    if {policy.name: policy.mark(table) for policy in wanted} == marks:
        return
    for name in marks:
        cursor.execute(f"DROP POLICY {name} ON {table}")
    for policy in wanted:
        cursor.execute(policy.statement(table))
        cursor.execute(f"COMMENT ON POLICY {policy.name} ON {table} IS '{policy.mark(table)}'")
    cursor.execute(f"ALTER TABLE {table} {'ENABLE' if wanted else 'DISABLE'} ROW LEVEL SECURITY")


def _grant(cursor: Any, role: str, wanted: dict[str, frozenset[str]]) -> None:
    cursor.execute(
        "SELECT c.relname, array_agg(a.privilege_type::text) FROM pg_class c, aclexplode(c.relacl) a"
        " WHERE c.relnamespace = current_schema()::regnamespace AND a.grantee = %s::regrole GROUP BY 1",
        [_quoted(role)],
    )
    granted = {table: frozenset(rights) for table, rights in cursor.fetchall()}
    name = _quoted(role)
    for table, rights in wanted.items():
        if granted.get(table, frozenset()) != rights:
            cursor.execute(f"REVOKE ALL ON {table} FROM {name}")
            if rights:
                cursor.execute(f"GRANT {', '.join(sorted(rights))} ON {table} TO {name}")
    cursor.execute("SELECT has_schema_privilege(%s, current_schema(), 'USAGE'), quote_ident(current_schema())", [role])
    may_use, schema = cursor.fetchone()
    if not may_use:
        cursor.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


# ---- The role --------------------------------------------------------------------------------------------------------


def usable_role(raw: Any) -> str | None:
    """The tenants' role, if it is there and we may put it on. `raw`: a connection of psycopg's."""
    how = "SET" if raw.info.server_version >= 160000 else "MEMBER"
    found = raw.execute(
        f"SELECT rolname FROM pg_roles WHERE rolname = {_ROLE} AND pg_has_role(session_user, oid, '{how}')"  # noqa: S608
        " AND NOT rolsuper AND NOT rolbypassrls"
    ).fetchone()
    return found[0] if found else None


def _make_role(cursor: Any) -> str | None:
    try:
        with transaction.atomic():
            cursor.execute(f"SELECT {_ROLE}, EXISTS (SELECT FROM pg_roles WHERE rolname = {_ROLE})")  # noqa: S608
            role, is_there = cursor.fetchone()
            if not is_there:
                cursor.execute(f"CREATE ROLE {_quoted(role)} NOLOGIN")
            cursor.execute(f"GRANT {_quoted(role)} TO SESSION_USER")
    except Exception as error:
        if not isinstance(error.__cause__, InsufficientPrivilege | DuplicateObject | UniqueViolation):
            raise
    return usable_role(cursor.connection)


def advice(raw: Any) -> str:
    """What an operator runs where we may not make the role."""
    user, role = raw.execute(f"SELECT session_user::text, {_ROLE}").fetchone()
    return f"CREATE ROLE {_quoted(role)} NOLOGIN; GRANT {_quoted(role)} TO {_quoted(user)};"


NO_ROLE = (
    "The database has no role for tenants, and ours may not make one: row-level security does not guard web and API requests."
    " Organizations are kept apart by the platform's own queries alone."
)


@register(Tags.database)
def check_row_security(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether the second wall stands, or can be put up by the next migration."""
    if not databases or "default" not in databases:
        return []
    wrapper = connections["default"]
    wrapper.ensure_connection()
    raw = wrapper.connection
    if usable_role(raw) or raw.execute(_MAY_MAKE).fetchone()[0]:
        return []
    kind = Error if settings.REQUIRE_ROW_SECURITY else Warning
    hint = f"As a role that may: {advice(raw)} Then: manage.py migrate."
    return [kind(NO_ROLE, hint=hint, id="plugsend.E001" if settings.REQUIRE_ROW_SECURITY else "plugsend.W001")]


# One that is there and that we may not put on is another's to give.
_MAY_MAKE = f"""
    SELECT (rolsuper OR rolcreaterole) AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {_ROLE})
    FROM pg_roles WHERE rolname = session_user
"""  # noqa: S608
