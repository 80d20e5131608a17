"""The code on the pages of the documentation is run as it stands there, and its mail arrives.

`code_runners.py` says by what each language is run. Blocks that need each other (settings and what uses them), or what only a
test can give them, are run as `TOGETHER` says. What else a page marks with `norun` changes the machine or serves.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from email import message_from_bytes, policy
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from accounts.files import read_settings
from plugsend.documentation.code import PASSWORD, Values
from plugsend.documentation.pages import Block, pages
from tests import code_runners
from tests.code_runners import Bench, new_bench, side_by_side
from tests.foreign_clients import NODE_MODULES, need_npm
from tests.platform import REPO, Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

PROSE = {"", "text", "json", "http", "ini", "properties", "liquid"}  # run only where `TOGETHER` says so
ELSEWHERE = {"webhooks-1", "webhooks-2"}  # receivers: test_webhooks_running.py


@dataclass(frozen=True, slots=True)
class Code:
    slug: str
    number: int
    block: Block

    @property
    def is_run(self) -> bool:
        if str(self) in TOGETHER:
            return True
        return self.block.language not in PROSE and "norun" not in self.block.words and str(self) not in ELSEWHERE

    def __str__(self) -> str:
        return self.block.snippet or f"{self.slug}-{self.number}"


class Desk:
    """Fills code with what the demo organization has, runs it, and waits for what it sends, to addresses of its own."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    @cached_property
    def smtp_user(self) -> dict[str, str]:
        """Whose name has to be quoted well in each language."""
        return self.ask("/smtp-users", address=f"o'{uuid4().hex[:12]}@demo.test")

    def ask(self, path: str, **body: Any) -> Any:
        demo = self.platform.demo
        key = {"Authorization": f"Bearer {demo['API_KEY']}"}
        answer = requests.post(f"{demo['API_URL']}{path}", json=body, headers=key, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def bench(self, **more: str) -> Bench:
        """The key is the SMTP user's, and good for REST, too."""
        return new_bench(self.platform, self.platform.demo | {"PLUGSEND_API_KEY": self.smtp_user["password"]} | more)

    def text(self, code: Code) -> str:
        demo = self.platform.demo
        user, password = demo["SMTP_USER"], demo["SMTP_PASSWORD"]
        if code.block.snippet:
            user, password = self.smtp_user["address"], self.smtp_user["password"]
        values = Values(
            user=user,
            host=demo["SMTP_HOST"],
            port=int(demo["SMTP_PORT"]),
            url=demo["WEB_URL"],
            recipient="hello@example.test",
            sandbox=True,
        )
        text = code.block.code(values).replace(PASSWORD, password)
        mark = uuid4().hex[:12]
        text = re.sub(r"\b(\w+)@example\.(?:com|test)", rf"\1.{mark}@example.test", text)
        return re.sub(r"(order-42|newsletter-7)/", rf"{mark}/", text)

    def run(self, code: Code) -> None:
        if together := TOGETHER.get(str(code)):
            together(self)
            return
        runner = code_runners.BY_SNIPPET.get(code.block.snippet) or code_runners.BY_LANGUAGE[code.block.language]
        text = self.text(code)
        if "continues" in code.block.words:
            text = f"{self.text(first(code.slug, code.block.language))}\n{text}"
        said = runner(self.bench(), text)
        if code.block.language == "sh" and "$API_URL" in text:
            assert '"id"' in said or '"object"' in said
            assert said.lower().count("idempotent-replayed: true") == text.count("for attempt in 1 2")
        if ("MailKit" not in text or said) and code.slug != "moving/postmark":
            self.arrives(text)

    def arrives(self, text: str) -> None:
        """To the first that is written to, if anybody is; what waits for its time does not arrive."""
        address = re.search(r"[\w.]+@example\.test", text)
        if not address or "scheduled_at" in text:
            return
        raw, dkim, domain, _ = wait_for(lambda: self.platform.inbox(address[0]), f"mail to {address[0]} arrives")[-1]
        assert (dkim, domain) == ("pass", "demo.test")
        assert "hello." not in address[0] or b"\r\nSubject: Hello\r\n" in raw
        assert "Sent through PlugSend." not in text or b"Sent through PlugSend." in raw


ALL = [Code(slug, number, block) for slug, page in pages().items() for number, block in enumerate(page.blocks)]


def first(slug: str, language: str) -> Code:
    return next(code for code in ALL if (code.slug, code.block.language) == (slug, language))


def named(name: str) -> Code:
    return next(code for code in ALL if str(code) == name)


def address() -> str:
    return f"hello.{uuid4().hex[:12]}@example.test"


# ---- Blocks that need each other, or what only a test can give them -----------------------------------------------------


def django(desk: Desk) -> None:
    settings, *others = [
        desk.text(code) for code in ALL if (code.slug, code.block.language) == ("quickstarts/django", "python")
    ]
    code_runners.django(desk.bench(), settings, "\n".join(others), certificate(desk))
    for text in others:
        desk.arrives(text)


def anymail(desk: Desk) -> None:
    to = address()
    settings = desk.text(named("resend-0"))
    start = f"from django.core.mail import EmailMessage\nmessage = EmailMessage('Hello', 'Hi', 'admin@demo.test', ['{to}'])\n"
    code_runners.django(desk.bench(), settings, f"{start}{desk.text(named('resend-1'))}\nmessage.send()\n")
    desk.arrives(to)


def certificate(desk: Desk) -> str:
    return str(next((desk.platform.var / "tls").glob("*.crt")))


def wordpress(desk: Desk) -> None:
    bench, to = desk.bench(), address()
    plugin = Block("php", "", snippet="wordpress-sandbox").code(Values(sandbox=True))
    code_runners.wordpress(bench, desk.text(named("wordpress")), plugin, to)
    desk.arrives(to)


def laravel(desk: Desk) -> None:
    """The mailable's header fields are PlugSend's own: they do not arrive."""
    bench, to = desk.bench(), address()
    mailable = desk.text(first("quickstarts/laravel", "php"))
    order = uuid4().hex
    code_runners.laravel(bench, desk.text(named("laravel")), mailable, to, order, Path(certificate(desk)))
    desk.arrives(to)
    assert b"X-PlugSend" not in desk.platform.inbox(to)[0][0]


def rails(desk: Desk) -> None:
    bench, to = desk.bench(), address()
    code_runners.rails(bench, desk.text(named("rails")), to)
    desk.arrives(to)


def spring(desk: Desk) -> None:
    bench, to = desk.bench(), address()
    service = next(code for code in ALL if "@Service" in code.block.text)
    code_runners.spring(bench, desk.text(named("spring")), desk.text(service), to)
    desk.arrives(to)


def postfix(desk: Desk) -> None:
    """What the machine's root sends goes out in a name that may send."""
    to = address()
    settings, senders = [desk.text(code) for code in ALL if code.slug == "quickstarts/postfix"]
    code_runners.postfix(desk.bench(), settings, senders, "root@mail.shop.test", to)
    desk.arrives(to)


def rescheduled(desk: Desk) -> None:
    email = desk.ask(
        "/emails",
        to="ada@example.test",
        subject="Later",
        text="Hi",
        scheduled_at="in 2 hours",
        **{"from": "admin@demo.test"},
    )
    assert email["id"] in code_runners.shell(desk.bench(ID=email["id"]), desk.text(named("queue-0")))


def rotated(desk: Desk) -> None:
    key = desk.ask("/api-keys", name="To be rotated", scopes=["send"])
    assert '"token"' in code_runners.shell(desk.bench(ID=key["id"]), desk.text(named("api-keys-0")))


def repeating(name: str) -> Callable[[Desk], None]:
    """The first answer gets lost, the second says to wait; the third is the first one's, and one mail arrives."""

    def run(desk: Desk) -> None:
        text, upstream = desk.text(named(name)), desk.platform.demo["WEB_URL"]
        asked: list[str | None] = []

        class Between(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(self.headers["Idempotency-Key"])
                if len(asked) == 2:
                    self.tell(429, b"{}", ("Retry-After", "1"))
                    return
                sent = {field: self.headers[field] for field in ("Authorization", "Content-Type", "Idempotency-Key")}
                answer = requests.post(upstream + self.path, data=body, headers=sent, timeout=30)
                if len(asked) > 2:
                    self.tell(answer.status_code, answer.content)
                else:
                    self.connection.shutdown(socket.SHUT_RDWR)

            def tell(self, status: int, body: bytes, *fields: tuple[str, str]) -> None:
                self.send_response(status)
                for field in (*fields, ("Content-Length", str(len(body)))):
                    self.send_header(*field)
                self.end_headers()
                self.wfile.write(body)

        with ThreadingHTTPServer(("127.0.0.1", 0), Between) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            runner = code_runners.BY_LANGUAGE[named(name).block.language]
            said = runner(desk.bench(), text.replace(upstream, f"http://127.0.0.1:{server.server_port}")).strip()
            server.shutdown()
        assert len(asked) == 3
        assert len(set(asked)) == 1
        desk.arrives(text)
        to = re.search(r"[\w.]+@example\.test", text)
        assert to
        assert re.fullmatch(r"[0-9a-f-]{36}", said)
        assert len(desk.platform.inbox(to[0])) == 1

    return run


def key_is_found(desk: Desk) -> None:
    """By the pattern, and by the program that knows the checksum."""
    secret = desk.platform.demo["API_KEY"]
    assert re.findall(desk.text(named("api-keys-1")), f"key={secret};") == [secret]
    found: dict[str, Any] = {}
    exec(desk.text(named("api-keys-2")), found)
    assert found["find_keys"](f"key={secret}; {secret[:-1]}!; ps_live_{'0' * 38}") == [secret]


def template(desk: Desk) -> None:
    """By REST, then by SMTP with the header fields of the page."""
    making = desk.text(named("templates-0"))
    code_runners.shell(desk.bench(), making)
    desk.arrives(making)
    to = address().replace("hello", "ada")
    fields = [word for line in desk.text(named("templates-1")).splitlines() for word in ("--header", line)]
    sending = code_runners.shell
    command = (
        'swaks --server "$SMTP_HOST:$SMTP_PORT" --tls --auth PLAIN --auth-user "$SMTP_USER" --auth-password "$SMTP_PASSWORD" '
        f'--from "$SMTP_USER" --to {to} {shlex.join(fields)}'
    )
    sending(desk.bench(), command)
    desk.arrives(to)
    for arrived in (making, to):
        found = re.search(r"[\w.]+@example\.test", arrived)
        assert found
        assert message_from_bytes(desk.platform.inbox(found[0])[0][0], policy=policy.default)["Subject"] == "Order 42"


def zone_is_asked(desk: Desk) -> None:
    text = desk.text(named("sandbox-dns-0")).replace("acme.test", "demo.test")
    bench = desk.bench(**read_settings(desk.platform.var / "up.env"))
    said = code_runners.shell(bench, text)
    assert said.count("plugsend-verification=") == 2, said


def suppression_list(desk: Desk) -> None:
    """`aws` is stood in for by what its manual says that it prints for this query."""
    bench = desk.bench()
    bench.write("bin/aws", "#!/bin/sh\nprintf 'gone@example.net\\tBOUNCE\\nangry@example.net\\tCOMPLAINT\\n'")
    (bench.folder / "bin" / "aws").chmod(0o755)
    code_runners.shell(bench, f'PATH="{bench.folder}/bin:$PATH"\n{desk.text(named("moving/ses-0"))}')
    lines = (bench.folder / "list.csv").read_text().splitlines()
    assert lines == ["email,reason", "gone@example.net,no_such_address", "angry@example.net,complaint"]


def settings_are_known(desk: Desk) -> None:
    known = set(re.findall(r"^#([A-Z_]+)=", (REPO / ".env.example").read_text(), re.M))
    assert {line.partition("=")[0] for line in named("self-hosting-1").block.text.splitlines()} <= known


def acts_exist(desk: Desk) -> None:
    paths = requests.get(f"{desk.platform.demo['API_URL']}/openapi.json", timeout=30).json()["paths"]
    for method, path in re.findall(r"(POST) (\S+)", named("queue-1").block.text):
        assert method.lower() in paths[path.replace("<id>", "{message_id}")]


def shell_knows_the_key(desk: Desk) -> None:
    sending = desk.text(named("rest-1"))
    code_runners.shell(desk.bench(API_URL="", API_KEY=""), f"{desk.text(named('rest-0'))}\n{sending}")
    desk.arrives(sending)


def resends_sdks_know_where_to_send(desk: Desk) -> None:
    """Told by what the page exports, and nothing else."""
    told, python, node = desk.text(named("moving/resend-0")), address(), address()
    email = {"from": desk.platform.demo["SMTP_USER"], "subject": "Hello", "text": "Hi"}
    need_npm("resend")
    bench = desk.bench(
        IN_PYTHON=f"import resend; resend.Emails.send({email | {'to': python}})",
        IN_NODE=f"new (require('resend').Resend)().emails.send({json.dumps(email | {'to': node})})",
        NODE_PATH=str(NODE_MODULES),
    )
    code_runners.shell(bench, f'{told}\n{sys.executable} -c "$IN_PYTHON"\nnode -e "$IN_NODE"')
    desk.arrives(python)
    desk.arrives(node)


def backup(desk: Desk) -> None:
    bench = desk.bench()
    made = bench.folder / "plugsend.dump"
    text = desk.text(named("self-hosting-2")).replace(". var/up.env", f". {desk.platform.var}/up.env")
    bench.run("bash", "-euc", text.replace("plugsend.dump", str(made)), cwd=REPO)
    assert made.read_bytes().startswith(b"PGDMP")


TOGETHER: dict[str, Callable[[Desk], None]] = {
    "idempotency-1": repeating("idempotency-1"),
    "idempotency-2": repeating("idempotency-2"),
    "rest-0": shell_knows_the_key,
    "moving/resend-0": resends_sdks_know_where_to_send,
    "django": django,
    "wordpress": wordpress,
    "laravel": laravel,
    "rails": rails,
    "spring": spring,
    "postfix": postfix,
    "queue-0": rescheduled,
    "queue-1": acts_exist,
    "api-keys-0": rotated,
    "api-keys-1": key_is_found,
    "templates-0": template,
    "sandbox-dns-0": zone_is_asked,
    "moving/ses-0": suppression_list,
    "self-hosting-1": settings_are_known,
    "self-hosting-2": backup,
    "resend-0": anymail,
}
# Part of another's run.
PARTS = {
    "quickstarts/django-1",
    "quickstarts/django-2",
    "quickstarts/laravel-1",
    "quickstarts/java-3",
    "quickstarts/postfix-1",
    "api-keys-2",
    "resend-1",
}
RUN = list({str(code): code for code in ALL if code.is_run and str(code) not in PARTS}.values())


@pytest.fixture(scope="module")
def runs(platform: Platform, request: pytest.FixtureRequest) -> Iterator[dict[Code, Future[None]]]:
    desk = Desk(platform)
    assert desk.smtp_user
    with side_by_side(request, "test_code", "code", desk.run) as running:
        yield running


@pytest.mark.parametrize("code", RUN, ids=str)
def test_code(runs: dict[Code, Future[None]], code: Code) -> None:
    runs[code].result()


def test_every_block_is_run_or_says_why_not() -> None:
    assert {code.block.language for code in ALL} <= PROSE | set(code_runners.BY_LANGUAGE)
    assert set(TOGETHER) | set(code_runners.BY_SNIPPET) | PARTS | ELSEWHERE <= {str(code) for code in ALL}
    not_run = {str(code) for code in ALL if "norun" in code.block.words and str(code) not in TOGETHER}
    assert not_run == {"self-hosting-0"} | {
        "domain-connect-0",
        "returns-0",
        "platform-dns-0",
        "sandbox-dns-1",
    }  # test_docs.py


def test_the_problem_document(platform: Platform) -> None:
    [shown] = [json.loads(block.text) for block in pages()["rest"].blocks if block.language == "json"]
    answer = requests.post(
        f"{platform.demo['API_URL']}/emails",
        json={"from": "admin@demo.test", "to": "ada@example.test", "subject": "Hi", "text": "Hi", "subjekt": "Hi"},
        headers={"Authorization": f"Bearer {platform.demo['API_KEY']}"},
        timeout=30,
    )
    told = answer.json()
    assert set(told) == set(shown)
    same = set(shown) - {"type", "instance"}
    assert {name: told[name] for name in same} == {name: shown[name] for name in same}
