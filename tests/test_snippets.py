"""The ready settings of an SMTP user's page, as they stand there, run with the real programs against a running PlugSend."""

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from django.template.loader import render_to_string

from plugsend.templatetags import ui
from tests.foreign_clients import NODE_MODULES
from tests.platform import Platform, wait_for
from tests.test_journey import Visitor

pytestmark = pytest.mark.xdist_group("platform")

RECIPIENT = "hello@example.test"
DEBIAN_PHP, DEBIAN_JARS = Path("/usr/share/php"), Path("/usr/share/java")


@dataclass(frozen=True)
class Snippet:
    label: str
    text: str
    note: str  # what stands below it


@dataclass(frozen=True)
class Snippets:
    """By the title of the tab."""

    tabs: dict[str, list[Snippet]]
    to: str

    def of(self, tab: str, number: int = 0) -> str:
        return self.tabs[tab][number].text.replace(RECIPIENT, self.to)


def read_snippets(page: str, to: str) -> Snippets:
    """`page`: HTML, as the browser gets it."""
    tabs: dict[str, list[Snippet]] = {}
    for section in re.findall(r'<section[^>]*><h3 class="tab-title">.*?</section>', page, re.S):
        [title] = re.findall(r'class="tab-title">(.*?)</h3>', section)
        found = re.findall(r'code-label">(.*?)</span>.*?<pre[^>]*>(.*?)</pre>', section, re.S)
        note = html.unescape(re.sub(r"<[^>]+>", "", section.rpartition("</pre>")[2]))
        tabs[html.unescape(title)] = [Snippet(html.unescape(label), html.unescape(text), note) for label, text in found]
    return Snippets(tabs, to)


@pytest.fixture(scope="module")
def page(platform: Platform) -> str:
    """Of an SMTP user just made: with its password in all the places where it belongs."""
    demo = platform.demo
    visitor = Visitor(platform.web_url)
    visitor.submit("/accounts/login/", login=demo["LOGIN_EMAIL"], password=demo["LOGIN_PASSWORD"])
    visitor.open("/smtp-users/new/")
    domain = re.search(r'<option value="([0-9a-f-]{36})"[^>]*>@demo.test', visitor.page)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', visitor.page)
    assert domain
    assert token
    answer = visitor._session.post(
        f"{platform.web_url}/smtp-users/new/",
        data={"csrfmiddlewaretoken": token[1], "local_part": f"o'{uuid4().hex}", "domain": domain[1]},
        headers={"Referer": platform.web_url},
        timeout=20,
    )
    assert "shown only this once" in answer.text, answer.text
    return answer.text


@pytest.fixture
def snippets(page: str) -> Snippets:
    return read_snippets(page, f"{uuid4().hex}@example.test")


@pytest.fixture
def arrives(platform: Platform, snippets: Snippets) -> Callable[[], None]:
    def check() -> None:
        raw, dkim, domain, _ = wait_for(lambda: platform.inbox(snippets.to), "the mail arrives")[0]
        assert (dkim, domain) == ("pass", "demo.test")
        assert b"Subject: Hello\r\n" in raw
        assert b"Sent through PlugSend." in raw

    return check


def need(*found: object, what: str) -> None:
    if not all(found):
        pytest.skip(f"{what} is not installed")


def run(*command: object, folder: Path, timeout: int = 120, **environment: str) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_tab_is_there_and_none_is_empty(snippets: Snippets) -> None:
    assert list(snippets.tabs) == [
        "swaks", "curl", "REST", "Python", "Django", "Node", "PHP", "WordPress", "Ruby", "Go", "Java", "C#", "Postfix",
    ]  # fmt: skip
    for tab in snippets.tabs.values():
        assert tab
        assert all(len(snippet.text.splitlines()) > 3 for snippet in tab)
        assert not any("{" in snippet.text and "{%" in snippet.text for snippet in tab)


@pytest.mark.parametrize(("tab", "program"), [("swaks", "swaks"), ("curl", "curl"), ("REST", "curl")])
def test_shell(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path, tab: str, program: str) -> None:
    need(shutil.which(program), what=program)
    said = run("sh", "-ec", snippets.of(tab), folder=tmp_path)
    assert tab != "REST" or '"id"' in said
    arrives()


def test_python(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    run(sys.executable, "-c", snippets.of("Python"), folder=tmp_path)
    arrives()


def test_django(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(snippets.of("Django"))
    certificate = re.search(r"SSL_CERT_FILE=(\S+)", snippets.tabs["Django"][0].note)
    assert certificate
    program = f"""
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
from django.core.mail import send_mail
send_mail("Hello", "Sent through PlugSend.", None, ["{snippets.to}"])
"""
    run(sys.executable, "-c", program, folder=tmp_path, SSL_CERT_FILE=certificate[1], PYTHONPATH=str(tmp_path))
    arrives()


def test_node(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    need(shutil.which("node"), (NODE_MODULES / "nodemailer").is_dir(), what="node with nodemailer (see .ci/run)")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    (tmp_path / "send.mjs").write_text(snippets.of("Node"))
    run("node", "send.mjs", folder=tmp_path)
    arrives()


def php_folder(place: Path, *libraries: str) -> Path:
    """As composer would have made it, of Debian's packages."""
    need(shutil.which("php"), what="php")
    found = [DEBIAN_PHP / library for library in libraries]
    need(*(path.exists() for path in found), what="the PHP library " + libraries[0])
    (place / "vendor").mkdir()
    (place / "vendor" / "autoload.php").write_text("<?php\n" + "".join(f"require '{path}';\n" for path in found))
    return place


PHPMAILER = tuple(f"libphp-phpmailer/src/{part}.php" for part in ("Exception", "PHPMailer", "SMTP"))


def test_phpmailer(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    folder = php_folder(tmp_path, *PHPMAILER)
    (folder / "send.php").write_text(snippets.of("PHP"))
    run("php", "send.php", folder=folder)
    arrives()


def test_symfony(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    folder = php_folder(tmp_path, "Symfony/Component/Mailer/autoload.php")
    (folder / "send.php").write_text(snippets.of("PHP", 1))
    run("php", "send.php", folder=folder)
    arrives()


# What the plugin WP Mail SMTP does with its constants, and WordPress with a filter.
WORDPRESS = """<?php
require 'vendor/autoload.php';
$filters = [];
function add_filter($name, $do) { global $filters; $filters[$name] = $do; }
require 'wp-config.php';
require 'mu-plugin.php';
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
assert(WPMS_ON && WPMS_MAIL_FROM_FORCE);
$mail->Mailer = WPMS_MAILER;
$mail->Host = WPMS_SMTP_HOST;
$mail->Port = WPMS_SMTP_PORT;
$mail->SMTPSecure = WPMS_SSL;
$mail->SMTPAuth = WPMS_SMTP_AUTH;
$mail->Username = WPMS_SMTP_USER;
$mail->Password = WPMS_SMTP_PASS;
$mail->setFrom(WPMS_MAIL_FROM);
$mail = $filters['wp_mail_smtp_custom_options']($mail);
$mail->addAddress($argv[1]);
$mail->Subject = 'Hello';
$mail->Body = 'Sent through PlugSend.';
$mail->send();
"""


def test_wordpress(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    folder = php_folder(tmp_path, *PHPMAILER)
    (folder / "wp-config.php").write_text("<?php\n" + snippets.of("WordPress"))
    (folder / "mu-plugin.php").write_text(snippets.of("WordPress", 1))
    (folder / "send.php").write_text(WORDPRESS)
    run("php", "send.php", snippets.to, folder=folder)
    arrives()


def has_ruby(library: str) -> bool:
    return bool(shutil.which("ruby")) and subprocess.run(["ruby", "-r", library, "-e", "1"]).returncode == 0


def test_ruby(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    need(has_ruby("mail"), what="ruby with the gem mail")
    (tmp_path / "send.rb").write_text(snippets.of("Ruby"))
    run("ruby", "send.rb", folder=tmp_path)
    arrives()


RAILS = """
require 'ostruct'
require 'action_mailer'
config = OpenStruct.new(action_mailer: OpenStruct.new)
eval(File.read('production.rb'))
ActionMailer::Base.delivery_method = config.action_mailer.delivery_method
ActionMailer::Base.smtp_settings = config.action_mailer.smtp_settings
ActionMailer::Base.default(config.action_mailer.default_options)
class Greeting < ActionMailer::Base
  def hello(to) = mail(to: to, subject: 'Hello', body: 'Sent through PlugSend.')
end
Greeting.hello(ARGV[0]).deliver_now
"""


def test_rails(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    need(has_ruby("action_mailer"), what="ruby with Rails' action_mailer")
    (tmp_path / "production.rb").write_text(snippets.of("Ruby", 1))
    (tmp_path / "send.rb").write_text(RAILS)
    run("ruby", "send.rb", snippets.to, folder=tmp_path)
    arrives()


def test_go(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    need(shutil.which("go"), what="go")
    (tmp_path / "send.go").write_text(snippets.of("Go") + "\n")
    assert not run("gofmt", "-l", "send.go", folder=tmp_path)
    run("go", "run", "send.go", folder=tmp_path, timeout=300, GOCACHE=str(tmp_path / "cache"), GOFLAGS="-mod=mod")
    arrives()


def test_java(snippets: Snippets, arrives: Callable[[], None], tmp_path: Path) -> None:
    jars = [DEBIAN_JARS / "jakarta-mail.jar", DEBIAN_JARS / "jakarta-activation.jar"]
    need(shutil.which("javac"), *(jar.exists() for jar in jars), what="Java with Jakarta Mail")
    (tmp_path / "Send.java").write_text(snippets.of("Java"))
    run("java", "-cp", os.pathsep.join(map(str, jars)), "Send.java", folder=tmp_path)
    arrives()


POSTFIX = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
myhostname = mail.shop.test
mydestination =
inet_interfaces = loopback-only
mynetworks =
alias_maps =
alias_database =
maillog_file = {root}/mail.log
maillog_file_prefixes = {root}
"""
POSTFIX_SERVICES = """\
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
"""


def test_postfix(platform: Platform, snippets: Snippets, arrives: Callable[[], None]) -> None:
    postfix = shutil.which("postfix", path="/usr/sbin:" + os.environ["PATH"])
    need(postfix, list(Path("/usr/lib").glob("*/sasl2/libplain.so")), what="postfix with libsasl2-modules")
    if os.geteuid() != 0:
        pytest.skip("postfix is started by root alone")
    root = platform.var.parent / f"postfix-{uuid4().hex[:8]}"  # where its own account may pass
    for name in ("etc", "queue", "data"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    shutil.chown(root / "data", "postfix")
    etc = root / "etc"
    (etc / "main.cf").write_text(POSTFIX.format(root=root))
    (etc / "master.cf").write_text(POSTFIX_SERVICES)
    settings = snippets.of("Postfix").replace("/etc/postfix", str(etc)).replace("postconf ", f"postconf -c {etc} ")
    path = f"/usr/sbin:{os.environ['PATH']}"
    sender = re.search(r"(\S+@demo\.test)", snippets.tabs["Python"][0].text)
    assert sender
    try:
        run("sh", "-ec", settings.replace("postfix reload", f"postfix -c {etc} start"), folder=root, PATH=path)
        message = f"From: {sender[1]}\nTo: {snippets.to}\nSubject: Hello\n\nSent through PlugSend.\n".replace('"', "")
        subprocess.run(
            ["/usr/sbin/sendmail", "-C", str(etc), "-f", sender[1].strip('"'), snippets.to],
            input=message.encode(),
            check=True,
            timeout=30,
        )
        arrives()
        assert oct((etc / "sasl_passwd").stat().st_mode & 0o777) == "0o600"
    finally:
        subprocess.run([str(postfix), "-c", str(etc), "stop"], capture_output=True, timeout=60)


# ---- Where nothing is self-signed ------------------------------------------------------------------------------------


def test_outside_the_sandbox_every_client_checks_the_certificate() -> None:
    context = {
        "user": "admin@acme.example",
        "password": "ps_live_x",
        "smtp_host": "mail.plugsend.example",
        "smtp_port": 587,
        "web_url": "https://plugsend.example",
        "example_recipient": "you@example.com",
        "sandbox": False,
    }
    page = render_to_string("components/snippets.html", context)
    assert len(read_snippets(page, RECIPIENT).tabs) == 13
    lowered = page.lower()
    for word in (
        "insecure",
        "verify_peer",
        "self-signed",
        "'none'",
        "rejectunauthorized",
        "ssl.trust",
        ".test",
        "callback",
    ):
        assert word not in lowered


@pytest.mark.parametrize(
    ("text", "in_shell", "in_code", "in_single"),
    [
        ("admin@acme.test", "admin@acme.test", '"admin@acme.test"', "'admin@acme.test'"),
        ("o'neil@acme.test", "'o'\"'\"'neil@acme.test'", '"o\'neil@acme.test"', r"'o\'neil@acme.test'"),
        ("a$b#{c}@acme.test", "'a$b#{c}@acme.test'", '"a$b#{c}@acme.test"', "'a$b#{c}@acme.test'"),
    ],
)
def test_a_name_stands_in_code_as_a_string(text: str, in_shell: str, in_code: str, in_single: str) -> None:
    assert (ui.sh(text), ui.quoted(text), ui.single_quoted(text)) == (in_shell, in_code, in_single)
