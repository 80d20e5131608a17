"""The sandbox's mail exchanger, spoken to by a stock SMTP client."""

import re
import smtplib
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.db import connection

from accounts.models import Organization
from domains.dkim.keys import private_key_of
from domains.models import DkimAlgorithm, SendingDomain
from domains.services import add_domain
from relay.certificates import self_signed
from relay.delivery.signing import Signer
from relay.sandbox.internet import EXCHANGER
from relay.sandbox.models import ReceivedMail, ZoneRecord
from relay.sandbox.script import SCRIPTS, Greylist, script_for
from relay.sandbox.zone import publish
from tests.sandbox_servers import HOST, dns_over_database, exchanger

SENDER = "bounces+1@psrp.demo.test"
MAIL = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <admin@demo.test>\r\nTo: joe@example.net\r\nSubject: Hello,\r\n world\r\n"
    b"Message-ID: <1@demo.test>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\n\r\n"
    b"A line.\r\n.dots at the start\r\n..\r\nEnd.\r\n"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture
def port(transactional_db: None, certificates: Path) -> Iterator[int]:
    with dns_over_database() as dns_server, exchanger(certificates, dns_server.port) as server:
        yield server.port


@pytest.fixture
def client(port: int) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(HOST, port, local_hostname="sender.test", timeout=20) as connected:
        yield connected


@pytest.fixture
def domain(transactional_db: None) -> SendingDomain:
    return add_domain(Organization.objects.create(name="Ours"), "demo.test")


def sign(domain: SendingDomain, mail: bytes) -> bytes:
    key = domain.dkim_keys.get(state="active")
    pem = private_key_of(key).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    header: bytes = dkim.sign(
        mail, key.selector.encode(), domain.name.encode(), pem, canonicalize=(b"relaxed", b"relaxed")
    )
    return header + mail


# ---- What arrives ----------------------------------------------------------------------------------------------------


def test_mail_is_kept_as_it_came(client: smtplib.SMTP, certificates: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(certificates / f"{EXCHANGER}.crt"))
    trusted.verify_flags |= ssl.VERIFY_X509_STRICT
    trusted.check_hostname = False  # the client connected by address
    client.starttls(context=trusted)
    client.ehlo()
    assert client.mail(SENDER)[0] == 250
    assert client.rcpt("joe@example.net")[0] == 250
    assert client.rcpt("jane@example.net")[0] == 250
    code, text = client.data(MAIL)
    mail = ReceivedMail.objects.get()
    assert (code, text) == (250, f"2.0.0 Ok: queued as {mail.id}".encode())
    assert bytes(mail.raw) == MAIL
    assert (mail.envelope_sender, mail.recipients) == (SENDER, ["joe@example.net", "jane@example.net"])
    assert (mail.subject, mail.header_from) == ("Hello, world", "Jürgen <admin@demo.test>")
    assert mail.tls.startswith("TLSv1.3 TLS_")
    assert (mail.helo, mail.dkim, mail.dkim_domain) == ("sender.test", "none", "")


def test_offers_are_kept(client: smtplib.SMTP) -> None:
    client.ehlo()
    offered = {"size", "8bitmime", "smtputf8", "starttls", "pipelining", "enhancedstatuscodes"}
    assert set(client.esmtp_features) == offered
    client.starttls(context=ssl._create_unverified_context())
    client.ehlo()
    assert set(client.esmtp_features) == offered - {"starttls"}


def test_signed_mail_passes_dkim_by_the_key_in_dns(client: smtplib.SMTP, domain: SendingDomain) -> None:
    publish(domain)
    client.sendmail(SENDER, ["joe@example.net"], sign(domain, MAIL))
    mail = ReceivedMail.objects.get()
    assert (mail.dkim, mail.dkim_domain, mail.tls) == ("pass", "demo.test", "")
    assert mail.dkim_signatures == [f"pass rsa-sha256 {domain.dkim_keys.get(state='active').selector} demo.test"]


@pytest.mark.parametrize("unpublished", ["", "ed25519-sha256", "rsa-sha256"])
def test_each_signature_gets_its_verdict(client: smtplib.SMTP, domain: SendingDomain, unpublished: str) -> None:
    publish(domain)
    keys = [domain.dkim_keys.get(state="active"), domain.dkim_keys.get(algorithm=DkimAlgorithm.ED25519)]
    for key in keys:
        if key.algorithm == unpublished:
            ZoneRecord.objects.filter(name=f"{key.selector}._domainkey.demo.test").delete()
    signer = Signer("demo.test", tuple((key.selector, private_key_of(key)) for key in keys))
    client.sendmail(SENDER, ["joe@example.net"], signer.sign(MAIL))
    mail = ReceivedMail.objects.get()
    assert (mail.dkim, mail.dkim_domain) == ("pass", "demo.test")
    assert mail.dkim_signatures == [
        f"{'fail' if key.algorithm == unpublished else 'pass'} {key.algorithm} {key.selector} demo.test" for key in keys
    ]


@pytest.mark.parametrize("fault", ["changed body", "key not published", "another key", "broken signature"])
def test_signature_that_does_not_hold_fails(client: smtplib.SMTP, domain: SendingDomain, fault: str) -> None:
    signed = sign(domain, MAIL)
    if fault == "another key":
        domain.delete()
        publish(add_domain(Organization.objects.get(), "demo.test"))
    elif fault != "key not published":
        publish(domain)
    if fault == "changed body":
        signed = signed.replace(b"A line.", b"A lie.")
    if fault == "broken signature":
        signed = re.sub(rb"(\sb=)", rb"\1QUFB", signed, count=1)
    client.sendmail(SENDER, ["joe@example.net"], signed)
    mail = ReceivedMail.objects.get()
    assert (mail.dkim, mail.dkim_domain) == ("fail", "demo.test")


def test_null_sender_and_other_alphabets_are_taken(client: smtplib.SMTP) -> None:
    client.sendmail("", ["jürgen@bücher.example"], "Subject: Grüße\r\n\r\n\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"])
    mail = ReceivedMail.objects.get()
    assert (mail.envelope_sender, mail.recipients, mail.subject) == ("", ["jürgen@bücher.example"], "Grüße")


@pytest.mark.parametrize(
    "content",
    [
        b"\r\n",
        b".\r\n",
        b"..\r\n..\r\n",
        b"ends with a dot.\r\n" * 3,
        b"x" * 300_000 + b"\r\n",
        b"a.\r\n.b\r\n" * 60_000,
    ],
)
def test_any_content_comes_through_octet_for_octet(client: smtplib.SMTP, content: bytes) -> None:
    client.sendmail(SENDER, ["joe@example.net"], content)
    client.sendmail(SENDER, ["next@example.net"], b"Subject: next\r\n")
    mail = ReceivedMail.objects.filter(recipients=["joe@example.net"]).get()
    assert bytes(mail.raw) == content
    assert ReceivedMail.objects.count() == 2


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (b"DKIM-Signature: v=1; a=rsa-sha256; d=\xff; s=x; b=", "fail"),
        (b"DKIM-Signature: v=1; a=rsa-sha256; d=a.test; s=x; h=from; bh=!; b=!", "fail"),
        (b"DKIM-Signature:", "fail"),
        (b"no header", "none"),
    ],
)
def test_hostile_headers_are_no_obstacle(client: smtplib.SMTP, header: bytes, verdict: str) -> None:
    hostile = b"Subject: =?bogus?q?x?= \0 \xff\r\n" + header + b"\r\n\r\n"
    client.sendmail(SENDER, ["joe@example.net"], hostile)
    mail = ReceivedMail.objects.get()
    assert bytes(mail.raw) == hostile
    assert mail.dkim == verdict


def test_oversize_is_refused_and_the_session_goes_on(client: smtplib.SMTP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.sandbox.exchanger.SIZE_LIMIT", 100_000)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail(SENDER, ["joe@example.net"], b"x.\r\n" * 100_000)
    assert refused.value.smtp_code == 552
    client.sendmail(SENDER, ["joe@example.net"], MAIL)
    assert ReceivedMail.objects.count() == 1


def test_commands_may_be_pipelined(port: int) -> None:
    """RFC 2920, 3.1: also the next transaction right behind the final dot."""
    transaction = b"MAIL FROM:<a@demo.test>\r\nRCPT TO:<joe@example.net>\r\nRCPT TO:<bounce@example.net>\r\nDATA\r\n"
    with socket.create_connection((HOST, port), timeout=5) as raw, raw.makefile("rb") as replies:
        raw.sendall(b"EHLO sender.test\r\n")
        while not replies.readline().startswith(b"250 "):
            pass
        raw.sendall(transaction)
        assert [replies.readline()[:9] for _ in range(4)] == [b"250 2.1.0", b"250 2.1.5", b"550 5.1.1", b"354 End d"]
        raw.sendall(b"Subject: one\r\n\r\n.\r\n" + transaction)
        assert [replies.readline()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"550", b"354"]
        raw.sendall(b".\r\n" + transaction)  # nothing at all
        assert [replies.readline()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"550", b"354"]
        raw.sendall(b"Subject: three\r\n\r\n.\r\nQUIT\r\n")
        assert [replies.readline()[:3] for _ in range(2)] == [b"250", b"221"]
    assert [bytes(mail.raw) for mail in ReceivedMail.objects.order_by("id")] == [
        b"Subject: one\r\n\r\n",
        b"",
        b"Subject: three\r\n\r\n",
    ]


def test_mail_sent_in_clear_text_behind_starttls_is_dropped(port: int) -> None:
    """The injection of CVE-2021-38371 and its kin: RFC 3207, 4.2."""
    with socket.create_connection((HOST, port), timeout=5) as raw:
        raw.recv(1000)
        raw.sendall(b"EHLO sender.test\r\n")
        raw.recv(1000)
        raw.sendall(b"STARTTLS\r\nMAIL FROM:<injected@demo.test>\r\n")
        assert raw.recv(1000).startswith(b"220")
        with ssl._create_unverified_context().wrap_socket(raw, server_hostname=EXCHANGER) as secured:
            secured.sendall(b"EHLO sender.test\r\nRCPT TO:<joe@example.net>\r\n")
            said = b""
            while b"503" not in said:
                said += secured.recv(1000)
    assert not ReceivedMail.objects.exists()


def test_mail_is_refused_for_now_while_the_database_is_away_and_taken_again_after(
    client: smtplib.SMTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.sendmail(SENDER, ["joe@example.net"], MAIL)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sandbox_receivedmail RENAME TO gone")
        try:
            with pytest.raises(smtplib.SMTPDataError) as refused:
                client.sendmail(SENDER, ["joe@example.net"], MAIL)
            assert refused.value.smtp_code == 451
        finally:
            cursor.execute("ALTER TABLE gone RENAME TO sandbox_receivedmail")
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    client.sendmail(SENDER, ["joe@example.net"], MAIL)
    assert ReceivedMail.objects.count() == 2


def test_burst_is_kept_whole(port: int) -> None:
    def send(number: int) -> None:
        with smtplib.SMTP(HOST, port, local_hostname="sender.test", timeout=30) as client:
            for index in range(20):
                client.sendmail(f"{number}-{index}@demo.test", ["joe@example.net"], MAIL)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, range(8)))
    assert ReceivedMail.objects.values("envelope_sender").distinct().count() == ReceivedMail.objects.count() == 160


# ---- The script ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local_part", "reply"),
    [
        ("bounce", "550 5.1.1"),
        ("BOUNCE+anything", "550 5.1.1"),
        ("defer", "451 4.3.0"),
        ("full+1", "452 4.2.2"),
    ],
)
def test_local_part_scripts_a_refusal_each_time(client: smtplib.SMTP, local_part: str, reply: str) -> None:
    client.ehlo()
    for _ in range(3):
        client.mail(SENDER)
        code, text = client.rcpt(f"{local_part}@example.net")
        assert f"{code} {text.decode()}".startswith(reply)
        assert client.docmd("DATA")[0] == 503
        client.rset()


def test_greylisted_mail_passes_at_the_second_try(client: smtplib.SMTP) -> None:
    for sender in ("b1@psrp.demo.test", "b2@psrp.demo.test"):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail(sender, ["greylist+x@example.net"], MAIL)
        assert refused.value.recipients["greylist+x@example.net"] == (451, b"4.7.1 Greylisted, try again")
        client.sendmail(sender, ["greylist+x@example.net"], MAIL)
    assert ReceivedMail.objects.count() == 2


def test_drop_hangs_up_after_the_final_dot_and_keeps_nothing(client: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.sendmail(SENDER, ["drop@example.net"], MAIL)
    assert not ReceivedMail.objects.exists()


def test_slow_answers_after_five_seconds_and_holds_up_nobody_else(port: int) -> None:
    def send(recipient: str) -> float:
        with smtplib.SMTP(HOST, port, local_hostname="sender.test", timeout=20) as client:
            started = monotonic()
            client.sendmail(SENDER, [recipient], MAIL)
            return monotonic() - started

    slow: list[float] = []
    thread = threading.Thread(target=lambda: slow.append(send("slow@example.net")))
    thread.start()
    assert send("joe@example.net") < 2
    thread.join(20)
    assert 5 <= slow[0] < 7


def test_other_local_parts_are_accepted() -> None:
    for address in ("joe@example.net", "bouncer@example.net", "x+bounce@example.net", "joe@bounce.test", "@", ""):
        assert script_for(address) == SCRIPTS.get("nothing", script_for("joe@example.net"))


def test_greylist_forgets_the_oldest_when_it_grows() -> None:
    greylist = Greylist()
    assert not greylist.passes("first", "r")
    for number in range(Greylist.MOST):
        greylist.passes(str(number), "r")
    assert not greylist.passes("first", "r")


# ---- The certificate -------------------------------------------------------------------------------------------------


def test_certificate_is_made_once_even_in_a_race(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        pairs = list(threads.map(lambda _: [path.read_bytes() for path in self_signed(tmp_path, "h.test")], range(8)))
    assert all(pair == pairs[0] for pair in pairs)
    certificate, key = self_signed(tmp_path, "h.test")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)  # they fit each other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.test.crt", "h.test.key"]
