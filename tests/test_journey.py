"""The main job as a newcomer does it: sign up, verify a domain, create an SMTP user, send, see it delivered."""

import html
import os
import re
import shutil
import smtplib
import ssl
import subprocess
import uuid
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

PASSWORD = "correct horse battery"


class Visitor:
    """A person with a browser that runs no JavaScript."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._session = requests.Session()
        self.page = ""
        self.url = ""

    def open(self, path: str) -> str:
        return self._take(self._session.get(self._base + path, timeout=20))

    def submit(self, path: str, **fields: Any) -> str:
        """Fills in the form of the page at `path` and sends it."""
        self.open(path)
        return self.post(path, **fields)

    def post(self, path: str, **fields: Any) -> str:
        """Sends a form of the page that is open."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.page)
        assert token, f"no form on {self.url}"
        data = {"csrfmiddlewaretoken": token[1], **fields}
        return self._take(
            self._session.post(self._base + path, data=data, headers={"Referer": self._base + path}, timeout=20)
        )

    def _take(self, answer: requests.Response) -> str:
        assert answer.status_code == 200, f"{answer.status_code} for {answer.url}\n{answer.text[:2000]}"
        self.page, self.url = html.unescape(answer.text), answer.url.removeprefix(self._base)
        return self.page


def code_in_mail(platform: Platform, address: str) -> str:
    """The sign-up code in the mail that the platform sent, through its own path, to the sandbox's exchanger."""
    raw, dkim, _, _ = wait_for(lambda: platform.inbox(address), "the mail with the code arrives")[-1]
    assert dkim == "pass"
    parsed: EmailMessage = message_from_bytes(raw, policy=policy.default)  # type: ignore[assignment]
    body = parsed.get_body(("plain",))
    assert body is not None
    found = re.search(r"^\s*([A-Z0-9]{3,}-?[A-Z0-9]{2,})\s*$", body.get_content(), re.M)
    assert found, body.get_content()
    return found[1]


def test_from_sign_up_to_a_delivered_message(platform: Platform) -> None:
    name = f"newcomer-{uuid.uuid4().hex[:8]}"
    visitor = Visitor(platform.web_url)

    visitor.submit("/accounts/signup/", email=f"{name}@people.test", password1=PASSWORD, organization_name="Acme")
    assert visitor.url == "/accounts/confirm-email/"
    visitor.post("/accounts/confirm-email/", code=code_in_mail(platform, f"{name}@people.test"))
    assert visitor.url == "/overview/"

    visitor.submit("/domains/add/", name=f"{name}.test")
    domain_path = visitor.url
    assert re.fullmatch(r"/domains/[0-9a-f-]{36}/", domain_path)
    assert f"_plugsend.{name}.test" in visitor.page
    visitor.post(f"/sandbox{domain_path}publish/")
    wait_for(lambda: "Verified" in visitor.open(domain_path), "the domain is verified")

    visitor.submit("/smtp-users/new/", local_part="admin", domain=domain_path.split("/")[2])
    secret = re.search(r"ps_live_\w{38}", visitor.page)
    assert secret, visitor.page
    visitor.open("/smtp-users/")
    assert secret[0] not in visitor.page

    sender = f"admin@{name}.test"
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = f"Acme <{sender}>", f"ada@{name}-customer.test", "Welcome"
    message.set_content("Hello Ada.\n")
    with smtplib.SMTP("127.0.0.1", platform.smtp_port) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login(sender, secret[0])
        client.send_message(message)

    page = wait_for(lambda: "Welcome" in visitor.open("/messages/") and visitor.page, "the message is listed")
    message_path = re.search(r'href="(/messages/[0-9a-f-]{36}/)"', page)
    assert message_path
    wait_for(lambda: "Delivered" in visitor.open(message_path[1]), "its page shows that it was delivered")
    assert "Submitted" in visitor.page
    assert "250 2.0.0 Ok: queued as" in visitor.page
    assert "TLSv1.3" in visitor.page
    assert f"RCPT TO:<ada@{name}-customer.test>" in visitor.page

    arrived = platform.inbox(f"ada@{name}-customer.test")
    assert [(dkim, domain) for _, dkim, domain, _ in arrived] == [("pass", f"{name}.test")]
    assert f"ada@{name}-customer.test" in visitor.open(f"/sandbox/inbox/?to=ada@{name}-customer.test")

    # Another organization's message is not there.
    stranger = platform.send("ada@stranger.test")
    assert visitor._session.get(f"{platform.web_url}/messages/{stranger}/", timeout=20).status_code == 404


def test_an_independent_verifier_finds_the_signature_good(platform: Platform) -> None:
    if subprocess.run(["perl", "-MMail::DKIM", "-MNet::DNS", "-e1"], capture_output=True).returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("CI needs libmail-dkim-perl")
        pytest.skip("Perl's Mail::DKIM is not installed (Debian: libmail-dkim-perl)")
    message_id = platform.send("verify@example.test", subject="Grüße, signed")
    platform.wait_event(message_id, "delivered")
    raw = platform.inbox("verify@example.test")[-1][0]
    script = Path(__file__).with_name("dkim_verdict.pl")

    def verdict(message: bytes) -> str:
        command = ["perl", str(script), str(platform.state["sandbox_dns_port"])]
        return subprocess.run(command, input=message, capture_output=True, check=True).stdout.decode().strip()

    assert verdict(raw) == "pass demo.test"
    assert verdict(raw.replace(b"Hello there", b"Hello where")) == "fail demo.test"


@pytest.mark.parametrize("client", ["swaks", "curl", "curl-rest", "smtplib"])
def test_a_stock_client_sends_with_host_port_user_and_password_alone(
    platform: Platform, client: str, tmp_path: Path
) -> None:
    demo = platform.demo
    user, password, port = demo["SMTP_USER"], demo["SMTP_PASSWORD"], demo["SMTP_PORT"]
    recipient = f"{client}-{uuid.uuid4().hex[:8]}@example.test"
    mail = tmp_path / "mail"
    mail.write_bytes(f"From: {user}\r\nTo: {recipient}\r\nSubject: Hi\r\n\r\nHello\r\n".encode())
    rest = f'{{"from":"{user}","to":"{recipient}","subject":"Hi","text":"Hello"}}'
    commands = {
        "swaks": ["swaks", "--server", f"localhost:{port}", "--tls", "--auth", "PLAIN", "--auth-user", user,
                  "--auth-password", password, "--from", user, "--to", recipient, "--silent", "2"],
        "curl": ["curl", "-sSk", "--url", f"smtp://localhost:{port}", "--ssl-reqd", "--user", f"{user}:{password}",
                 "--mail-from", user, "--mail-rcpt", recipient, "-T", str(mail)],
        "curl-rest": ["curl", "-sSf", f"{demo['API_URL']}/emails", "-H", f"Authorization: Bearer {demo['API_KEY']}",
                      "-H", "Content-Type: application/json", "-d", rest],
        "smtplib": ["python3", "-c", "import smtplib, sys\nhost, port, user, password, to = sys.argv[1:]\n"
                    "with smtplib.SMTP(host, int(port)) as s:\n    s.starttls()\n    s.login(user, password)\n"
                    "    s.sendmail(user, to, f'From: {user}\\nTo: {to}\\nSubject: Hi\\n\\nHello\\n')",
                    "localhost", port, user, password, recipient],
    }  # fmt: skip
    command = commands[client]
    if not shutil.which(command[0]):
        if os.environ.get("CI"):
            pytest.fail(f"CI needs {command[0]}")
        pytest.skip(f"{command[0]} is not installed")
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    arrived = wait_for(lambda: platform.inbox(recipient), "the mail arrives")
    assert arrived[0][1] == "pass"
