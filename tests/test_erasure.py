"""An organization that was erased leaves one line and nothing else, wherever the work was interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection
from django.db.models import ForeignKey, Model, UUIDField
from django.utils import timezone

from accounts.deletion import request_deletion
from accounts.ids import uuid7
from accounts.models import ApiKey, AuditEntry, Erasure, MailHold, Notice, Organization, User
from accounts.notices import notify_owners
from events.models import Event
from plugsend.erasure import work
from plugsend.erasure.plan import ERASED, KEPT, KEPT_APPS, STEPS
from plugsend.erasure.work import erase_due
from relay.database import database_url
from relay.delivery.return_path import return_path
from relay.models import IpPool, PoolAssignment, Recipient, Template
from relay.sandbox.models import ReceivedMail, ZoneFault
from relay.sandbox.zone import publish
from tests.factories import make_tenant
from tests.full_tenant import FullTenant, make_full_tenant, rows_of, tenant_models

pytestmark = pytest.mark.django_db(transaction=True)


# Of an organization that is erased: people keep their accounts, and the owner is told.
LEFT = {"accounts_erasure": 1, "accounts_user": 4, "account_emailaddress": 1, "accounts_notice": 1}


@pytest.fixture(autouse=True)
def system() -> Organization:
    return Organization.objects.create(name="PlugSend", is_system=True)


def fill(mark: str) -> tuple[FullTenant, list[str]]:
    """A tenant with a row in every table that erasure knows, and the words by which traces of it would be found."""
    tenant = make_full_tenant(mark)
    organization, domain, now = tenant.organization, tenant.domain, timezone.now()
    publish(domain)
    ZoneFault.objects.create(name=domain.name, kind="servfail", published_for=domain)
    PoolAssignment.objects.create(pool=IpPool.objects.get(), domain=domain)
    ApiKey.objects.filter(pk=tenant.keys["send"].api_key.pk).update(
        created_with=tenant.keys["full"].api_key, replaced_by=tenant.keys["read"].api_key
    )
    recipient = Recipient.objects.of(organization).earliest("id")
    ReceivedMail.objects.create(
        envelope_sender=return_path(recipient.pk, domain.name), recipients=["bob@inbox.test"], raw=b"", dkim="pass"
    )
    notify_owners(organization, "domain_recovered", domain=domain.name)
    for target in (organization, domain, Template.objects.of(organization).get(), tenant.keys["send"].api_key):
        kind = ContentType.objects.get_for_model(target)
        LogEntry.objects.create(
            user=tenant.members["owner"], content_type=kind, object_id=str(target.pk), object_repr=mark, action_flag=2
        )
    # What no message leads to.
    Event.objects.create(
        organization=organization, message_id=uuid7(), recipient_id=uuid7(), address="x", type="submitted",
        occurred_at=now,
    )  # fmt: skip
    models = [model for model in tenant_models() if isinstance(model._meta.pk, UUIDField) and model is not User]
    ids = [str(key) for model in models for key in rows_of(model, organization).values_list("pk", flat=True)]
    return tenant, [mark, *ids]


def ask_to_erase(organization: Organization) -> None:
    """As after the grace period."""
    request_deletion(organization)
    Organization.objects.filter(pk=organization.pk).update(erase_at=timezone.now(), mail_hold=MailHold.HELD)


def found(traces: list[str]) -> dict[str, int]:
    """How many rows of each table of the database have one of the words anywhere."""
    pattern = "|".join(traces)
    rows = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace = current_schema()::regnamespace"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text ~ %s', [pattern])
            if count := cursor.fetchone()[0]:
                rows[table] = count
    return rows


def rows_in_all_tables() -> dict[type[Model], int]:
    return {model: model._default_manager.count() for model in ERASED}


def test_every_table_is_erased_or_known_to_hold_nothing_of_organizations() -> None:
    forgotten = [
        model._meta.label
        for model in apps.get_models(include_auto_created=True)
        if model not in ERASED | KEPT and model._meta.app_label not in KEPT_APPS
    ]
    assert forgotten == []
    owned = {m for m in apps.get_models() if any(f.column == "organization_id" for f in m._meta.concrete_fields)}
    assert owned - ERASED == {Erasure}
    assert set(tenant_models()) - ERASED == {User}


def test_a_row_goes_before_what_it_points_to() -> None:
    """Or its foreign key would stop the erasure."""
    places = {step.model: place for place, step in enumerate(STEPS)}
    cut = {(step.model, column) for step in STEPS for column in step.cut}
    wrong = []
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.concrete_fields:
            target = field.related_model if isinstance(field, ForeignKey) and field.db_constraint else None
            if target not in places or (model, field.column) in cut:
                continue
            if model not in places or places[model] >= places[target]:
                wrong.append(f"{model._meta.label}.{field.name}")
    assert wrong == []


def test_nothing_is_left_but_a_line_and_others_are_untouched() -> None:
    _, others_traces = fill("staying")
    before, before_rows = found(others_traces), rows_in_all_tables()
    assert [model._meta.label for model, count in before_rows.items() if not count] == []
    tenant, traces = fill("leaving")
    assert len(found(traces)) >= 20
    ask_to_erase(tenant.organization)
    assert erase_due(60) == 1
    assert found(traces) == LEFT
    assert found(others_traces) == before
    owner = tenant.members["owner"]
    told = Notice.objects.get(address=owner.email)
    assert (told.template, told.values) == ("organization_erased", {"name": "leaving Ltd"})
    told.delete()
    after = rows_in_all_tables()
    assert after == before_rows
    erasure = Erasure.objects.get()
    assert erasure.finished_at is not None
    assert erasure.counts["messages"] == 4
    assert erasure.counts["events"] == 9
    assert erase_due(60) == 0


def test_nobody_else_may_take_from_the_logs() -> None:
    tenant, _ = fill("leaving")
    mine = {"organization_id": tenant.organization.pk}

    def setting(organization: Organization) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('plugsend.erasing', %s, false)", [str(organization.pk)])

    acts: list[Callable[[], Any]] = [
        lambda: Event.objects.filter(**mine).delete(),
        lambda: AuditEntry.objects.filter(**mine).delete(),
    ]
    for act in acts:
        with pytest.raises(DatabaseError, match="append-only"):
            act()
    setting(tenant.organization)
    for act in acts:  # not without an erasure that goes on
        with pytest.raises(DatabaseError, match="append-only"):
            act()
    other = make_tenant("Other").organization
    Erasure.objects.create(pk=other.pk, requested_at=timezone.now())
    setting(other)
    for act in acts:  # not another's
        with pytest.raises(DatabaseError, match="append-only"):
            act()
    with pytest.raises(DatabaseError, match="append-only"):
        Event.objects.update(address="y")
    connection.close()


def test_a_killed_process_is_taken_up_by_the_next() -> None:
    tenant, traces = fill("leaving")
    ask_to_erase(tenant.organization)
    program = (
        "import django; django.setup(); import plugsend.erasure.work as work;"
        " work.WAITS_FOR_LOCKS = '100s'; work.erase_due(100)"
    )
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "plugsend.settings"}
    with psycopg.connect(database_url()) as holder, psycopg.connect(database_url(), autocommit=True) as looking:
        # It stops in the midst of a message, after its contents and events.
        holder.execute("SELECT FROM relay_recipient WHERE organization_id = %s FOR UPDATE", [tenant.organization.pk])
        process = subprocess.Popen([sys.executable, "-c", program], env=environment)
        try:
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            deadline = time.monotonic() + 60
            while not looking.execute(waits).fetchone()[0]:
                assert time.monotonic() < deadline
                assert process.poll() is None
            assert erase_due(60) == 0  # one process at a time
        finally:
            process.kill()
            process.wait()
    left = found(traces)
    assert "domains_dkimkey" not in left
    assert {"relay_message", "relay_recipient", "events_event"} <= left.keys()  # whole messages only
    assert Erasure.objects.get().finished_at is None
    while erase_due(60) == 0:
        pass  # until PostgreSQL has noticed that the connection is gone
    assert found(traces) == LEFT


def test_it_goes_on_wherever_its_time_ends() -> None:
    tenant, traces = fill("leaving")
    ask_to_erase(tenant.organization)
    rounds = 0
    real = work._Eraser._change

    def one_batch(self: Any, *statements: Any) -> int:
        gone = real(self, *statements)
        if gone:
            self._until = 0.0
        return gone

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "ROWS", 2)
        patch.setattr(work, "MESSAGES_AT_ONCE", 2)
        patch.setattr(work._Eraser, "_change", one_batch)
        while not erase_due(60):
            rounds += 1
            assert Erasure.objects.get().finished_at is None
    assert rounds > 20
    assert found(traces) == LEFT
    assert Erasure.objects.get().counts["messages"] == 4
