"""What looks at a domain lead to, stored: losses, takeovers, races; real DNS packets, real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connections
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import notices
from accounts.audit import Actor
from accounts.models import AuditEntry, Notice, Organization
from domains import verification
from domains.dns.zones import CACHE
from domains.looking import check_again, claim_due, look_at_due, look_while_open, work_off_due
from domains.models import DnsRecord, DomainStatus, RecordStatus, SendingDomain, SmtpUser
from domains.services import add_domain, remove_domain
from domains.smtp_users import create_smtp_user
from domains.verification import check_domain
from relay.sandbox.models import ZoneRecord
from relay.sandbox.zone import publish, withdraw
from relay.tasks import end_mail_of
from tests.factories import make_tenant
from tests.lookers import wait_for_lookers
from tests.sandbox_servers import HOST, dns_over_database, silent_port

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime.fromisoformat("2026-06-26T08:00:00+00:00")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ADA = Actor("user", None, "ada@people.test", "192.0.2.7")


@pytest.fixture(autouse=True)
def dns(transactional_db: None, settings: Settings) -> Iterator[None]:
    settings.DOMAIN_LOSS_SCALE = 1.0
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    with dns_over_database() as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]
        yield
    wait_for_lookers()


@pytest.fixture
def organization() -> Organization:
    return make_tenant("Acme").organization


@pytest.fixture
def verified(organization: Organization) -> SendingDomain:
    domain = add_domain(organization, "demo.test")
    publish(domain)
    return check_domain(domain, now=START)


def publish_beside(domain: SendingDomain) -> None:
    """As the owner of the DNS would who lets others' records stand."""
    for record in domain.records.all():
        value = f"{record.value}." if record.type == "CNAME" else record.value
        ZoneRecord.objects.get_or_create(name=record.name, type=record.type, value=value)


def story(domain: SendingDomain) -> list[str]:
    """Without what its DKIM keys do (tests/test_dkim_rotation.py)."""
    entries = AuditEntry.objects.filter(object_id=domain.pk).exclude(action__startswith="domain.dkim_").order_by("id")
    return list(entries.values_list("action", flat=True))


def mails() -> list[str]:
    """Sends what is to be sent, and returns the templates in their order."""
    notices.send_due()
    return list(Notice.objects.order_by("id").values_list("template", flat=True))


def again(domain: SendingDomain) -> SendingDomain:
    return SendingDomain.objects.get(pk=domain.pk)


# ---- Lost and found --------------------------------------------------------------------------------------------------


def test_a_loss_is_told_and_stops_the_domain_and_what_is_back_goes_on(verified: SendingDomain) -> None:
    lost_at = START + 24 * HOUR
    ZoneRecord.objects.filter(name="psrp.demo.test").delete()

    first = check_domain(verified, now=lost_at)
    assert (first.status, first.failing_since, first.next_check_at) == ("verified", lost_at, lost_at + 10 * MINUTE)
    assert mails() == []
    second = check_domain(verified, now=lost_at + 10 * MINUTE)
    assert (second.status, second.warned_at) == ("verified", lost_at + 10 * MINUTE)
    assert mails() == ["domain_failing"]
    assert check_domain(verified, now=lost_at + 71 * HOUR).is_verified
    stopped = check_domain(verified, now=lost_at + 72 * HOUR)
    assert (stopped.status, stopped.status_at) == ("stopped", lost_at + 72 * HOUR)
    assert mails() == ["domain_failing", "domain_stopped"]
    publish(verified)
    back = check_domain(verified, now=lost_at + 80 * HOUR)
    assert (back.status, back.failing_since, back.warned_at) == ("verified", None, None)
    assert mails() == ["domain_failing", "domain_stopped", "domain_recovered"]
    assert set(AuditEntry.objects.exclude(actor_kind="system")) == set()
    assert story(verified) == [
        "domain.added", "domain.verified", "domain.failing", "domain.warned", "domain.stopped", "domain.verified",
    ]  # fmt: skip

    warning, stop, recovery = mail.outbox
    assert warning.to == ["acme@people.test"]
    assert warning.subject == "demo.test: DNS records are gone, sending stops on 30 June 2026, 08:00 UTC"
    for text in ("since 27 June 2026, 08:00 UTC", "CNAME psrp.demo.test", f"/domains/{verified.pk}/"):
        assert text in warning.body
    assert "is refused from now on" in stop.body
    assert "&" not in warning.body + stop.body + recovery.body
    assert "are back" in recovery.body


def test_one_bad_look_is_on_record_and_told_to_nobody(verified: SendingDomain) -> None:
    withdraw(verified)
    check_domain(verified, now=START + HOUR)
    publish(verified)
    assert check_domain(verified, now=START + 2 * HOUR).failing_since is None
    assert story(verified)[-2:] == ["domain.failing", "domain.recovered"]
    assert mails() == []
    failing = AuditEntry.objects.get(action="domain.failing")
    assert failing.after
    assert "TXT _plugsend.demo.test: missing" in failing.after["records"]


def test_silence_is_no_loss(verified: SendingDomain, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domains.dns.resolver.LIFETIME_S", 0.2)
    with silent_port() as silent:
        settings.DNS_NAMESERVERS = [f"{HOST}:{silent.getsockname()[1]}"]
        for hours in (24, 25, 120):
            assert check_domain(verified, now=START + hours * HOUR).failing_since is None
    assert {record.status for record in verified.records.all()} == {RecordStatus.UNREACHABLE}


def test_records_that_are_not_required_may_go(verified: SendingDomain) -> None:
    ZoneRecord.objects.filter(name="_dmarc.demo.test").delete()
    assert check_domain(verified, now=START + HOUR).failing_since is None


def test_what_somebody_set_off_is_in_his_name(organization: Organization) -> None:
    domain = add_domain(organization, "demo.test", by=ADA)
    publish(domain)
    check_again(domain, ADA)
    entries = (
        AuditEntry.objects.exclude(action__startswith="domain.dkim_")
        .exclude(action="organization.created")
        .order_by("id")
    )
    assert [(one.action, one.actor_name, one.client) for one in entries] == [
        ("domain.added", "ada@people.test", "192.0.2.7"),
        ("domain.verified", "ada@people.test", "192.0.2.7"),
    ]
    remove_domain(domain, by=ADA)
    removed = AuditEntry.objects.order_by("id").last()
    assert removed
    assert (removed.action, removed.object_name, removed.before) == (
        "domain.removed", "demo.test", {"name": "demo.test", "status": "verified"},
    )  # fmt: skip


def test_a_crash_while_storing_leaves_neither_state_nor_entry(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = add_domain(organization, "demo.test")
    publish(domain)

    def crash(*_: Any) -> None:
        raise RuntimeError("the process ends here")

    monkeypatch.setattr(verification, "_keep_zone", crash)
    with pytest.raises(RuntimeError):
        check_domain(domain)
    assert (again(domain).status, again(domain).checked_at, story(domain)) == ("pending", None, ["domain.added"])
    assert set(domain.records.values_list("status", flat=True)) == {"unchecked"}


# ---- One organization each -------------------------------------------------------------------------------------------


@pytest.fixture
def theirs() -> SendingDomain:
    return add_domain(make_tenant("Rival").organization, "demo.test")


def test_whoever_proves_a_domain_last_has_it(
    verified: SendingDomain, theirs: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[list[str]] = []
    monkeypatch.setattr(end_mail_of, "apply_async", lambda arguments, **_: ended.append(arguments))
    token, user = verified.ownership_token, create_smtp_user(verified, "admin").smtp_user
    assert check_domain(theirs).status == "pending"
    publish_beside(theirs)
    assert check_domain(theirs).is_verified

    former = again(verified)
    assert ended == [[str(verified.pk), "domain_taken_over"]]
    assert (former.status, former.verified_at) == ("taken_over", None)
    assert former.ownership_token != token
    assert SmtpUser.objects.filter(pk=user.pk, disabled_at=None).exists()
    assert story(verified)[-1] == "domain.taken_over"
    assert story(theirs) == ["domain.added", "domain.verified"]
    assert mails() == ["domain_taken_over"]
    assert mail.outbox[0].to == ["acme@people.test"]
    told = AuditEntry.objects.get(action="domain.taken_over")
    everything = f"{told.actor_name}{told.before}{told.after}{mail.outbox[0].subject}{mail.outbox[0].body}"
    assert "Rival" not in everything
    assert str(theirs.pk) not in everything


def test_name_servers_with_the_longest_names_are_kept(verified: SendingDomain) -> None:
    label = "\\001" * 63
    ZoneRecord.objects.create(name="demo.test", type="NS", value=f"{label}.{label}.{label}.test.")
    CACHE.clear()
    assert len(check_domain(verified).nameservers[0]) == 253


def test_the_former_owner_comes_back_with_the_new_token_only(verified: SendingDomain, theirs: SendingDomain) -> None:
    publish_beside(theirs)
    check_domain(theirs)
    assert check_domain(verified).status == "taken_over"  # its old record stands there still
    assert again(theirs).is_verified
    publish_beside(verified)
    assert check_domain(verified).is_verified
    assert again(theirs).status == "taken_over"
    assert check_domain(theirs).status == "taken_over"  # and so do theirs


def test_a_stopped_domain_is_taken_over_too(verified: SendingDomain, theirs: SendingDomain) -> None:
    SendingDomain.objects.filter(pk=verified.pk).update(status=DomainStatus.STOPPED, failing_since=START)
    publish_beside(theirs)
    check_domain(theirs)
    assert (again(verified).status, again(verified).failing_since) == ("taken_over", None)
    assert check_domain(verified).status == "taken_over"


def test_a_look_under_way_proves_nothing_by_the_token_before_the_takeover(
    verified: SendingDomain, theirs: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped and looked at with its old record in place, taken over meanwhile."""
    SendingDomain.objects.filter(pk=verified.pk).update(status=DomainStatus.STOPPED)
    publish_beside(theirs)
    real = verification.gather

    def gather(asked: Any) -> Any:
        heard = real(asked)
        monkeypatch.setattr(verification, "gather", real)
        assert check_domain(theirs).is_verified
        return heard

    monkeypatch.setattr(verification, "gather", gather)
    assert check_domain(again(verified), now=timezone.now() + MINUTE).status == "taken_over"
    assert again(theirs).is_verified
    assert verified.records.get(purpose="ownership").status == "unchecked"


def test_an_older_look_never_overwrites_a_later_one(verified: SendingDomain) -> None:
    withdraw(verified)
    check_domain(verified, now=START + HOUR)
    publish(verified)
    stored = check_domain(verified, now=START + HOUR - MINUTE)
    assert stored.failing_since == START + HOUR
    assert verified.records.get(purpose="ownership").status == "missing"


@pytest.mark.parametrize("organizations", [2, 5])
def test_several_who_prove_it_at_once_leave_one_owner(organizations: int) -> None:
    domains = [add_domain(make_tenant(f"O{n}").organization, "demo.test") for n in range(organizations)]
    for domain in domains:
        publish_beside(domain)
    at_once([lambda domain=domain: check_domain(domain) for domain in domains])
    states = sorted(SendingDomain.objects.values_list("status", flat=True))
    assert states == ["taken_over"] * (organizations - 1) + ["verified"]
    assert AuditEntry.objects.filter(action="domain.verified").count() == organizations
    assert Notice.objects.filter(template="domain_taken_over").count() == organizations - 1


def test_a_new_owner_may_give_out_the_former_ones_user_names(verified: SendingDomain, theirs: SendingDomain) -> None:
    old = create_smtp_user(verified, "admin").smtp_user
    publish_beside(theirs)
    check_domain(theirs)
    new = create_smtp_user(theirs, "admin").smtp_user
    assert list(SmtpUser.objects.filter(disabled_at=None)) == [new]
    assert SmtpUser.objects.filter(pk=old.pk).exists()
    entry = AuditEntry.objects.get(action="smtp_user.disabled")
    assert entry.organization_id == verified.organization_id


def test_a_stranger_learns_nothing_of_who_has_a_domain(verified: SendingDomain, theirs: SendingDomain) -> None:
    free = add_domain(theirs.organization, "free.test")
    for domain in (check_domain(theirs), check_domain(free)):
        assert (domain.status, domain.verified_at, domain.failing_since) == ("pending", None, None)
    told = "".join(record.explanation for record in theirs.records.all())
    assert "rganization" not in told
    assert story(theirs) == ["domain.added"]
    assert mails() == []


# ---- Who looks, and when ---------------------------------------------------------------------------------------------


def at_once(calls: list[Callable[[], Any]]) -> None:
    start = threading.Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> None:
        try:
            start.wait(20)
            call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as threads:
        for future in [threads.submit(begin, call) for call in calls]:
            future.result(30)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the domains that DNS was asked for, in turn."""
    made: list[str] = []
    real = verification.gather

    def gather(asked: Any) -> Any:
        made.extend(name for name, _ in asked)
        return real(asked)

    monkeypatch.setattr(verification, "gather", gather)
    return made


def test_a_page_that_is_open_lets_look_and_two_pages_do_not_double(
    organization: Organization, looks: list[str]
) -> None:
    domain = add_domain(organization, "demo.test")
    for _ in range(3):
        look_while_open(domain, timedelta(0))
    wait_for_lookers()
    assert looks == ["demo.test"]
    look_while_open(again(domain), timedelta(0))  # it is not old enough
    wait_for_lookers()
    assert looks == ["demo.test"]
    SendingDomain.objects.update(checked_at=timezone.now() - timedelta(seconds=6))
    look_while_open(again(domain), HOUR)  # open for so long, once a minute will do
    wait_for_lookers()
    assert looks == ["demo.test"]
    look_while_open(again(domain), timedelta(0))
    wait_for_lookers()
    assert looks == ["demo.test"] * 2


def test_who_presses_again_and_again_causes_one_look(organization: Organization, looks: list[str]) -> None:
    domain = add_domain(organization, "demo.test")
    at_once([lambda: check_again(domain)] * 5)
    assert looks == ["demo.test"]
    publish(domain)
    assert not check_again(domain).is_verified  # that was a moment ago
    SendingDomain.objects.update(checked_at=timezone.now() - timedelta(seconds=3))
    assert check_again(domain).is_verified


def test_who_has_looked_keeps_no_other_from_it(organization: Organization, looks: list[str]) -> None:
    """Connections live on, as those of the web process do."""
    domain = add_domain(organization, "demo.test")
    check_again(domain)
    SendingDomain.objects.update(checked_at=None)
    look_while_open(again(domain), timedelta(0))
    wait_for_lookers()
    assert looks == ["demo.test"] * 2


def test_a_domain_that_is_gone_is_not_looked_at(verified: SendingDomain, looks: list[str]) -> None:
    remove_domain(again(verified))
    assert check_again(verified) is verified
    look_while_open(verified, timedelta(0))
    wait_for_lookers()
    assert looks == []


def test_the_clock_leaves_out_what_somebody_is_looking_at(organization: Organization, looks: list[str]) -> None:
    busy, free = add_domain(organization, "busy.test"), add_domain(organization, "free.test")
    is_asked, may_answer = threading.Event(), threading.Event()
    real = verification.gather

    def gather(asked: Any) -> Any:
        if asked[0][0] == "busy.test" and not is_asked.is_set():
            is_asked.set()
            assert may_answer.wait(20)
        return real(asked)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as threads:
        patch.setattr(verification, "gather", gather)
        look = threads.submit(at_once, [lambda: check_again(busy)])
        assert is_asked.wait(20)
        work_off_due()
        may_answer.set()
        look.result(20)
    assert again(free).checked_at
    assert looks == ["free.test", "busy.test"]


def test_a_domain_at_which_our_code_fails_keeps_no_other_from_its_look(organization: Organization) -> None:
    bad, good = add_domain(organization, "bad.test"), add_domain(organization, "good.test")
    real = verification.judge

    def judge(record: DnsRecord, *evidence: Any, **around: Any) -> Any:
        if record.domain_id == bad.pk:
            raise RuntimeError("a mistake of ours")
        return real(record, *evidence, **around)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "judge", judge)
        work_off_due()
    assert again(good).checked_at
    assert again(bad).checked_at is None
    assert again(bad).next_check_at > timezone.now()


def test_the_task_hands_over_and_ends(organization: Organization) -> None:
    """However long DNS takes: Celery's threads are for the mail path."""
    domain = add_domain(organization, "demo.test")
    may_answer = threading.Event()
    real = verification.gather

    def gather(asked: Any) -> Any:
        assert may_answer.wait(20)
        return real(asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "gather", gather)
        for _ in range(5):
            look_at_due()  # would wait for ever here
        assert again(domain).checked_at is None
        assert sum(thread.name == "looker" for thread in threading.enumerate()) <= 2
        may_answer.set()
        wait_for_lookers()
    assert again(domain).checked_at


def test_what_a_process_that_died_had_claimed_is_due_again(organization: Organization) -> None:
    domain = add_domain(organization, "demo.test")
    assert claim_due(5) == [domain]
    assert claim_due(5) == []
    SendingDomain.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))  # the claim has run out
    work_off_due()
    assert again(domain).checked_at
