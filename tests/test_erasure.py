"""An organization that was erased leaves one line and nothing else, wherever the work was interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection
from django.db.models import Model
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.audit import SYSTEM, note
from accounts.deletion import request_deletion
from accounts.ids import uuid7
from accounts.models import (
    AuditEntry,
    Erasure,
    IdempotentAnswer,
    Invitation,
    MailHold,
    Notice,
    Organization,
    QuotaNotice,
)
from accounts.notices import notify_owners
from events.models import Event
from plugsend.erasure import work
from plugsend.erasure.plan import ERASED, KEPT, KEPT_APPS
from plugsend.erasure.work import erase_due
from relay.database import database_url
from relay.delivery.return_path import return_path
from relay.models import (
    IdempotencyKey,
    IpPool,
    PoolAssignment,
    Recipient,
    Suppression,
    Template,
    TemplateVersion,
    UsageCounter,
)
from relay.sandbox.models import ReceivedMail, ZoneFault
from relay.sandbox.zone import publish
from tests.factories import Tenant, make_domain, make_message, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def system() -> Organization:
    return Organization.objects.create(name="PlugSend", is_system=True)


def fill(name: str) -> tuple[Tenant, list[UUID]]:
    """A tenant with a row in every table that erasure knows, and the ids by which traces of it would be found."""
    tenant = make_tenant(name)
    organization, now = tenant.organization, timezone.now()
    domain = make_domain(organization, f"{name.lower()}.test")
    smtp_user = make_smtp_user(domain)
    api_key = create_api_key(organization, "Web").api_key
    publish(domain)
    ZoneFault.objects.create(name=domain.name, kind="servfail", published_for=domain)
    pool, _ = IpPool.objects.get_or_create(name="Fast")
    PoolAssignment.objects.create(pool=pool, domain=domain)
    PoolAssignment.objects.create(pool=pool, organization=organization)
    messages = [
        make_message(domain, smtp_user_id=smtp_user.pk),
        make_message(domain, state="bounced", reason="no_such_address"),
        make_message(domain, state="deferred"),
        make_message(domain, state="scheduled"),
    ]
    recipient = Recipient.objects.get(message_id=messages[0].pk)
    ReceivedMail.objects.create(
        envelope_sender=return_path(recipient.pk, domain.name), recipients=["bob@inbox.test"], raw=b"", dkim="pass"
    )
    template = Template.objects.create(organization=organization, name="Receipt")
    TemplateVersion.objects.create(template=template, number=1, subject=name)
    UsageCounter.objects.create(subject_id=smtp_user.pk, period="hour", starts_at=now, count=1)
    Suppression.objects.create(organization=organization, address="dead@inbox.test", reason="manual")
    IdempotencyKey.objects.create(
        organization=organization, scope="key", key="1", fingerprint=b"1", message_id=messages[0].pk, created_at=now
    )
    IdempotentAnswer.objects.create(
        organization=organization, endpoint="x", key="1", fingerprint=b"1", status=201, answer=b"1"
    )
    Invitation.objects.create(
        organization=organization, email="new@people.test", role="viewer", digest=name.encode(), expires_at=now
    )
    QuotaNotice.objects.create(organization=organization, quota="day", starts_at=now, percent=80)
    notify_owners(organization, "domain_recovered", domain=domain.name)
    note(SYSTEM, "organization.changed", organization, organization_id=organization.pk)
    for target in (organization, domain):
        kind = ContentType.objects.get_for_model(target)
        LogEntry.objects.create(
            user=tenant.user, content_type=kind, object_id=str(target.pk), object_repr=name, action_flag=2
        )
    # What no message leads to.
    Event.objects.create(
        organization=organization, message_id=uuid7(), recipient_id=uuid7(), address="x", type="submitted",
        occurred_at=now,
    )  # fmt: skip
    traces = [organization, domain, smtp_user, api_key, template, recipient, *messages, *domain.dkim_keys.all()]
    return tenant, [one.pk for one in traces]


def ask_to_erase(organization: Organization) -> None:
    """As after the grace period."""
    request_deletion(organization)
    Organization.objects.filter(pk=organization.pk).update(erase_at=timezone.now(), mail_hold=MailHold.HELD)


def found(traces: list[UUID]) -> dict[str, int]:
    """How many rows of each table of the database name one of the ids anywhere. Keys in bytes apart, ids stand as text."""
    pattern = "|".join(str(one) for one in traces)
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


def test_nothing_is_left_but_a_line_and_others_are_untouched() -> None:
    _, others_traces = fill("Other")
    before, before_rows = found(others_traces), rows_in_all_tables()
    assert [model._meta.label for model, count in before_rows.items() if not count] == []
    tenant, traces = fill("Acme")
    assert len(found(traces)) >= 20
    ask_to_erase(tenant.organization)
    assert erase_due(60) == 1
    assert found(traces) == {"accounts_erasure": 1}
    assert found(others_traces) == before
    told = Notice.objects.get(address=tenant.user.email)
    assert (told.template, told.values) == ("organization_erased", {"name": "Acme"})
    told.delete()
    after = rows_in_all_tables()
    assert after == before_rows
    erasure = Erasure.objects.get()
    assert erasure.finished_at is not None
    assert erasure.counts["messages"] == 4
    assert erasure.counts["events"] == 9
    tenant.user.refresh_from_db()  # people keep their accounts
    assert erase_due(60) == 0


def test_nobody_else_may_take_from_the_logs() -> None:
    tenant, _ = fill("Acme")
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
    tenant, traces = fill("Acme")
    ask_to_erase(tenant.organization)
    program = (
        "import django; django.setup(); import plugsend.erasure.work as work;"
        " work.WAITS_FOR_LOCKS = '100s'; work.erase_due(100)"
    )
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "plugsend.settings"}
    with psycopg.connect(database_url()) as holder:
        # It stops in the midst of a message, after its contents and events.
        holder.execute("SELECT FROM relay_recipient WHERE organization_id = %s FOR UPDATE", [tenant.organization.pk])
        process = subprocess.Popen([sys.executable, "-c", program], env=environment)
        try:
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            deadline = time.monotonic() + 60
            while not holder.execute(waits).fetchone()[0]:
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
    assert found(traces) == {"accounts_erasure": 1}


def test_it_goes_on_wherever_its_time_ends() -> None:
    tenant, traces = fill("Acme")
    ask_to_erase(tenant.organization)
    rounds = 0
    real = work._Eraser._delete

    def one_batch(self: Any, *statements: Any) -> int:
        gone = real(self, *statements)
        if gone:
            self._until = 0.0
        return gone

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "ROWS", 2)
        patch.setattr(work, "MESSAGES_AT_ONCE", 2)
        patch.setattr(work._Eraser, "_delete", one_batch)
        while not erase_due(60):
            rounds += 1
            assert Erasure.objects.get().finished_at is None
    assert rounds > 20
    assert found(traces) == {"accounts_erasure": 1}
    assert Erasure.objects.get().counts["messages"] == 4
