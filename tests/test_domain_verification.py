"""Adding, proving and removing a domain, and its SMTP users: real DNS packets, real PostgreSQL."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connection
from django.utils import timezone
from psycopg import AsyncConnection

from accounts.models import ApiKey, Organization
from domains.dkim.keys import create_dkim_key, private_key_of
from domains.looking import claim_due, work_off_due
from domains.models import DkimAlgorithm, DnsRecord, DomainStatus, RecordStatus, SendingDomain, SmtpUser
from domains.names import DomainRefused
from domains.services import add_domain, remove_domain
from domains.smtp_users import create_smtp_user
from domains.verification import check_domain
from relay.database import database_url
from relay.delivery.signers import load_signers
from relay.sandbox.models import ZoneRecord
from relay.sandbox.zone import publish
from tests.dkim_verifiers import by_dkimpy
from tests.sandbox_servers import HOST, dns_over_database, silent_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dns_port(transactional_db: None, settings: object) -> Iterator[int]:
    with dns_over_database() as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]  # type: ignore[attr-defined]
        yield server.port


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Ours")


@pytest.fixture
def domain(organization: Organization) -> SendingDomain:
    return add_domain(organization, "demo.test")


@pytest.fixture
def verified(domain: SendingDomain, dns_port: int) -> SendingDomain:
    publish(domain)
    return check_domain(domain)


def statuses(domain: SendingDomain) -> dict[str, str]:
    return {record.purpose: record.status for record in domain.records.all()}


def record_of(domain: SendingDomain, purpose: str) -> DnsRecord:
    return domain.records.get(purpose=purpose)


BOTH = ["rsa-sha256 -1", "ed25519-sha256 -e1"]


def signs_with(domain: SendingDomain) -> list[str]:
    """Algorithm and end of the selector of the signatures that a message gets now and that hold by the records asked for."""
    signed = asyncio.run(_sign(domain.pk))
    records = {record.name: record.value for record in domain.records.all()}
    return [f"{one.algorithm} {one.selector[6:]}" for one in by_dkimpy(signed, records) if one.holds]


async def _sign(domain_id: UUID) -> bytes:
    async with await AsyncConnection.connect(database_url(), autocommit=True) as database:
        signers = await load_signers(database, [domain_id])
    return signers[domain_id].sign(b"From: ada@demo.test\r\n\r\nHello\r\n")


# ---- Adding ----------------------------------------------------------------------------------------------------------


def test_new_domain_waits_with_its_key_and_records(organization: Organization) -> None:
    domain = add_domain(organization, " BÜCHER.test. ")
    assert (domain.name, domain.display_name, domain.status) == ("xn--bcher-kva.test", "bücher.test", "pending")
    keys = domain.dkim_keys.order_by("id").values_list("selector", "algorithm", "state")
    stem = f"ps{domain.ownership_token[:4]}"
    assert list(keys) == [
        (f"{stem}-1", "rsa-sha256", "active"),
        (f"{stem}-2", "rsa-sha256", "waiting"),
        (f"{stem}-e1", "ed25519-sha256", "waiting"),
    ]
    assert [record.name for record in domain.records.all()] == [
        "_plugsend.xn--bcher-kva.test",
        f"{stem}-1._domainkey.xn--bcher-kva.test",
        f"{stem}-2._domainkey.xn--bcher-kva.test",
        "psrp.xn--bcher-kva.test",
        "_dmarc.xn--bcher-kva.test",
        f"{stem}-e1._domainkey.xn--bcher-kva.test",
    ]
    assert set(statuses(domain).values()) == {"unchecked"}


def test_dkim_keys_are_encrypted_and_fit_what_is_published(domain: SendingDomain) -> None:
    rsa, ed25519 = domain.dkim_keys.get(state="active"), domain.dkim_keys.get(algorithm=DkimAlgorithm.ED25519)
    rsa_key, ed25519_key = private_key_of(rsa), private_key_of(ed25519)
    assert isinstance(rsa_key, RSAPrivateKey)
    assert isinstance(ed25519_key, Ed25519PrivateKey)
    assert rsa_key.key_size == 2048
    der = rsa_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert base64.b64decode(rsa.public_key) == der
    assert base64.b64decode(ed25519.public_key) == ed25519_key.public_key().public_bytes_raw()
    with connection.cursor() as cursor:
        cursor.execute("SELECT private_key FROM domains_dkimkey")
        stored = [bytes(value) for (value,) in cursor.fetchall()]
    assert len(stored) == 3
    assert all(value.startswith(b"gAAAA") for value in stored)  # a Fernet token
    assert create_dkim_key(domain).selector.endswith("-3")
    assert create_dkim_key(domain, DkimAlgorithm.ED25519).selector.endswith("-e2")


def test_domain_cannot_be_added_twice(organization: Organization, domain: SendingDomain) -> None:
    with pytest.raises(DomainRefused) as refused:
        add_domain(organization, "DEMO.test")
    assert refused.value.code == "domain_already_added"
    assert SendingDomain.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [("co.uk", "domain_public_suffix"), ("plugsend.test", "domain_of_platform"), ("a b", "domain_invalid")],
)
def test_refused_domain_leaves_nothing_behind(
    organization: Organization, settings: object, name: str, code: str
) -> None:
    settings.SYSTEM_DOMAIN = "plugsend.test"  # type: ignore[attr-defined]
    with pytest.raises(DomainRefused) as refused:
        add_domain(organization, name)
    assert refused.value.code == code
    assert not SendingDomain.objects.exists()


def test_platforms_own_domain_is_for_the_system_organization(settings: object) -> None:
    settings.SYSTEM_DOMAIN = "plugsend.test"  # type: ignore[attr-defined]
    assert add_domain(Organization.objects.create(name="System", is_system=True), "plugsend.test").name


# ---- Proving ---------------------------------------------------------------------------------------------------------


def test_published_domain_is_verified(domain: SendingDomain, dns_port: int) -> None:
    assert publish(domain) == 6
    checked = check_domain(domain)
    assert checked.is_verified
    assert checked.verified_at
    assert set(statuses(domain).values()) == {RecordStatus.FOUND}
    assert record_of(domain, "return_path").found == [record_of(domain, "return_path").value]
    assert SendingDomain.objects.get().is_verified
    assert timedelta(hours=21) < checked.next_check_at - timezone.now() <= timedelta(days=1)


def test_unpublished_domain_waits_and_says_what_is_missing(domain: SendingDomain, dns_port: int) -> None:
    checked = check_domain(domain)
    assert checked.status == DomainStatus.PENDING
    assert set(statuses(domain).values()) == {RecordStatus.MISSING}
    assert "There is no TXT record at _plugsend.demo.test" in record_of(domain, "ownership").explanation
    assert timedelta(seconds=14) <= checked.next_check_at - checked.checked_at <= timedelta(seconds=16)


def test_dmarc_is_not_required(domain: SendingDomain, dns_port: int) -> None:
    publish(domain)
    ZoneRecord.objects.filter(name="_dmarc.demo.test").delete()
    assert check_domain(domain).is_verified
    assert statuses(domain)["dmarc"] == RecordStatus.MISSING


def test_ed25519_key_signs_while_its_record_is_found(domain: SendingDomain, dns_port: int) -> None:
    assert signs_with(domain) == BOTH[:1]
    publish(domain)
    record = ZoneRecord.objects.get(name=record_of(domain, "dkim_ed25519").name)
    record.delete()
    assert check_domain(domain).is_verified  # it is not required
    assert (statuses(domain)["dkim_ed25519"], signs_with(domain)) == (RecordStatus.MISSING, BOTH[:1])

    record.save(force_insert=True)
    check_domain(domain)
    assert (statuses(domain)["dkim_ed25519"], signs_with(domain)) == (RecordStatus.FOUND, BOTH)

    ZoneRecord.objects.filter(pk=record.pk).update(value=record.value[:-1])
    check_domain(domain)
    assert (statuses(domain)["dkim_ed25519"], signs_with(domain)) == (RecordStatus.DIFFERENT, BOTH[:1])


def test_wrong_records_are_shown_as_found(domain: SendingDomain, dns_port: int) -> None:
    publish(domain)
    ZoneRecord.objects.filter(name="_plugsend.demo.test").update(value="plugsend-verification=other")
    ZoneRecord.objects.filter(name="psrp.demo.test").update(value="elsewhere.example.")
    assert not check_domain(domain).is_verified
    assert (record_of(domain, "ownership").status, record_of(domain, "ownership").found) == (
        "different",
        ["plugsend-verification=other"],
    )
    assert (record_of(domain, "return_path").status, record_of(domain, "return_path").found) == (
        "different",
        ["elsewhere.example"],
    )


def test_common_slips_are_explained(domain: SendingDomain, dns_port: int) -> None:
    ownership, return_path = record_of(domain, "ownership"), record_of(domain, "return_path")
    ZoneRecord.objects.create(name=f"{ownership.name}.demo.test", type="TXT", value=ownership.value)
    ZoneRecord.objects.create(name=return_path.name, type="TXT", value=return_path.value)
    ZoneRecord.objects.create(name=record_of(domain, "dkim").name, type="CNAME", value="elsewhere.example.")
    check_domain(domain)
    assert "Type _plugsend as the name" in record_of(domain, "ownership").explanation
    assert "a CNAME is needed" in record_of(domain, "return_path").explanation
    assert "Remove the CNAME" in record_of(domain, "dkim").explanation


def test_key_published_behind_an_alias_is_found(domain: SendingDomain, dns_port: int) -> None:
    publish(domain)
    dkim = record_of(domain, "dkim")
    ZoneRecord.objects.filter(name=dkim.name).update(type="CNAME", value="key.example.")
    ZoneRecord.objects.create(name="key.example", type="TXT", value=dkim.value)
    assert check_domain(domain).is_verified


def test_verified_domain_that_loses_records_stays_verified_and_shows_it(verified: SendingDomain) -> None:
    ZoneRecord.objects.all().delete()
    checked = check_domain(verified)
    assert checked.is_verified
    assert set(statuses(verified).values()) == {RecordStatus.MISSING}
    assert signs_with(verified) == BOTH[:1]


def test_silent_dns_never_unverifies(verified: SendingDomain, settings: object) -> None:
    with silent_port() as silent:
        settings.DNS_NAMESERVERS = [f"{HOST}:{silent.getsockname()[1]}"]  # type: ignore[attr-defined]
        checked = check_domain(verified)
    assert checked.is_verified
    assert set(statuses(verified).values()) == {RecordStatus.UNREACHABLE}
    assert "did not answer in time" in record_of(verified, "dkim").explanation
    assert signs_with(verified) == BOTH


def test_failing_name_server_is_unreachable_not_missing(organization: Organization, dns_port: int) -> None:
    domain = add_domain(organization, "servfail.test")
    assert not check_domain(domain).is_verified
    assert set(statuses(domain).values()) == {RecordStatus.UNREACHABLE}


def test_domain_removed_meanwhile_is_no_error(domain: SendingDomain, dns_port: int) -> None:
    held = SendingDomain.objects.get()
    remove_domain(SendingDomain.objects.get())
    check_domain(held)
    assert not DnsRecord.objects.exists()


# ---- By the clock ----------------------------------------------------------------------------------------------------


def test_due_domains_are_checked_and_others_are_not(organization: Organization, dns_port: int) -> None:
    due = [add_domain(organization, f"due{number}.test") for number in range(3)]
    later = add_domain(organization, "later.test")
    SendingDomain.objects.filter(pk=later.pk).update(next_check_at=timezone.now() + timedelta(minutes=1))
    for domain in [*due, later]:
        publish(domain)
    work_off_due(at_once=2)
    assert not SendingDomain.objects.get(pk=later.pk).checked_at
    verified = SendingDomain.objects.filter(status=DomainStatus.VERIFIED)
    assert sorted(verified.values_list("name", flat=True)) == ["due0.test", "due1.test", "due2.test"]


def test_two_workers_never_claim_the_same_domain(organization: Organization) -> None:
    SendingDomain.objects.bulk_create(
        SendingDomain(organization=organization, name=f"d{number}.test", ownership_token="t") for number in range(40)
    )
    claimed: list[str] = []
    start = threading.Barrier(4)

    def claim() -> None:
        start.wait()
        while batch := claim_due(3):
            claimed.extend(domain.name for domain in batch)
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(claimed) == len(set(claimed)) == 40


def test_removed_domain_takes_its_passwords_with_it(verified: SendingDomain) -> None:
    create_smtp_user(verified, "admin")
    create_smtp_user(verified, "shop")
    remove_domain(verified)
    assert not SmtpUser.objects.exists()
    assert ApiKey.objects.filter(revoked_at__isnull=False).count() == 2
