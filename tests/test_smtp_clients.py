"""Foreign programs send through the door as they are: msmtp, nodemailer and Django's own backend.

swaks, curl and smtplib do in `test_journey`.
"""

import os
import shutil
import ssl
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend

from tests.foreign_clients import NODE_MODULES, need, need_npm
from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

CERTIFICATE = "tls/mail.plugsend.test.crt"


def arrived(platform: Platform, recipient: str) -> bytes:
    raw, dkim, _, _ = wait_for(lambda: platform.inbox(recipient), "the mail arrives")[0]
    assert dkim == "pass"
    return raw


def certificate(platform: Platform) -> Path:
    return platform.var / CERTIFICATE


@pytest.mark.parametrize("starttls", ["on", "off"])
def test_msmtp(platform: Platform, tmp_path: Path, starttls: str) -> None:
    need(shutil.which("msmtp"), "msmtp")
    port = platform.smtp_port if starttls == "on" else platform.smtps_port
    recipient = f"{uuid4().hex}@msmtp.test"
    configuration = tmp_path / "msmtprc"
    configuration.write_text(
        f"account default\nhost localhost\nport {port}\nfrom admin@demo.test\nauth on\nuser {platform.demo['SMTP_USER']}\n"
        f"password {platform.demo['SMTP_PASSWORD']}\ntls on\ntls_starttls {starttls}\n"
        f"tls_trust_file {certificate(platform)}\n"
    )
    configuration.chmod(0o600)
    message = f"From: admin@demo.test\nTo: {recipient}\nSubject: From msmtp\n\n.A dot\nand grüße\n"
    sent = subprocess.run(
        ["msmtp", "-C", str(configuration), recipient], input=message.encode(), capture_output=True, timeout=30
    )
    assert sent.returncode == 0, sent.stderr
    assert arrived(platform, recipient).endswith("\r\n\r\n.A dot\r\nand grüße\r\n".encode())


NODEMAILER = """
const nodemailer = require('nodemailer');
const [port, secure, user, pass, to] = process.argv.slice(1);
const transport = nodemailer.createTransport({
  host: '127.0.0.1', port: +port, secure: secure === 'true', requireTLS: true, pool: true, maxConnections: 2,
  auth: {user, pass}, tls: {rejectUnauthorized: false},
});
const send = n => transport.sendMail({
  from: '"Jürgen" <admin@demo.test>', to, subject: 'Nummer ' + n + ' ü', text: '.dots\\n..more\\n'.repeat(50),
  html: '<p>' + 'x '.repeat(2000) + '</p>', attachments: [{filename: 'a.bin', content: Buffer.alloc(300000, n)}],
});
Promise.all([1, 2, 3].map(send)).then(
  sent => { console.log(sent.map(s => s.response).join('\\n')); transport.close(); },
  error => { console.error(error); process.exit(1); });
"""


@pytest.mark.parametrize("secure", [False, True])
def test_nodemailer(platform: Platform, secure: bool) -> None:
    need_npm("nodemailer")
    port = platform.smtps_port if secure else platform.smtp_port
    recipient = f"{uuid4().hex}@node.test"
    words = [str(port), str(secure).lower(), platform.demo["SMTP_USER"], platform.demo["SMTP_PASSWORD"], recipient]
    sent = subprocess.run(
        ["node", "-e", NODEMAILER, *words],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.count("250 2.0.0 Ok: queued as ") == 3
    wait_for(lambda: len(platform.inbox(recipient)) == 3, "all three arrive")
    assert b"a.bin" in arrived(platform, recipient)


@pytest.mark.parametrize("implicit", [False, True])
def test_django(platform: Platform, monkeypatch: pytest.MonkeyPatch, implicit: bool) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: ssl._create_unverified_context())
    backend = EmailBackend(
        host="127.0.0.1",
        port=platform.smtps_port if implicit else platform.smtp_port,
        username=platform.demo["SMTP_USER"],
        password=platform.demo["SMTP_PASSWORD"],
        use_tls=not implicit,
        use_ssl=implicit,
    )
    recipient = f"{uuid4().hex}@django.test"
    messages = []
    for number in range(3):
        message = EmailMultiAlternatives(f"Nummer {number} ü", "Grüße\n.\n", "Jürgen <admin@demo.test>", [recipient])
        message.attach_alternative("<p>Grüße</p>", "text/html")
        messages.append(message)
    assert backend.send_messages(messages) == 3
    wait_for(lambda: len(platform.inbox(recipient)) == 3, "all three arrive")
    assert b"multipart/alternative" in arrived(platform, recipient)
