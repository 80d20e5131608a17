"""Managing requests that meet: two at once, and a removal in the middle of something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.db import connection, connections, transaction

from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Organization
from domains import smtp_users, verification
from domains.dns.evidence import Evidence, Failure, Heard, RecordEvidence, ZoneEvidence
from domains.models import DnsRecord, SendingDomain, SmtpUser
from relay.models import Suppression
from tests.factories import make_domain, make_smtp_user
from tests.rest import Api, make_api, refused

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture
def api(acme: Organization) -> Api:
    return make_api(acme)


def in_thread(call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        connections.close_all()


def all_at_once(calls: list[Callable[[], T]]) -> list[T]:
    start = threading.Barrier(len(calls))

    def begin(call: Callable[[], T]) -> T:
        start.wait(20)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        begun = [threads.submit(in_thread, lambda call=call: begin(call)) for call in calls]
        return [future.result(30) for future in begun]


def until_it_waits(threads: ThreadPoolExecutor, call: Callable[[], T]) -> Future[T]:
    """Begins the call in a thread and returns when it waits for a lock of ours: the caller is in a transaction."""
    future = threads.submit(in_thread, call)
    with connection.cursor() as cursor:
        while not future.done():
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees one state of it else
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0]:
                break
    return future


def test_one_domain_added_twice_at_once_is_added_once(api: Api) -> None:
    answers = all_at_once([lambda: api.post("domains", {"name": "new.test"})] * 4)
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, 409, "domain_already_added", "/name")
    assert (SendingDomain.objects.count(), DnsRecord.objects.count()) == (1, 6)


def test_with_an_idempotency_key_all_get_the_one_answer(api: Api) -> None:
    answers = all_at_once([lambda: api.post("domains", {"name": "new.test"}, key="once")] * 4)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert SendingDomain.objects.count() == 1


def test_one_smtp_user_created_twice_at_once_is_created_once(api: Api, acme: Organization) -> None:
    make_domain(acme)
    answers = all_at_once([lambda: api.post("smtp-users", {"address": "admin@acme.test"})] * 4)
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert SmtpUser.objects.count() == 1
    assert ApiKey.objects.filter(only_domain="acme.test").count() == 1


def test_a_domain_removed_while_dns_is_asked_is_gone(
    api: Api, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = make_domain(acme, verified=False)
    is_asked, may_answer = threading.Event(), threading.Event()

    def gather(asked: Any) -> list[Evidence]:
        is_asked.set()
        assert may_answer.wait(20)
        silence = RecordEvidence(resolvers=(Heard("resolver", failure=Failure.TIMEOUT),))
        return [Evidence(ZoneEvidence(), {record.pk: silence for record in records}) for _, records in asked]

    monkeypatch.setattr(verification, "gather", gather)
    with ThreadPoolExecutor(1) as threads:
        verify = threads.submit(in_thread, lambda: api.post(f"domains/{domain.pk}/verify"))
        assert is_asked.wait(20)
        removed = api.delete(f"domains/{domain.pk}")
        may_answer.set()
        refused(verify.result(20), 404, "not_found")
    assert removed.status_code == 200
    assert not SendingDomain.objects.exists()
    assert not DnsRecord.objects.exists()


def test_a_removal_waits_for_a_check_that_is_being_kept(api: Api, acme: Organization) -> None:
    domain = make_domain(acme, verified=False)
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            SendingDomain.objects.select_for_update().get(pk=domain.pk)  # as the check begins to write ...
            removal = until_it_waits(threads, lambda: api.delete(f"domains/{domain.pk}"))
            domain.records.update(explanation="Seen.")  # ... and goes on
        assert removal.result(20).status_code == 200
    assert not SendingDomain.objects.exists()


@pytest.mark.parametrize("act", ["remove the domain", "delete the user"])
def test_a_password_replaced_in_that_moment_stops_working_too(api: Api, acme: Organization, act: str) -> None:
    domain = make_domain(acme)
    smtp_user = make_smtp_user(domain)
    call = {
        "remove the domain": lambda: api.delete(f"domains/{domain.pk}"),
        "delete the user": lambda: api.delete(f"smtp-users/{smtp_user.pk}"),
    }[act]
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            smtp_users.replace_password(smtp_user)
            future = until_it_waits(threads, call)
        assert future.result(20).status_code == 200
    assert not ApiKey.objects.filter(only_domain="acme.test", revoked_at__isnull=True).exists()
    assert ApiKey.objects.filter(only_domain="acme.test").count() == 2


def test_a_password_replaced_twice_at_once_leaves_one_that_works(api: Api, acme: Organization) -> None:
    smtp_user = make_smtp_user(make_domain(acme))
    answers = all_at_once([lambda: api.post(f"smtp-users/{smtp_user.pk}/password")] * 4)
    assert {answer.status_code for answer in answers} == {200}
    assert ApiKey.objects.filter(only_domain="acme.test", revoked_at__isnull=True).count() == 1


@pytest.mark.parametrize(("hours", "code"), [(0, "not_found"), (24, "api_key_replaced")])
def test_a_key_rotated_twice_at_once_has_one_successor(api: Api, acme: Organization, hours: int, code: str) -> None:
    key = create_api_key(acme, "Web app").api_key
    answers = all_at_once([lambda: api.post(f"api-keys/{key.pk}/rotate", {"keep_old_hours": hours})] * 4)
    told = sorted(answer.json().get("code", "") for answer in answers)
    assert told[0] == ""
    assert set(told[1:]) == {code}
    assert ApiKey.objects.filter(name="Web app").count() == 2


def test_a_domain_removed_twice_at_once_is_removed_once(api: Api, acme: Organization) -> None:
    domain = make_domain(acme)
    make_smtp_user(domain)
    answers = all_at_once([lambda: api.delete(f"domains/{domain.pk}")] * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]


def test_the_same_addresses_added_and_removed_by_many_at_once(api: Api) -> None:
    emails = [f"person{number}@inbox.test" for number in range(200)]

    def batch(verb: str, order: int) -> Callable[[], Any]:
        return lambda: api.post(f"suppressions/batch/{verb}", {"emails": emails[::order]})

    adding = all_at_once([batch("add", 1), batch("add", -1), batch("remove", 1), batch("add", 1), batch("remove", -1)])
    assert {answer.status_code for answer in adding} == {200}
    assert {len(adding[n].json()["data"]) for n in (0, 1, 3)} == {200}
    assert Suppression.objects.count() in {0, 200}
