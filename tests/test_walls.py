"""No request reaches another organization's rows, even where its code forgot to say whose it wants."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.models import ForeignKey, Model
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, override_settings
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import row_security, walls
from accounts.http import OrganizationRequest, member_required
from accounts.models import ApiKey, AuditEntry, Membership, Organization, User
from accounts.permissions import Permission
from accounts.row_security import CLOSED, OWN, belonging_of, check_row_security, declared_of, usable_role
from accounts.walls import NoRowSecurity, UnscopedQuery, across_organizations, act_for, around_request
from domains.models import DkimKey, DnsRecord, SendingDomain, SmtpUser
from events.models import Event
from plugsend.urls import urlpatterns as real_urls
from relay.models import Content, Message, Recipient
from tests.factories import Tenant, make_domain, make_message, make_smtp_user, make_tenant
from tests.full_tenant import checksums, make_full_tenant, secrets_of
from tests.rest import make_api

OURS = ("accounts", "domains", "events", "relay", "statistics", "sandbox", "webhooks")
TENANT = "plugsend_tenant"
STORED: tuple[type[Model], ...] = (
    ApiKey, AuditEntry, Membership, SendingDomain, DkimKey, DnsRecord, SmtpUser, Message, Recipient, Content, Event, User,
    Organization,
)  # fmt: skip


def our_models() -> list[type[Model]]:
    return [model for model in apps.get_models() if model._meta.app_label in OURS]


def role() -> str:
    return str(value("SELECT current_user"))


def value(statement: str, *terms: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, terms)
        return cursor.fetchone()[0]


def stock(name: str) -> Tenant:
    """A tenant with a row of every kind."""
    tenant = make_tenant(name)
    domain = make_domain(tenant.organization, f"{name.lower()}.test")
    make_message(domain, to=f"bob@{name.lower()}.example", smtp_user_id=make_smtp_user(domain).pk)
    return tenant


@pytest.fixture
def acme(db: None) -> Tenant:
    return stock("Acme")


@pytest.fixture
def globex(db: None) -> Tenant:
    return stock("Globex")


# ---- What each table is


@pytest.mark.django_db
def test_every_table_says_whose_its_rows_are_and_the_database_holds_to_it() -> None:
    check_tables()


def check_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, c.relrowsecurity, coalesce(string_agg(a.privilege_type, ',' ORDER BY 1), '') FROM pg_class c"
            " LEFT JOIN aclexplode(c.relacl) a ON a.grantee = %s::regrole WHERE c.relkind IN ('r', 'p', 'v', 'm')"
            " AND c.relnamespace = 'public'::regnamespace GROUP BY 1, 2",
            [TENANT],
        )
        stands = {table: (is_walled, rights) for table, is_walled, rights in cursor.fetchall()}
    for model in our_models():
        assert declared_of(model) is not None, f"{model.__name__} has no `belonging` (accounts.row_security)"
        belonging = belonging_of(model)
        is_walled, rights = stands.pop(model._meta.db_table)
        assert is_walled == (belonging != CLOSED and belonging.own != "true"), model
        assert set(filter(None, rights.split(","))) == set(filter(None, belonging.rights.split(", "))), model
    # Everything else, such as sessions, secrets of second factors, and partitions behind their parents' backs.
    assert {table: rights for table, (_, rights) in stands.items() if rights} == {}


def test_people_whom_an_organization_s_rows_name_may_be_read() -> None:
    for model in our_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, ForeignKey) and field.related_model is User and belonging_of(model).own == OWN.own:
                assert field.name == "user" or f".{field.column} = accounts_user.id" in User.belonging.own, field


# ---- The second wall


def test_what_is_asked_without_a_word_of_whose_finds_only_ones_own(acme: Tenant, globex: Tenant) -> None:
    theirs = {model: set(model._base_manager.values_list("pk", flat=True)) for model in STORED}
    with around_request():
        act_for(acme.organization.pk, acme.user.pk)
        own = {model: set(model._base_manager.values_list("pk", flat=True)) for model in STORED}
        assert role() == TENANT
        for model in STORED:
            assert own[model] < theirs[model], model
            assert len(own[model]) == len(theirs[model]) / 2, model
        act_for(globex.organization.pk, globex.user.pk)
        assert all(own[model].isdisjoint(model._base_manager.values_list("pk", flat=True)) for model in STORED)
    assert role() != TENANT
    assert Message.objects.count() == 2


def test_what_is_another_s_cannot_be_written(acme: Tenant, globex: Tenant) -> None:
    domain = SendingDomain.objects.of(globex.organization).get()
    with around_request():
        act_for(acme.organization.pk, acme.user.pk)
        for statement in (
            "UPDATE accounts_organization SET name = 'x' WHERE id = %(them)s",
            "UPDATE domains_dnsrecord SET value = 'x' WHERE domain_id = %(domain)s",
            "DELETE FROM relay_recipient WHERE organization_id = %(them)s",
            "DELETE FROM accounts_membership WHERE organization_id = %(them)s",
        ):
            with connection.cursor() as cursor:
                cursor.execute(statement, {"them": globex.organization.pk, "domain": domain.pk})
                assert cursor.rowcount == 0, statement
        refused: list[Callable[[], Any]] = [
            lambda: ApiKey(organization=globex.organization, name="x", digest=b"x").save(force_insert=True),
            lambda: DnsRecord(domain=domain, type="TXT", name="x", value="x").save(force_insert=True),
            lambda: SendingDomain.objects.of(acme.organization).update(organization=globex.organization),
            lambda: Membership(organization=globex.organization, user=acme.user).save(force_insert=True),
            lambda: User.objects.filter(pk=acme.user.pk).update(is_staff=True),
            lambda: Event.objects.of(acme.organization).delete(),
            lambda: value("SELECT session_data FROM django_session LIMIT 1"),
            lambda: value("SELECT raw FROM relay_content_default LIMIT 1"),
        ]
        for write in refused:
            with pytest.raises(DatabaseError, match=r"permission denied|row-level security"), transaction.atomic():
                write()


def test_without_a_word_of_whom_the_role_sees_nothing(acme: Tenant) -> None:
    with connection.cursor() as cursor:
        for settings in ([], [row_security.ORGANIZATION_SETTING, row_security.USER_SETTING]):  # never set, and reset
            for name in settings:
                cursor.execute("SELECT set_config(%s, '', false)", [name])
            cursor.execute(f"SET ROLE {TENANT}")
            counts = [model._base_manager.count() for model in STORED]
            cursor.execute("RESET ROLE")
            assert counts == [0] * len(STORED)


def test_a_member_of_two_organizations_sees_the_other_s_name_only(acme: Tenant, globex: Tenant) -> None:
    Membership.objects.create(organization=globex.organization, user=acme.user)
    with around_request():
        act_for(acme.organization.pk, acme.user.pk)
        assert {one.name for one in acme.user.organizations.all()} == {"Acme", "Globex"}
        assert Organization.objects.of(globex.organization).update(name="Ours") == 0
        assert not SendingDomain.objects.of(globex.organization).exists()
        assert list(User.objects.all()) == [acme.user]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("threads", [1, 8])
def test_a_connection_that_served_one_organization_serves_the_next(threads: int) -> None:
    tenants = [stock("Acme"), stock("Globex")]
    wanted = {tenant.organization.pk: tenant.organization.name for tenant in tenants}

    def serve(turn: int) -> bool:
        organization = tenants[turn % 2].organization
        try:
            with around_request():
                act_for(organization.pk)
                if turn % 5 == 0:
                    raise DatabaseError("a view fails")
                if turn % 7 == 0:
                    connection.close()  # replaced in the middle
                found = set(SendingDomain._base_manager.values_list("organization_id", flat=True))
            return found == {organization.pk} and role() != TENANT
        except DatabaseError:
            return role() != TENANT

    all_are_here = Barrier(threads)

    def close(_: int) -> None:
        all_are_here.wait(10)  # so that each thread closes its own
        connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(serve, range(60)))
        list(pool.map(close, range(threads)))
    assert len(wanted) == 2


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_fails_leaves_the_wall_as_it_was() -> None:
    acme = stock("Acme")

    def fail() -> None:
        Membership.objects.create(organization=acme.organization, user=acme.user)

    def fail_in_a_request() -> None:
        with around_request():
            act_for(acme.organization.pk)
            fail()

    with around_request():
        act_for(acme.organization.pk)
        with pytest.raises(IntegrityError), transaction.atomic(), across_organizations():
            fail()
        assert role() == TENANT
        with pytest.raises(IntegrityError), across_organizations(), transaction.atomic():
            fail()
        assert role() == TENANT
    with pytest.raises(IntegrityError), transaction.atomic():
        fail_in_a_request()
    assert role() != TENANT


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_not_used_again_when_nobody_knows_its_role(monkeypatch: pytest.MonkeyPatch) -> None:
    acme = stock("Acme")
    held = []

    def request() -> None:
        with around_request():
            act_for(acme.organization.pk)
            held.append(connection.connection)
            monkeypatch.setattr(walls, "_SET", "SELECT nonsense(%s, %s, %s)")

    with pytest.raises(DatabaseError):
        request()
    assert held[0].closed


# ---- The first wall


def test_a_query_that_forgets_whose_rows_it_wants_raises_in_a_request(acme: Tenant) -> None:
    organization = acme.organization
    domain = SendingDomain.objects.get()
    forgotten: list[Callable[[], Any]] = [
        lambda: list(Message.objects.all()),
        lambda: SendingDomain.objects.get(pk=domain.pk),
        lambda: ApiKey.objects.filter(pk=domain.pk).exists(),
        lambda: Recipient.objects.filter(message_id=domain.pk).count(),
        lambda: DnsRecord.objects.filter(domain=domain).update(value="x"),
        lambda: Content.objects.values_list("raw").first(),
        lambda: SmtpUser.objects.filter(domain=domain).delete(),
        lambda: list(Event.objects.iterator()),
        lambda: Organization.objects.order_by("name")[0],
    ]
    scoped: list[Callable[[], Any]] = [
        lambda: list(Message.objects.filter(door="smtp").of(organization)[:5]),
        lambda: SendingDomain.objects.of(organization.pk).get(pk=domain.pk),
        lambda: list(domain.records.all()),
        lambda: list(SendingDomain.objects.of(organization).prefetch_related("records", "smtp_users__keys__api_key")),
        lambda: DkimKey.objects.of(organization).count() == 3 or pytest.fail("through its domain"),
        lambda: Content.objects.of(organization).get(),
        lambda: Recipient.objects.of_any().filter(message_id=domain.pk).count(),
        lambda: Organization.objects.of(organization).get(),
    ]
    for call in forgotten[:5]:
        call()  # an engine, a task or an operator may
    with around_request():
        for call in forgotten:
            with pytest.raises(UnscopedQuery, match=r"without \.of\(organization\)"):
                call()
        with across_organizations():
            assert Message.objects.count() == 1
        for call in scoped:
            call()


# ---- Requests


@member_required(Permission.READ)
def unscoped(request: OrganizationRequest, how: str) -> Any:
    """A page as somebody might write it by mistake."""
    if how == "orm":
        return StreamingHttpResponse(str(pk) for pk in SendingDomain.objects.values_list("pk", flat=True))
    names = (name for _ in range(2) for name in SendingDomain._base_manager.values_list("name", flat=True))
    response = StreamingHttpResponse(f"{name} {role()}\n" for name in names)
    if how == "raises":
        raise DatabaseError(role())
    return response


def everything() -> Iterator[str]:
    """What SQL that says nothing of whose it wants finds in each table and partition, ours and others'."""
    for table in tables():
        with contextlib.suppress(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT r::text FROM {table} r")
            yield from (text for (text,) in cursor.fetchall())


def wipe_out() -> None:
    for table in tables():
        for statement in (f"UPDATE {table} SET organization_id = organization_id", f"DELETE FROM {table}"):
            with contextlib.suppress(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)


def tables() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"
        )
        return [name for (name,) in cursor.fetchall()]


@member_required(Permission.READ)
def unscoped_sql(request: OrganizationRequest) -> HttpResponse:
    if request.method == "POST":
        wipe_out()
    return HttpResponse("\n".join(everything()))


class UnscopedSql(APIView):
    def get(self, request: Request) -> Response:
        return Response({"found": list(everything())})

    def post(self, request: Request) -> Response:
        wipe_out()
        return self.get(request)


urlpatterns = [
    path("unscoped/<how>/", unscoped),
    path("unscoped-sql/", unscoped_sql),
    path("api/v1/unscoped-sql", UnscopedSql.as_view()),
    *real_urls,
]


@pytest.mark.django_db
@pytest.mark.parametrize("door", ["page", "api"])
@override_settings(ROOT_URLCONF=__name__)
def test_sql_that_forgets_whose_rows_it_wants_neither_finds_nor_changes_another_s(door: str) -> None:
    mine, theirs = make_full_tenant("rival"), make_full_tenant("walled")
    secrets, before = secrets_of(theirs, mine), checksums(theirs.organization)
    client, api = mine.client("owner"), make_api(mine.organization, "full")

    def ask(method: str) -> str:
        if door == "page":
            return str(getattr(client, method)("/unscoped-sql/").content.decode())
        return "\n".join(api.call(method, "unscoped-sql").json()["found"])

    found = ask("get")
    assert "rival.test" in found
    assert sorted(secret for secret in secrets if secret in found) == []
    with transaction.atomic():  # whose end would find keys that lead nowhere
        ask("post")
        assert not SendingDomain.objects.of(mine.organization).exists()
        assert checksums(theirs.organization) == before
        transaction.set_rollback(True)


@override_settings(ROOT_URLCONF=__name__)
def test_pages_stand_behind_the_walls_from_the_first_octet_to_the_last(acme: Tenant, globex: Tenant) -> None:
    for _ in range(2):
        for tenant, name in ((acme, "acme.test"), (globex, "globex.test")):
            pieces = iter(tenant.client.get("/unscoped/raw/"))
            assert next(pieces) == f"{name} {TENANT}\n".encode()
            assert role() != TENANT  # while the server has yet to ask for the rest
            assert list(pieces) == [f"{name} {TENANT}\n".encode()]
            with pytest.raises(DatabaseError, match=TENANT):
                tenant.client.get("/unscoped/raises/")
            with pytest.raises(UnscopedQuery):
                list(tenant.client.get("/unscoped/orm/"))
            assert role() != TENANT
    acme.client.raise_request_exception = False
    assert acme.client.get("/unscoped/raises/").status_code == 500
    assert role() != TENANT


def test_programs_stand_behind_the_walls(
    acme: Tenant, globex: Tenant, roles_of_statements: list[tuple[str, str]]
) -> None:
    assert [one["name"] for one in make_api(acme.organization, "full").get("domains").json()["data"]] == ["acme.test"]
    assert {who for statement, who in roles_of_statements if "domains_" in statement} == {TENANT}
    assert role() != TENANT


def test_operators_see_all(acme: Tenant, globex: Tenant) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test"))
    page = client.get("/admin/domains/sendingdomain/").content.decode()
    assert "acme.test" in page
    assert "globex.test" in page


@pytest.fixture
def roles_of_statements(db: None) -> Iterator[list[tuple[str, str]]]:
    """Each statement with the role that ran it."""
    seen: list[tuple[str, str]] = []

    def note(execute: Any, statement: str, terms: Any, many: bool, context: Any) -> Any:
        seen.append((statement, connection.connection.execute("SELECT current_user").fetchone()[0]))
        return execute(statement, terms, many, context)

    with connection.execute_wrapper(note):
        yield seen


# ---- Laying it, and databases where it cannot be laid


@pytest.mark.django_db
def test_an_older_database_gets_its_walls_when_it_is_migrated() -> None:
    statements: list[str] = []

    def note(execute: Any, statement: str, *rest: Any) -> Any:
        statements.append(statement.split()[0])
        return execute(statement, *rest)

    with connection.cursor() as cursor:
        cursor.execute("DROP POLICY own ON relay_message")
        cursor.execute("ALTER TABLE relay_message DISABLE ROW LEVEL SECURITY")
        cursor.execute("ALTER POLICY own ON relay_template USING (true)")
        cursor.execute("COMMENT ON POLICY own ON relay_template IS 'of a version long ago'")
        cursor.execute(f"GRANT ALL ON accounts_plan, django_session TO {TENANT}")
        cursor.execute("CREATE POLICY former ON accounts_plan USING (true)")
        cursor.execute("ALTER TABLE accounts_plan ENABLE ROW LEVEL SECURITY")
    call_command("migrate", verbosity=0)
    check_tables()
    assert "organization_id" in value(
        "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = 'relay_template'::regclass"
    )
    with connection.execute_wrapper(note):
        row_security.lay()
    assert set(statements) <= {"SELECT", "SAVEPOINT", "RELEASE"}


@pytest.fixture
def superuser(transactional_db: None) -> Iterator[Any]:
    wrapper = connection.copy()
    wrapper.settings_dict = {**connection.settings_dict, "USER": "postgres"}
    try:
        wrapper.ensure_connection()
        yield wrapper.connection
    finally:
        wrapper.close()


@pytest.fixture
def connected_as(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    before = connection.settings_dict["USER"]

    def connect(user: str) -> None:
        connection.close()
        connection.settings_dict["USER"] = user
        monkeypatch.setattr(walls, "_known", {})

    yield connect
    connect(before)


def test_a_database_that_gives_no_role_is_told_of_and_served_unless_row_security_is_required(
    superuser: Any, connected_as: Callable[[str], None]
) -> None:
    password = connection.settings_dict["PASSWORD"]
    acme, globex = stock("Acme"), stock("Globex")
    superuser.execute(f"CREATE ROLE poor LOGIN PASSWORD '{password}'")
    superuser.execute("GRANT plugsend TO poor")
    try:
        connected_as("poor")
        [warning] = check_row_security(["default"])
        assert (warning.id, 'CREATE ROLE "poor_tenant" NOLOGIN; GRANT "poor_tenant" TO "poor";' in str(warning.hint)) == (
            "plugsend.W001", True,
        )  # fmt: skip
        assert row_security.lay() is None
        page = acme.client.get("/domains/").content.decode()
        assert ("acme.test" in page, "globex.test" in page) == (True, False)
        with around_request():  # the first wall stands alone
            act_for(acme.organization.pk)
            assert SendingDomain._base_manager.count() == 2
            with pytest.raises(UnscopedQuery):
                SendingDomain.objects.count()
        with override_settings(REQUIRE_ROW_SECURITY=True):
            assert [message.id for message in check_row_security(["default"])] == ["plugsend.E001"]
            with pytest.raises(NoRowSecurity):
                globex.client.get("/domains/")
            with pytest.raises(SystemCheckError):
                call_command("check", "--database", "default")
        for statement in str(warning.hint).split("As a role that may: ")[1].split("; ")[:2]:
            superuser.execute(statement)
        assert check_row_security(["default"]) == []
        assert row_security.lay() == usable_role(connection.connection) == "poor_tenant"
    finally:
        connected_as("plugsend")
        drop(superuser, "poor_tenant", "poor")


def test_a_superuser_of_the_database_is_none_in_a_request(superuser: Any, connected_as: Callable[[str], None]) -> None:
    acme, _ = stock("Acme"), stock("Globex")
    try:
        connected_as("postgres")
        assert row_security.lay() == "postgres_tenant"
        with around_request():
            act_for(acme.organization.pk)
            assert SendingDomain._base_manager.get().name == "acme.test"
            assert value("SHOW is_superuser") == "off"
        assert SendingDomain.objects.count() == 2
    finally:
        connected_as("plugsend")
        drop(superuser, "postgres_tenant")


def drop(superuser: Any, *roles: str) -> None:
    for name in roles:
        if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
            superuser.execute(f"DROP OWNED BY {name}")
            superuser.execute(f"DROP ROLE {name}")
