"""DKIM keys in turn: real DNS packets, real PostgreSQL, and mail that is on its way while keys change."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import AsyncConnection
from pytest_django.fixtures import Settings

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.models import AuditEntry, Notice
from accounts.notices import send_due
from domains.dkim.requests import RotationRefused, rotate, schedule_rotation, withdraw_rotation
from domains.dkim.rotation import (
    IN_FLIGHT,
    LOOK_AT_FORMER_EVERY,
    OVERLAP,
    RETIRES_AFTER,
    SETTLES_AFTER_FALLBACK,
    KeyRing,
    after_look,
    request,
    retire_due,
)
from domains.looking import work_off_due
from domains.models import DkimAlgorithm, DkimKey, DkimKeyState, DnsRecord, RecordStatus, SendingDomain
from domains.services import remove_domain
from domains.verification import check_domain
from relay.database import database_url
from relay.delivery import senders
from relay.delivery.engine import Engine, EngineLimits
from relay.delivery.signers import load_signers
from relay.sandbox.models import ZoneRecord
from relay.sandbox.zone import publish
from relay.submission.accept import Submission
from relay.submission.desk import Desk
from tests.dkim_verifiers import by_dkimpy
from tests.factories import Tenant, make_domain, make_tenant
from tests.peer import Peer
from tests.rest import make_api, refused
from tests.sandbox_servers import HOST, dns_over_database
from tests.test_manage_at_once import all_at_once, in_thread, until_it_waits

pytestmark = pytest.mark.django_db(transaction=True)

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
EACH_STEP = 12  # messages; about five are under way at any time
MAIL = b"From: ada@acme.test\r\nSubject: Hi\r\n\r\nHello\r\n"


@pytest.fixture(autouse=True)
def dns(transactional_db: None, settings: Settings) -> Iterator[None]:
    with dns_over_database() as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]
        yield


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def domain(tenant: Tenant) -> SendingDomain:
    """Verified; its next RSA key's record is published, its Ed25519 key's is not."""
    domain = make_domain(tenant.organization, verified=False)
    publish(domain)
    unpublish(domain, "e1")
    return check_domain(domain)


def unpublish(domain: SendingDomain, key: str) -> None:
    ZoneRecord.objects.filter(name__endswith=f"-{key}._domainkey.{domain.name}").delete()


def publish_key(domain: SendingDomain, key: str) -> None:
    record = domain.records.get(name__endswith=f"-{key}._domainkey.{domain.name}")
    ZoneRecord.objects.create(name=record.name, type=record.type, value=record.value)


def states(domain: SendingDomain) -> dict[str, str]:
    """By the end of the selector."""
    return {key.selector.partition("-")[2]: key.state for key in domain.dkim_keys.order_by("created_at")}


def purposes(domain: SendingDomain) -> list[str]:
    """Those of keys, in the order of the page: end of the selector, purpose, * when it is required."""
    rows = domain.records.filter(dkim_key__isnull=False).select_related("dkim_key")
    return [
        f"{row.dkim_key.selector.partition('-')[2]} {row.purpose}{'*' * row.required}" for row in rows if row.dkim_key
    ]


def audited(domain: SendingDomain) -> list[str]:
    entries = AuditEntry.objects.filter(object_id=domain.pk, action__startswith="domain.dkim_").order_by("id")
    return [one.action.partition(".")[2] for one in entries]


def later(domain: SendingDomain, by: timedelta) -> None:
    """As if so much time had passed for its keys."""
    for key in domain.dkim_keys.all():
        for field in ("created_at", "activated_at", "seen_at", "retire_after"):
            if (moment := getattr(key, field)) is not None:
                setattr(key, field, moment - by)
        key.save()
    domain.refresh_from_db()
    if domain.dkim_rotation_requested_at:
        domain.dkim_rotation_requested_at -= by
        domain.save()


def sent_mails(settings: Settings) -> list[str]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    send_due()
    return [f"{message.subject}\n{message.body}" for message in mail.outbox]


def signing_now(domain: SendingDomain) -> list[str]:
    async def load() -> list[str]:
        async with await AsyncConnection.connect(database_url(), autocommit=True) as database:
            [signer] = (await load_signers(database, [domain.pk])).values()
        return [selector.partition("-")[2] for selector, _ in signer.keys]

    return asyncio.run(load())


# ---- The whole turn --------------------------------------------------------------------------------------------------


def test_a_rotation_needs_no_visit_to_dns_and_ends_with_the_next_key(domain: SendingDomain, settings: Settings) -> None:
    assert purposes(domain) == ["1 dkim*", "2 dkim_next", "e1 dkim_ed25519"]
    assert rotate(domain).dkim_rotation_requested_at is None
    assert states(domain) == {"1": "retiring", "2": "active", "e1": "waiting"}
    assert purposes(domain) == ["2 dkim*", "1 dkim_old", "e1 dkim_ed25519"]
    assert signing_now(domain) == ["2", "1"]
    assert check_domain(domain).is_verified

    later(domain, OVERLAP)
    assert signing_now(domain) == ["2"]
    check_domain(domain)
    assert states(domain)["1"] == "retiring"
    assert not Notice.objects.exists()

    later(domain, IN_FLIGHT)
    check_domain(domain)
    assert states(domain) == {"1": "retired", "2": "active", "e1": "waiting", "3": "waiting"}
    assert purposes(domain) == ["2 dkim*", "3 dkim_next", "e1 dkim_ed25519"]
    assert bytes(domain.dkim_keys.get(selector__endswith="-1").private_key) == b""
    assert audited(domain) == ["dkim_rotated", "dkim_key_retired", "dkim_key_made"]
    [text] = sent_mails(settings)
    assert f"TXT {domain.dkim_keys.get(selector__endswith='-1')}\n" in text
    assert domain.records.get(purpose="dkim_next").value in text
    assert domain.records.get(purpose="dkim_ed25519").value not in text  # it is not in use


def test_a_key_whose_record_was_not_seen_signs_as_soon_as_it_is(domain: SendingDomain) -> None:
    unpublish(domain, "2")
    check_domain(domain)
    assert rotate(domain).dkim_rotation_requested_at is not None
    assert rotate(domain).dkim_rotation_requested_at is not None  # asked again: it is under way already
    assert signing_now(domain) == ["1"]
    due = SendingDomain.objects.get(pk=domain.pk).next_check_at
    assert due is not None
    assert due < timezone.now() + timedelta(minutes=1)

    publish_key(domain, "2")
    SendingDomain.objects.update(next_check_at=timezone.now())
    work_off_due()
    assert signing_now(domain) == ["2", "1"]
    assert SendingDomain.objects.get(pk=domain.pk).dkim_rotation_requested_at is None
    assert audited(domain) == ["dkim_rotation_requested", "dkim_rotated"]


def test_what_was_seen_long_ago_is_looked_at_again(domain: SendingDomain) -> None:
    unpublish(domain, "2")
    later(domain, HOUR)
    assert rotate(domain).dkim_rotation_requested_at is not None
    assert signing_now(domain) == ["1"]
    publish_key(domain, "2")
    assert rotate(domain).dkim_rotation_requested_at is None
    assert signing_now(domain) == ["2", "1"]


def test_a_rotation_that_waits_can_be_withdrawn(domain: SendingDomain) -> None:
    unpublish(domain, "2")
    later(domain, HOUR)
    rotate(domain)
    withdraw_rotation(domain)
    assert withdraw_rotation(domain).dkim_rotation_requested_at is None
    publish_key(domain, "2")
    check_domain(domain)
    assert states(domain)["1"] == "active"
    assert audited(domain) == ["dkim_rotation_requested", "dkim_rotation_withdrawn"]


def test_the_former_key_signs_again_when_the_new_record_vanishes(domain: SendingDomain, settings: Settings) -> None:
    rotate(domain)
    later(domain, 2 * DAY)
    unpublish(domain, "2")
    assert check_domain(domain).is_verified
    assert signing_now(domain) == ["1"]
    assert purposes(domain) == ["1 dkim*", "2 dkim_next", "e1 dkim_ed25519"]
    assert domain.records.get(purpose="dkim").status == RecordStatus.FOUND
    [text] = sent_mails(settings)
    assert domain.records.get(purpose="dkim_next").value in text

    publish_key(domain, "2")
    check_domain(domain)
    assert signing_now(domain) == ["1"]  # it may vanish again the next minute
    later(domain, SETTLES_AFTER_FALLBACK)
    check_domain(domain)
    assert signing_now(domain) == ["2", "1"]
    assert audited(domain) == ["dkim_rotated", "dkim_fallback", "dkim_rotated"]
    assert not sent_mails(settings)


def test_who_has_mended_the_record_need_not_wait(domain: SendingDomain) -> None:
    rotate(domain)
    later(domain, MINUTE)
    unpublish(domain, "2")
    check_domain(domain)
    assert signing_now(domain) == ["1"]
    publish_key(domain, "2")
    rotate(domain)
    assert signing_now(domain) == ["2", "1"]


def test_a_look_that_began_before_the_record_was_there_proves_no_loss(domain: SendingDomain) -> None:
    unpublish(domain, "2")
    check_domain(domain)
    early = list(domain.records.all())
    publish_key(domain, "2")
    rotate(domain)
    with transaction.atomic():
        assert after_look(SendingDomain.objects.select_for_update().get(), early, timezone.now())
    assert states(domain)["2"] == "active"
    assert [record.purpose for record in early if record.required] == ["ownership", "dkim", "return_path"]


@pytest.mark.parametrize("gone", [["1"], ["1", "2"]])
def test_without_a_former_record_there_is_nothing_to_fall_back_to(domain: SendingDomain, gone: list[str]) -> None:
    rotate(domain)
    later(domain, MINUTE)
    for key in gone:
        unpublish(domain, key)
    check_domain(domain)
    assert states(domain) == {"1": "retiring", "2": "active", "e1": "waiting"}
    assert signing_now(domain) == ["2"]  # the former one's record is known to be gone


def test_silence_of_dns_changes_nothing(domain: SendingDomain) -> None:
    publish_key(domain, "e1")
    check_domain(domain)
    rotate(domain)
    before = states(domain)
    later(domain, RETIRES_AFTER)
    records = list(domain.records.all())
    for record in records:
        record.status = RecordStatus.UNREACHABLE
    with transaction.atomic():
        after_look(SendingDomain.objects.select_for_update().get(), records, timezone.now())
    assert states(domain) == before  # nor does the former key retire while nobody knows of the new one's record
    assert signing_now(domain) == ["2", "e1"]


def test_the_ed25519_key_is_renewed_where_one_is_in_use(domain: SendingDomain) -> None:
    publish_key(domain, "e1")
    check_domain(domain)
    assert signing_now(domain) == ["1", "e1"]
    rotate(domain)
    assert signing_now(domain) == ["2", "1", "e1"]
    assert purposes(domain) == ["2 dkim*", "1 dkim_old", "e1 dkim_ed25519", "e2 dkim_ed25519"]

    publish_key(domain, "e2")
    check_domain(domain)
    assert signing_now(domain) == ["2", "1", "e2", "e1"]
    assert purposes(domain) == ["2 dkim*", "1 dkim_old", "e2 dkim_ed25519", "e1 dkim_old"]
    later(domain, MINUTE)
    unpublish(domain, "e2")
    check_domain(domain)
    assert signing_now(domain) == ["2", "1", "e1"]
    publish_key(domain, "e2")
    check_domain(domain)
    later(domain, RETIRES_AFTER)
    check_domain(domain)
    assert states(domain) == {"1": "retired", "2": "active", "3": "waiting", "e1": "retired", "e2": "active"}
    assert audited(domain) == [
        "dkim_key_activated", "dkim_key_made", "dkim_rotated", "dkim_rotated", "dkim_fallback", "dkim_rotated",
        "dkim_key_retired", "dkim_key_retired", "dkim_key_made",
    ]  # fmt: skip


def test_domains_of_before_get_their_next_key(domain: SendingDomain) -> None:
    domain.dkim_keys.filter(state="waiting", algorithm="rsa-sha256").delete()
    check_domain(domain)
    assert purposes(domain) == ["1 dkim*", "2 dkim_next", "e1 dkim_ed25519"]
    domain.dkim_keys.filter(state="waiting", algorithm="rsa-sha256").delete()
    assert rotate(domain).dkim_rotation_requested_at is not None  # also when nobody has looked since
    assert purposes(domain) == ["1 dkim*", "2 dkim_next", "e1 dkim_ed25519"]


def test_keys_retire_also_where_nobody_looks_any_more(domain: SendingDomain) -> None:
    rotate(domain)
    SendingDomain.objects.update(status="taken_over", next_check_at=None)
    assert retire_due() == 0
    later(domain, RETIRES_AFTER)
    domain.records.update(status="missing")
    assert retire_due() == 1
    assert retire_due() == 0
    assert bytes(domain.dkim_keys.get(state="retired").private_key) == b""


# ---- By schedule -----------------------------------------------------------------------------------------------------


def test_a_schedule_rotates_by_itself(domain: SendingDomain) -> None:
    schedule_rotation(domain, 90)
    later(domain, 89 * DAY)
    assert check_domain(domain).next_check_at
    assert signing_now(domain) == ["1"]
    later(domain, DAY)
    check_domain(domain)
    assert signing_now(domain) == ["2", "1"]
    assert audited(domain) == ["dkim_schedule_changed", "dkim_rotated"]


def test_a_due_rotation_without_its_record_is_told_once(domain: SendingDomain, settings: Settings) -> None:
    unpublish(domain, "2")
    later(domain, 31 * DAY)
    schedule_rotation(domain, 30)
    for _ in range(3):
        SendingDomain.objects.update(next_check_at=timezone.now())
        work_off_due()
        later(domain, DAY)
    [text] = sent_mails(settings)
    assert domain.records.get(purpose="dkim_next").value in text
    with pytest.raises(RotationRefused) as asked:
        withdraw_rotation(domain)
    assert asked.value.code == "dkim_rotation_scheduled"

    publish_key(domain, "2")
    check_domain(domain)
    assert signing_now(domain) == ["2", "1"]
    assert audited(domain) == ["dkim_schedule_changed", "dkim_rotation_requested", "dkim_rotated"]


def test_a_schedule_turned_off_frees_the_rotation_for_withdrawal(domain: SendingDomain) -> None:
    unpublish(domain, "2")
    later(domain, 31 * DAY)
    schedule_rotation(domain, 30)
    check_domain(domain)
    schedule_rotation(domain, None)
    schedule_rotation(domain, None)
    assert withdraw_rotation(domain).dkim_rotation_requested_at is None
    assert audited(domain)[-2:] == ["dkim_schedule_changed", "dkim_rotation_withdrawn"]


# ---- At once ---------------------------------------------------------------------------------------------------------


def test_two_rotations_at_once_are_one(domain: SendingDomain) -> None:
    def ask() -> str:
        try:
            return "rotated" if rotate(domain).dkim_rotation_requested_at is None else "waits"
        except Refused as refusal:
            return refusal.code

    assert sorted(all_at_once([ask] * 4)) == ["dkim_rotation_under_way"] * 3 + ["rotated"]
    assert states(domain) == {"1": "retiring", "2": "active", "e1": "waiting"}


def test_two_rotations_at_once_wait_as_one(domain: SendingDomain) -> None:
    unpublish(domain, "2")
    later(domain, HOUR)
    all_at_once([lambda: rotate(domain)] * 4)
    assert audited(domain) == ["dkim_rotation_requested"]


def test_a_rotation_meets_the_removal_of_its_domain(domain: SendingDomain) -> None:
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            remove_domain(domain)
            waits = until_it_waits(threads, lambda: rotate(domain))
        with pytest.raises(Refused) as refusal:
            waits.result(20)
    assert refusal.value.code == "not_found"
    assert not DkimKey.objects.exists()


def test_a_removal_meets_a_rotation(domain: SendingDomain) -> None:
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            rotate(domain)
            waits = until_it_waits(threads, lambda: remove_domain(domain))
        assert waits.result(20)
    assert not DnsRecord.objects.exists()


def test_looks_and_rotations_at_once_leave_one_key_that_signs(domain: SendingDomain) -> None:
    def ask() -> None:
        with suppress(RotationRefused):
            rotate(domain)

    later(domain, HOUR)
    all_at_once([ask, lambda: check_domain(domain), ask, lambda: check_domain(domain)])
    check(domain)
    assert states(domain)["2"] == "active"


# ---- Any course ------------------------------------------------------------------------------------------------------

STATUSES = [RecordStatus.FOUND] * 4 + [
    RecordStatus.MISSING, RecordStatus.DIFFERENT, RecordStatus.PROPAGATING, RecordStatus.UNREACHABLE,
]  # fmt: skip
LOOK = st.tuples(st.just("look"), st.lists(st.sampled_from(STATUSES), min_size=5, max_size=5))
STEP = st.one_of(
    LOOK,
    LOOK,
    st.tuples(st.just("pass"), st.sampled_from([HOUR, 7 * HOUR, 2 * DAY, 8 * DAY, 40 * DAY])),
    st.tuples(st.just("request"), st.none()),
    st.tuples(st.just("schedule"), st.sampled_from([None, 30])),
)


def check(domain: SendingDomain) -> dict[str, DkimKey]:
    """What holds at any time. Returns the RSA keys by state."""
    keys = list(domain.dkim_keys.all())
    rsa = [key for key in keys if key.algorithm == DkimAlgorithm.RSA and key.state != DkimKeyState.RETIRED]
    assert sorted(key.state for key in rsa) in (["active", "retiring"], ["active", "waiting"])
    ed25519 = [key for key in keys if key.algorithm == DkimAlgorithm.ED25519]
    signing = [key.created_at for key in ed25519 if key.state == DkimKeyState.ACTIVE]
    assert len(signing) <= 1
    assert all(signing < [key.created_at] for key in ed25519 if key.state == DkimKeyState.WAITING)
    rows = {row.dkim_key_id: row for row in domain.records.all() if row.dkim_key_id}
    assert set(rows) == {key.pk for key in keys if key.state != DkimKeyState.RETIRED}
    by_state = {key.state: key for key in rsa}
    assert [row.dkim_key_id for row in rows.values() if row.required] == [by_state["active"].pk]
    positions = list(domain.records.values_list("position", flat=True))
    assert len(set(positions)) == len(positions)
    for key in keys:
        assert bool(key.private_key) == (key.state != DkimKeyState.RETIRED)
        assert (key.retire_after is not None) == (key.state in ("retiring", "retired"))
    return by_state


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=5, max_size=15))
def test_whatever_dns_says_one_seen_key_signs(tenant: Tenant, steps: list[tuple[str, Any]]) -> None:
    with transaction.atomic():
        domain = make_domain(tenant.organization, "any.test")
        now = timezone.now()
        for kind, value in steps:
            before = check(domain)
            if kind == "look":
                now = _look(domain, value, now)
                after = check(domain)
                active, row = after["active"], domain.records.get(purpose="dkim")
                if active.pk != before["active"].pk:
                    assert row.status == RecordStatus.FOUND
                former = before.get("retiring")
                if former and former.pk not in {key.pk for key in after.values()}:
                    assert former.retire_after is not None
                    assert former.retire_after <= now
            elif kind == "pass":
                now += value
            elif kind == "request" and "waiting" in before and domain.dkim_rotation_requested_at is None:
                request(KeyRing.of(domain, domain.records.all(), now))
            elif kind == "schedule":
                domain.dkim_rotation_days = value
                domain.save()
        transaction.set_rollback(True)


def _look(domain: SendingDomain, statuses: list[RecordStatus], now: datetime) -> datetime:
    records = list(domain.records.order_by("name"))
    for number, record in enumerate(record for record in records if record.dkim_key_id):
        record.status = statuses[number % len(statuses)]
    wanted_at = after_look(domain, records, now)
    assert wanted_at is None or wanted_at > now
    DnsRecord.objects.bulk_update(records, ["status"])
    stored = {row.pk: (row.purpose, row.required, row.position) for row in domain.records.all()}
    assert all(
        stored.get(one.pk, (one.purpose, False, one.position)) == (one.purpose, one.required, one.position)
        for one in records
    )
    return now


def test_a_domain_with_a_former_key_is_looked_at_more_often(domain: SendingDomain) -> None:
    assert check_in(domain) > LOOK_AT_FORMER_EVERY
    rotate(domain)
    assert check_in(domain) <= LOOK_AT_FORMER_EVERY


def check_in(domain: SendingDomain) -> timedelta:
    next_check_at = check_domain(domain).next_check_at
    assert next_check_at is not None
    return next_check_at - timezone.now()


# ---- Mail under way --------------------------------------------------------------------------------------------------


def test_no_message_fails_dkim_at_any_moment_of_a_rotation(
    domain: SendingDomain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message is verified by what DNS held when it arrived, also between a change of DNS and the look that sees it."""
    monkeypatch.setattr(senders, "KEPT_S", 0.0)  # days pass within a second here
    credential = Credential(domain.organization_id, False, None, None, frozenset({"send"}), "")
    arrived: list[tuple[str, bytes, dict[str, str]]] = []
    zone: dict[str, str] = {}
    stage = ""

    def behave(verb: bytes, _: int) -> None:
        if verb == b".":
            arrived.append((stage, peer.messages[-1].removesuffix(b".\r\n"), dict(zone)))

    def read_zone() -> dict[str, str]:
        return dict(ZoneRecord.objects.filter(type="TXT").values_list("name", "value"))

    def remove(key: str) -> None:
        unpublish(domain, key)

    def put_back(key: str) -> None:
        publish_key(domain, key)

    steps: list[tuple[str, Any]] = [
        ("before", lambda: None),
        ("switched", lambda: rotate(domain)),
        ("new record removed", lambda: remove("2")),
        ("fallen back", lambda: (later(domain, MINUTE), check_domain(domain))),
        ("put back", lambda: put_back("2")),
        ("settled", lambda: (later(domain, SETTLES_AFTER_FALLBACK), check_domain(domain))),
        ("old record removed", lambda: remove("1")),
        ("loss seen", lambda: (later(domain, MINUTE), check_domain(domain))),
        ("old put back", lambda: (put_back("1"), check_domain(domain))),
        ("overlap over", lambda: later(domain, OVERLAP)),
        ("retired", lambda: (later(domain, IN_FLIGHT), check_domain(domain))),
        ("old record removed at last", lambda: remove("1")),
        ("next published", lambda: (put_back("3"), check_domain(domain))),
        ("next turn", lambda: rotate(domain)),
    ]
    peer = Peer(behave)

    async def main() -> None:
        nonlocal stage
        desk = Desk(database_url())
        await desk.open()
        is_over = False

        async def send() -> None:
            number = 0
            while not is_over:
                number += 1
                to = (f"r{number}@inbox.test",)
                await desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", to, MAIL))
                async with asyncio.timeout(20):
                    while number - len(arrived) > 5:
                        await asyncio.sleep(0.002)

        async with peer:
            settings.RELAY_SMARTHOST = f"127.0.0.1:{peer.port}"
            engine = Engine(database_url(), EngineLimits(lease=timedelta(seconds=30), look_every_s=0.2))
            await engine.start()
            zone.update(await asyncio.to_thread(in_thread, read_zone))
            traffic = asyncio.create_task(send())
            for name, step in steps:
                await asyncio.to_thread(in_thread, step)
                held = await asyncio.to_thread(in_thread, read_zone)
                zone.clear()
                zone.update(held)
                stage = name
                enough = len(arrived) + EACH_STEP
                async with asyncio.timeout(30):
                    while len(arrived) < enough:
                        assert not traffic.done() or traffic.result()
                        await asyncio.sleep(0.002)
            is_over = True
            await traffic
            await engine.stop(5)
        await desk.close()

    asyncio.run(main())
    signed: dict[str, list[str]] = {}
    for name, message, records in arrived:
        held = [one for one in by_dkimpy(message, records) if one.holds and one.domain == "acme.test"]
        assert held, (name, message)
        signed.setdefault(name, []).append(" ".join(one.selector.partition("-")[2] for one in held))
    # Before these there may be some that were signed before the step, behind them some from during the next.
    assert {name: ways[EACH_STEP - 1] for name, ways in signed.items()} == {
        "before": "1",
        "switched": "2 1",
        "new record removed": "1",
        "fallen back": "1",
        "put back": "1",
        "settled": "2 1",
        "old record removed": "2",
        "loss seen": "2",
        "old put back": "2 1",
        "overlap over": "2",
        "retired": "2",
        "old record removed at last": "2",
        "next published": "2",
        "next turn": "3 2",
    }


# ---- Pages and REST --------------------------------------------------------------------------------------------------


def test_the_page_asks_first_and_then_rotates(tenant: Tenant, domain: SendingDomain) -> None:
    page = tenant.client.get(reverse("domain_settings", args=[domain.pk])).content.decode()
    url = reverse("dkim_rotate", args=[domain.pk])
    assert url in page
    assert "signs all new mail at once" in tenant.client.get(url).content.decode()
    assert states(domain)["1"] == "active"
    page = tenant.client.post(url, follow=True).content.decode()
    assert "The new DKIM key signs from now on" in page
    assert "Signs for now" in page
    assert url not in page
    assert "retires on" in tenant.client.get(url).content.decode()
    assert "retires on" in tenant.client.post(url, follow=True).content.decode()
    assert AuditEntry.objects.get(action="domain.dkim_rotated").actor_name == tenant.user.email


def test_the_page_shows_the_record_that_a_rotation_waits_for(tenant: Tenant, domain: SendingDomain) -> None:
    unpublish(domain, "2")
    check_domain(domain)
    url = reverse("dkim_rotate", args=[domain.pk])
    assert "takes over by itself as soon as its record is seen" in tenant.client.get(url).content.decode()
    page = tenant.client.post(url, follow=True).content.decode()
    assert "A rotation waits for the record of" in page
    withdraw = reverse("dkim_withdraw", args=[domain.pk])
    assert withdraw in page
    assert "is withdrawn" in tenant.client.post(withdraw, follow=True).content.decode()


def test_the_page_sets_the_schedule(tenant: Tenant, domain: SendingDomain) -> None:
    url = reverse("dkim_schedule", args=[domain.pk])
    page = tenant.client.post(url, {"days": "90"}, follow=True).content.decode()
    assert '<option value="90" selected>' in page
    assert "The next key takes over on" in page
    assert "Choose one of the intervals" in tenant.client.post(url, {"days": "7"}, follow=True).content.decode()
    assert SendingDomain.objects.get().dkim_rotation_days == 90
    tenant.client.post(url, {"days": ""})
    assert SendingDomain.objects.get().dkim_rotation_days is None


def test_another_organizations_keys_are_not_there(domain: SendingDomain) -> None:
    other = make_tenant("Other")
    for name in ("dkim_rotate", "dkim_withdraw", "dkim_schedule"):
        assert other.client.post(reverse(name, args=[domain.pk]), {"days": "30"}).status_code == 404
    api = make_api(other.organization, "full")
    refused(api.post(f"domains/{domain.pk}/dkim/rotate"), 404, "not_found")
    assert not AuditEntry.objects.filter(action__startswith="domain.dkim_").exists()


def test_rest_rotates_and_tells_of_the_keys(tenant: Tenant, domain: SendingDomain) -> None:
    api = make_api(tenant.organization, "full")
    path = f"domains/{domain.pk}"
    dkim = api.get(path).json()["dkim"]
    assert (dkim["rotation_days"], dkim["rotation_pending"]) == (None, False)
    assert [(key["state"], key["algorithm"]) for key in dkim["keys"]] == [
        ("waiting", "ed25519-sha256"), ("waiting", "rsa-sha256"), ("active", "rsa-sha256"),
    ]  # fmt: skip
    assert set(dkim["keys"][0]) == {
        "selector", "algorithm", "state", "created_at", "activated_at", "seen_at", "retire_after",
    }  # fmt: skip

    rotated = api.post(f"{path}/dkim/rotate")
    assert rotated.status_code == 200
    assert [key["state"] for key in rotated.json()["dkim"]["keys"]] == ["waiting", "active", "retiring"]
    refused(api.post(f"{path}/dkim/rotate"), 409, "dkim_rotation_under_way")
    assert AuditEntry.objects.get(action="domain.dkim_rotated").actor_kind == "api_key"
    refused(make_api(tenant.organization, "read").post(f"{path}/dkim/rotate"), 403, "insufficient_scope")

    SendingDomain.objects.update(status="stopped")
    refused(api.post(f"{path}/dkim/rotate"), 409, "dkim_rotation_unverified")


def test_rest_withdraws_and_schedules(tenant: Tenant, domain: SendingDomain) -> None:
    unpublish(domain, "2")
    check_domain(domain)
    api = make_api(tenant.organization, "full")
    path = f"domains/{domain.pk}"
    assert api.post(f"{path}/dkim/rotate").json()["dkim"]["rotation_pending"] is True
    assert api.delete(f"{path}/dkim/rotate").json()["dkim"]["rotation_pending"] is False
    assert api.patch(path, {"dkim_rotation_days": 90}).status_code == 200
    assert api.get(path).json()["dkim"]["rotation_days"] == 90
    for wrong in (7, "90", True, 90.0, [90]):
        refused(api.patch(path, {"dkim_rotation_days": wrong}), 422, "validation_failed", "/dkim_rotation_days")
    assert api.patch(path, {"dkim_rotation_days": None}).status_code == 200
    assert api.get(path).json()["dkim"]["rotation_days"] is None
