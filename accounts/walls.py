"""The two walls between tenants, around each request of a member or of a program.

The first: a query of tenants' rows that was not scoped (`accounts.scoping`) raises `UnscopedQuery`. The second: from the moment
at which the organization is known (`act_for`) the thread's connection to the database is a role that has no rights beyond that
organization's rows (`accounts.row_security`), so that what the first does not see (a relation, raw SQL) cannot cross either.

Both stand in the thread that serves the request. Engines, tasks, commands, the admin and threads of their own have no walls:
what they do is not in one tenant's name. What a request must do beyond its organization stands in `across_organizations()`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from psycopg.pq import TransactionStatus

from accounts.row_security import ORGANIZATION_SETTING, USER_SETTING, usable_role

logger = logging.getLogger(__name__)

ASK_AGAIN_S = 60.0  # whether the role is there now

_SET = "SELECT " + ", ".join(
    f"set_config('{name}', %s, false)" for name in ("role", ORGANIZATION_SETTING, USER_SETTING)
)


class UnscopedQuery(RuntimeError):
    """A mistake of ours: in a request, a query of tenants' rows that does not say of which organization."""


class NoRowSecurity(RuntimeError):
    """The second wall is insisted on (REQUIRE_ROW_SECURITY) and cannot be put up."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """In whose name a request acts. `user_id`: the member; a program has none."""

    organization_id: UUID
    user_id: UUID | None = None


class _Here(threading.local):
    """Of this thread, as Django's connections are."""

    is_guarded = False  # the first wall
    tenant: Tenant | None = None  # the second wall


_here = _Here()


@contextmanager
def around_request() -> Iterator[None]:
    """The first wall, and the end of the second, however the request ends."""
    before = _here.is_guarded, _here.tenant
    _here.is_guarded = True
    try:
        yield
    finally:
        _here.is_guarded = before[0]
        _stand_behind(before[1])


def act_for(organization_id: UUID, user_id: UUID | None = None) -> None:
    """From here on, to the end of the request, the connection reaches this organization's rows only. Raises NoRowSecurity."""
    if not _here.is_guarded:
        raise RuntimeError("There is no request whose end would take the wall down.")
    _stand_behind(Tenant(organization_id, user_id))


@contextmanager
def across_organizations() -> Iterator[None]:
    """No walls: for what is not the tenant's own, such as who else has a domain. Also as a decorator."""
    before = _here.is_guarded, _here.tenant
    _here.is_guarded = False
    _stand_behind(None)
    try:
        yield
    finally:
        _here.is_guarded = before[0]
        _stand_behind(before[1])


@contextmanager
def behind_walls_again(tenant: Tenant | None) -> Iterator[None]:
    """For parts of a request that run later, such as the next piece of an answer that streams."""
    with around_request():
        _stand_behind(tenant)
        yield


def current_tenant() -> Tenant | None:
    return _here.tenant


def check_scoped(is_scoped: bool, model: type) -> None:
    """Raises UnscopedQuery."""
    if _here.is_guarded and not is_scoped:
        raise UnscopedQuery(
            f"{model.__name__}.objects is asked without .of(organization) in a request. "
            "What is not the tenant's own stands in accounts.walls.across_organizations()."
        )


# ---- The second wall -------------------------------------------------------------------------------------------------


def _stand_behind(tenant: Tenant | None) -> None:
    if tenant == _here.tenant:
        return
    _here.tenant = tenant  # first: a connection that is made from here on is made so
    try:
        if tenant is not None:
            connection.ensure_connection()
            connection.close_if_health_check_failed()
        if connection.connection is not None and not connection.connection.closed:
            _apply(connection, tenant)
        elif tenant is not None:
            connection.ensure_connection()
    except BaseException:
        # Which role it has, nobody knows: it is not used again.
        connection.close()
        raise


def _apply(wrapper: Any, tenant: Tenant | None) -> None:
    """Not by a cursor of Django's: it would refuse inside of a transaction that is to be rolled back."""
    role = _role(wrapper)
    if role is None:
        return
    raw = wrapper.connection
    if raw.info.transaction_status == TransactionStatus.INERROR:
        return  # the rollback that must come takes back what was set inside, and no statement is possible before
    values = (role, str(tenant.organization_id), str(tenant.user_id or "")) if tenant else ("none", "", "")
    with wrapper.wrap_database_errors:
        raw.execute(_SET, values)


@receiver(connection_created)
def _when_connected(connection: Any, **_: Any) -> None:
    """A connection that replaces another in the middle of a request stands behind the same wall."""
    if _here.tenant is not None and connection.vendor == "postgresql":
        _apply(connection, _here.tenant)


_known: dict[str, tuple[str | None, float]] = {}  # by connection parameters' user and host: the role, and when asked


def _role(wrapper: Any) -> str | None:
    """The tenant's role; None: there is none, which is asked again later. Raises NoRowSecurity."""
    place = f"{wrapper.settings_dict['USER']}@{wrapper.settings_dict['HOST']}"
    role, asked_at = _known.get(place, (None, float("-inf")))
    if role is None and time.monotonic() >= asked_at + ASK_AGAIN_S:
        raw = wrapper.connection
        if raw.info.transaction_status == TransactionStatus.INERROR:
            return None
        role = usable_role(raw)
        _known[place] = role, time.monotonic()
    if role is None and _here.tenant is not None and settings.REQUIRE_ROW_SECURITY:
        raise NoRowSecurity("The database has no role for tenants: see `manage.py check --database default`.")
    return role
