"""Postfix with OpenDKIM as Debian ships them, with SASL's own password file and the milter on a Unix socket.

On a TCP socket each message would wait twice for a delayed ACK.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from benchmarks.measure import Processes
from benchmarks.systems import (
    DOMAIN,
    PASSWORD,
    SELECTOR,
    STOP_WITHIN_S,
    USER,
    CannotRun,
    Keys,
    free_port,
    program_name,
    wait_greeting,
    wait_until,
)

_MAIN = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
myhostname = mail.bench.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
relayhost = [127.0.0.1]:{sink}
alias_maps =
alias_database =
maillog_file = {root}/mail.log
maillog_file_prefixes = {root}
message_size_limit = 26214400
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_tls_auth_only = yes
smtpd_tls_security_level = may
smtpd_tls_chain_files = {root}/tls.pem
smtp_tls_security_level = may
smtpd_milters = unix:{root}/dkim.sock
milter_default_action = tempfail
"""
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""
_DKIM = """\
Syslog no
Mode s
Canonicalization relaxed/relaxed
Domain {domain}
Selector {selector}
KeyFile {root}/dkim.pem
Socket local:{root}/dkim.sock
UserID postfix
UMask 002
OversignHeaders From
InternalHosts 0.0.0.0/0
RequireSafeKeys no
"""


class Postfix:
    name = "postfix"
    password = PASSWORD

    def __init__(self, directory: Path, keys: Keys, sink_port: int) -> None:
        for program in ("postfix", "opendkim", "saslpasswd2"):
            if not shutil.which(program):
                raise CannotRun(f"{program} is not installed: run benchmarks/setup.sh.")
        self._root, self._keys = directory, keys
        self.port = free_port()
        self._log = directory / "start.log"
        self._running: list[subprocess.Popen[bytes]] = []
        self.processes = Processes(self.name, program_name)
        self._configure(sink_port)

    def start(self) -> None:
        socket = self._root / "dkim.sock"
        dkim = self._run("opendkim", "-f", "-x", str(self._root / "opendkim.conf"))
        wait_until(socket.exists, dkim, self._log)
        socket.chmod(0o666)
        postfix = self._run("postfix", "-c", str(self._root / "etc"), "start-fg")
        wait_greeting(self.port, postfix, self._log)

    def stop(self) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_WITHIN_S)
        self._running.clear()
        self.processes.close()

    def version(self) -> str:
        version = subprocess.run(
            ["postconf", "-d", "-h", "mail_version"], capture_output=True, text=True
        ).stdout.strip()
        dkim = subprocess.run(["opendkim", "-V"], capture_output=True, text=True).stdout.split("\n")[0]
        return f"Postfix {version}, {dkim.replace(' Filter v', ' ').removeprefix('opendkim: ')}"

    def dkim_record(self, name: str) -> bytes:
        return self._keys.dkim_record

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=self.processes.join, start_new_session=True
            )
        self.processes.add(process.pid)
        self._running.append(process)
        return process

    def _configure(self, sink_port: int) -> None:
        root = self._root
        for name in ("etc/sasl", "queue", "data"):
            (root / name).mkdir(parents=True)
        shutil.chown(root / "data", "postfix", "postfix")
        (root / "etc" / "main.cf").write_text(_MAIN.format(root=root, sink=sink_port))
        (root / "etc" / "master.cf").write_text(_SERVICES.format(port=self.port))
        (root / "tls.pem").write_text(self._keys.tls_key.read_text() + self._keys.certificate.read_text())
        shutil.copy(self._keys.dkim_key, root / "dkim.pem")
        shutil.chown(root / "dkim.pem", "postfix", "postfix")
        (root / "opendkim.conf").write_text(_DKIM.format(root=root, domain=DOMAIN, selector=SELECTOR))
        database = root / "sasldb"
        # Debian's build looks for it in the configuration directory, whatever cyrus_sasl_config_path says.
        (root / "etc" / "sasl" / "smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN\n"
        )
        local = USER.partition("@")[0]
        command = ["saslpasswd2", "-p", "-c", "-f", str(database), "-u", DOMAIN, local]
        subprocess.run(command, input=PASSWORD.encode(), check=True)
        shutil.chown(database, "postfix", "postfix")
        shutil.chown(root, "postfix", "postfix")  # OpenDKIM makes its socket there
