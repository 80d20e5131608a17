"""The embedded PostgreSQL: makes the cluster, says how to run the server, knows when it is ready.

The server listens on a Unix socket only (the wheel's build has no TLS), asks everybody for a password and runs in the
foreground, so that its parent reaps it. The application's role owns its database but is no superuser, as it would be
with a managed PostgreSQL: an injected statement cannot run programs, and nothing can come to lean on more.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plugsend.children import Program, command_line, is_alive, wait_gone
from plugsend.engines.account import make_directory
from plugsend.engines.binaries import Found, find_postgres, made_usable
from plugsend.engines.errors import EngineError
from plugsend.engines.places import Site

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

NAME = "plugsend"  # of the role and of the database
TENANT = f"{NAME}_tenant"  # which requests of tenants put on (accounts.row_security); the other may make no roles
SUPERUSER = "postgres"  # same password; for the engine's own housekeeping
BUILTIN_LOCALE_SINCE = 17

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "wal_compression": "on",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_line_prefix": "",
}
# For databases that are thrown away: nothing survives a crash of the machine.
_THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# What it says when we ask whether it is ready, and about the ordinary end of a part of it.
_HIDDEN = (
    "the database system is starting up",
    "the database system is not yet accepting connections",
    "Consistent recovery state has not been yet reached",
    'background worker "logical replication launcher"',
)


class Postgres:
    """One cluster at `site`, made on the spot if there is none. Raises EngineError."""

    def __init__(self, site: Site, password: str, *, durable: bool = True) -> None:
        self._site = site
        self._password = password
        self._durable = durable
        self._data = site.root / "postgres"
        self._binaries = made_usable(find_postgres(), site.account, site.root / "programs")
        self._refuse_other_major()
        self._end_stray_server()
        if not self._data.exists():
            self._create_cluster()

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}:{self._password}@/{NAME}?host={self._site.runtime}"

    @property
    def program(self) -> Program:
        settings = _SETTINGS | {"unix_socket_directories": str(self._site.runtime)}
        if not self._durable:
            settings |= _THROW_AWAY
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Program(
            name="postgres",
            command=[str(self._binaries.program), "-D", str(self._data), *options],
            env=_environment(),
            cwd=self._data,
            owner=self._site.account.ids if self._site.account else None,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            kill_signal=signal.SIGQUIT,  # "immediate": the next start recovers from the log
            orphan_signal=signal.SIGINT,
            hidden=_HIDDEN,
            before_start=self._end_stray_server,
        )

    def is_ready(self) -> bool:
        """Whether the server answers. Raises EngineError when it does, but refuses our password."""
        if not (self._site.runtime / ".s.PGSQL.5432").exists():
            return False
        # Loaded here, a tenth of a second that the server uses to start.
        import psycopg

        try:
            with self._connect():
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise EngineError(
                    f"The PostgreSQL in {self._data} does not know the password in secrets.env: that file belongs to "
                    "another installation. Put back the one that was made together with this data."
                ) from None
            return False

    def settle(self) -> None:
        """Makes the roles and the database if they are missing (also after a first start that was cut short)."""
        from psycopg import sql

        role, tenant = sql.Identifier(NAME), sql.Identifier(TENANT)
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [NAME]).fetchone():
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(role, sql.Literal(self._password))
                )
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [TENANT]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(tenant))
            connection.execute(sql.SQL("GRANT {} TO {}").format(tenant, role))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))

    def _connect(self) -> "Connection[TupleRow]":
        import psycopg

        return psycopg.connect(
            host=str(self._site.runtime),
            dbname="postgres",
            user=SUPERUSER,
            password=self._password,
            connect_timeout=5,
            autocommit=True,
        )

    def _refuse_other_major(self) -> None:
        marker = self._data / "PG_VERSION"
        if not marker.exists():
            return
        found, ours = marker.read_text().strip(), str(self._binaries.version[0])
        if found != ours:
            raise EngineError(
                f"The data in {self._data} was written by PostgreSQL {found}, but {self._binaries.program} is "
                f"PostgreSQL {ours} and cannot read it. Set PLUGSEND_POSTGRES_BIN to the bin directory of a "
                f"PostgreSQL {found}, start, and save the data with pg_dump; then move {self._data} away, start with "
                f"PostgreSQL {ours}, and load it with pg_restore."
            )

    def _create_cluster(self) -> None:
        """Runs initdb aside and moves the result into place, so that a half-made cluster is never taken for one."""
        unfinished = self._data.with_name("postgres.new")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        make_directory(unfinished, self._site.account, 0o700)
        with tempfile.NamedTemporaryFile("w", dir=self._site.root, prefix=".initdb-") as secret:
            secret.write(self._password + "\n")
            secret.flush()
            if self._site.account:
                os.fchown(secret.fileno(), *self._site.account.ids)
            self._initdb(unfinished, Path(secret.name))
        unfinished.rename(self._data)

    def _initdb(self, directory: Path, password_file: Path) -> None:
        account = self._site.account
        done = subprocess.run(
            [
                *(str(self._binaries.directory / "initdb"), "-D", str(directory), "-U", SUPERUSER),
                *("--encoding=UTF8", *_locale_options(self._binaries)),
                *("--auth=scram-sha-256", f"--pwfile={password_file}"),
                *(() if self._durable else ("--no-sync",)),
            ],
            env=_environment(),
            cwd=directory,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EngineError(f"initdb could not make a database in {directory}:\n{done.stdout}{done.stderr}".rstrip())

    def _end_stray_server(self) -> None:
        """Ends a server that a killed predecessor left on our data, and clears lock files that nobody holds.

        PostgreSQL takes any live process with the recorded number for the holder, in a restarted container often the
        wrong one; we hold the lock on the place and can look closer. Raises TimeoutError.
        """
        pid_file = self._data / "postmaster.pid"
        try:
            pid = abs(int(pid_file.read_text().split("\n", 1)[0]))
        except (FileNotFoundError, ValueError):
            return
        if is_alive(pid) and str(self._data) in command_line(pid):
            for number, patience_s in ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0)):
                os.kill(pid, number)
                if wait_gone([pid], patience_s):
                    break
            else:
                raise TimeoutError(f"A PostgreSQL (process {pid}) on {self._data} does not stop.")
        pid_file.unlink(missing_ok=True)
        (self._site.runtime / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _locale_options(binaries: Found) -> list[str]:
    """Without these the caller's environment would decide how texts sort."""
    if binaries.version[0] >= BUILTIN_LOCALE_SINCE:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]


def _environment() -> dict[str, str]:
    # Nothing of ours: PG* variables would steer the programs, and secrets are no business of theirs.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
