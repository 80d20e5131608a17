"""TLS at the SMTP door: from the first octet and by STARTTLS, on both event loops, and certificates that are renewed."""

import asyncio
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from relay.certificates import self_signed
from relay.submission.smtp_tls import Certificate
from tests.in_process import Door, running_door
from tests.platform import Platform
from tests.wire import GOOD, Wire, plain, trusting

pytestmark = pytest.mark.xdist_group("platform")


def test_tls_from_the_first_octet(platform: Platform) -> None:
    client = Wire(platform.smtps_port, tls=trusting())
    assert client.read().startswith("220 ")
    offered = client.command("EHLO x")
    assert "STARTTLS" not in offered
    assert client.command("STARTTLS").startswith("503 5.5.1 ")
    assert client.command(f"AUTH PLAIN {plain(platform)}").startswith("235 ")
    assert client.deliver(GOOD).startswith("250 ")
    client.close()


def test_the_alternative_port_does_the_same(platform: Platform) -> None:
    client = Wire(platform.smtp_alt_port)
    assert client.read().startswith("220 ")
    assert client.sign_in(platform).startswith("235 ")
    client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:.*TLSv1.* is deprecated")
def test_old_tls_is_refused(platform: Platform, version: ssl.TLSVersion) -> None:
    """RFC 8996."""
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Wire(platform.smtps_port, tls=context)


def test_tls_1_2_will_do(platform: Platform) -> None:
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = Wire(platform.smtps_port, tls=context)
    assert client.read().startswith("220 ")
    client.close()


# ---- In this process: the files and the loop are ours ----------------------------------------------------------------


@contextmanager
def door_with_files(tmp_path: Path, loop: str = "uvloop") -> Iterator[tuple[Door, Path, Path]]:
    made, key = self_signed(tmp_path / "first", "mail.first.test")
    files = (tmp_path / "certificate.pem", tmp_path / "key.pem")
    shutil.copy(made, files[0])
    shutil.copy(key, files[1])
    with running_door(
        Certificate(str(files[0]), str(files[1])), uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    ) as door:
        yield door, *files


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_both_loops_hear_what_comes_right_behind_the_handshake(tmp_path: Path, loop: str) -> None:
    with door_with_files(tmp_path, loop) as (door, _, _):
        for _ in range(30):
            client = Wire(door.port)
            client.read()
            client.command("EHLO x")
            client.start_tls()
            assert [reply[:3] for reply in client.commands("EHLO x", "NOOP", "RSET", "QUIT")] == [
                "250",
                "250",
                "250",
                "221",
            ]
            client.close()
            client = Wire(door.tls_port, tls=trusting())
            client.send(b"EHLO x\r\nQUIT\r\n")
            assert [client.read()[:3] for _ in range(3)] == ["220", "250", "221"]
            client.close()


def test_a_renewed_certificate_is_used_and_open_sessions_stay(tmp_path: Path) -> None:
    with door_with_files(tmp_path) as (door, certificate, key):
        old = Wire(door.tls_port, tls=trusting())
        old.read()
        renewed, renewed_key = self_signed(tmp_path / "second", "mail.second.test")
        time.sleep(1.1)

        certificate.write_text("-----BEGIN CERTIFICATE-----\nhalf a file")
        assert seen(door) == {old.certificate}  # what cannot be used is not used

        shutil.copy(renewed, certificate)
        time.sleep(1.1)
        assert seen(door) == {old.certificate}  # the key does not fit yet

        shutil.copy(renewed_key, key)
        time.sleep(1.1)
        new = {ssl.PEM_cert_to_DER_cert(renewed.read_text())}
        assert seen(door) == new
        assert old.command("NOOP").startswith("250 ")
        old.close()


def seen(door: Door) -> set[bytes]:
    """The certificates that new sessions get, by either way to TLS."""
    implicit = Wire(door.tls_port, tls=trusting())
    explicit = Wire(door.port)
    explicit.read()
    explicit.command("EHLO x")
    explicit.start_tls()
    found = {implicit.certificate, explicit.certificate}
    implicit.close()
    explicit.close()
    return found
