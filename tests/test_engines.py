"""The embedded engines: they start anywhere, survive being killed, and touch nothing that is not theirs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pool
from pathlib import Path

import psycopg
import pytest
import redis
from cryptography.fernet import Fernet
from redis.backoff import NoBackoff
from redis.retry import Retry

from plugsend import secrets
from plugsend.children import command_line, is_alive
from plugsend.engines import EngineError, Engines, running
from plugsend.engines.account import engine_account
from plugsend.engines.binaries import find_postgres, find_valkey, made_usable
from plugsend.engines.places import SYSTEM_ROOT, occupied

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to run the engines as")


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that every account can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="plugsend-engines-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    if (path / "engines").is_symlink():
        shutil.rmtree((path / "engines").resolve(), ignore_errors=True)
    shutil.rmtree(path)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


def query(engines: Engines, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(engines.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


# ---- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_are_the_same_for_processes_that_race(tmp_path: Path) -> None:
    with Pool(8) as pool:
        found = pool.map(secrets.load_or_create, [tmp_path / "var"] * 16)
    assert all(one == found[0] for one in found)
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secrets.env"]
    assert (tmp_path / "var/secrets.env").stat().st_mode & 0o777 == 0o600
    Fernet(found[0]["FIELD_ENCRYPTION_KEY"])


def test_a_secret_that_is_missing_is_added_and_the_others_stay(tmp_path: Path) -> None:
    before = secrets.load_or_create(tmp_path)
    path = tmp_path / "secrets.env"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("API_KEY_PEPPER=")]
    path.write_text("\n".join([*kept, "MINE=stays"]))
    after = secrets.load_or_create(tmp_path)
    assert after.pop("API_KEY_PEPPER") not in {"", before.pop("API_KEY_PEPPER")}
    assert after == before
    assert "MINE=stays" in path.read_text()


# ---- start, stop, crash ----------------------------------------------------------------------------------------------


def test_both_engines_keep_what_was_written_through_stop_and_start(home: Path) -> None:
    with running(home) as engines:
        query(engines, "CREATE TABLE kept (n int)")
        query(engines, "INSERT INTO kept VALUES (7)")
        redis.Redis.from_url(engines.redis_url).set("kept", "7")
        pids = list(engines.pids.values())
    assert not any(is_alive(pid) for pid in pids)
    with running(home) as engines:
        assert query(engines, "SELECT n FROM kept") == [(7,)]
        assert redis.Redis.from_url(engines.redis_url).get("kept") == b"7"


def test_the_application_owns_its_database_but_is_no_superuser_and_sorting_is_fixed(home: Path) -> None:
    with running(home, durable=False) as engines:
        assert query(
            engines,
            "SELECT rolsuper, rolcreatedb, datlocprovider, datlocale, pg_encoding_to_char(encoding)"
            " FROM pg_roles JOIN pg_database ON datdba = pg_roles.oid WHERE rolname = current_user",
        ) == [(False, True, "b", "C.UTF-8", "UTF8")]


def test_nobody_gets_in_without_the_password_or_over_the_network(home: Path) -> None:
    with running(home, durable=False) as engines:
        password = secrets.load_or_create(home)["POSTGRES_PASSWORD"]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(engines.database_url.replace(password, "guess"))
        path = engines.redis_url.split("@")[1].split("?")[0]
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0)).ping()
        assert query(engines, "SHOW listen_addresses") == [("",)]
        assert redis.Redis.from_url(engines.redis_url).config_get("port") == {"port": "0"}
        runtime = Path(engines.database_url.partition("host=")[2])
        assert runtime.stat().st_mode & 0o777 == 0o700
        assert len(f"{runtime}/.s.PGSQL.5432") < 104
        for pid in engines.pids.values():
            assert password not in command_line(pid)


START_AND_WAIT = """
import sys, time
from pathlib import Path
from plugsend.engines import running
with running(Path(sys.argv[1])) as engines:
    print(engines.pids["postgres"], engines.pids["valkey"], engines.database_url, flush=True)
    time.sleep(600)
"""


def start_elsewhere(home: Path) -> tuple[subprocess.Popen[str], list[int], str]:
    process = subprocess.Popen([sys.executable, "-c", START_AND_WAIT, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    postgres, valkey, url = process.stdout.readline().split()
    return process, [int(postgres), int(valkey)], url


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux'")
def test_engines_die_with_a_killed_parent_and_the_next_start_has_all_that_was_committed(home: Path) -> None:
    process, pids, url = start_elsewhere(home)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n")
        process.kill()
        process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in pids), "engines gone")
    with running(home) as engines:
        assert query(engines, "SELECT count(*) FROM kept") == [(100,)]


def test_all_killed_at_once_the_next_start_needs_no_hand(home: Path) -> None:
    process, pids, _ = start_elsewhere(home)
    for pid in (process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    with running(home) as engines:
        assert query(engines, "SELECT 1") == [(1,)]
        assert redis.Redis.from_url(engines.redis_url).ping()


def test_a_lock_file_naming_somebody_elses_process_does_not_keep_postgres_from_starting(home: Path) -> None:
    with running(home, durable=False):
        pass
    # As in a container that was restarted: the number in the file now belongs to another program, here to us.
    (home / "engines/postgres/postmaster.pid").write_text(f"{os.getpid()}\n{home}\n")
    with running(home, durable=False) as engines:
        assert query(engines, "SELECT 1") == [(1,)]


def test_a_first_start_that_was_cut_short_is_made_good(home: Path) -> None:
    secrets.load_or_create(home)
    unfinished = home / "engines/postgres.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    with running(home, durable=False) as engines:
        assert query(engines, "SELECT current_database()") == [("plugsend",)]


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_data_in_use_is_refused_not_shared(home: Path) -> None:
    with running(home, durable=False), pytest.raises(EngineError, match="in use by another PlugSend"), running(home):
        pass


def test_data_of_another_major_is_refused_with_the_way_out(home: Path) -> None:
    with running(home, durable=False):
        pass
    (home / "engines/postgres/PG_VERSION").write_text("14\n")
    with pytest.raises(EngineError, match=r"PostgreSQL 14.*pg_dump.*pg_restore"), running(home):
        pass


def test_secrets_of_another_installation_are_told_apart_from_a_slow_start(home: Path) -> None:
    with running(home, durable=False):
        pass
    (home / "secrets.env").unlink()
    with pytest.raises(EngineError, match="does not know the password"), running(home):
        pass


# ---- places and accounts ---------------------------------------------------------------------------------------------


def test_two_installations_run_side_by_side(home: Path) -> None:
    copy = home / "copy"
    with running(home, durable=False) as first:
        # A checkout that was copied with its var/ has the same INSTANCE_ID.
        copy.mkdir()
        shutil.copy(home / "secrets.env", copy)
        with running(copy, durable=False) as second:
            query(first, "CREATE TABLE of_first ()")
            assert query(second, "SELECT to_regclass('of_first')") == [(None,)]
            assert first.redis_url != second.redis_url


def test_a_planted_runtime_directory_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = home / "trap"
    trap.mkdir()
    monkeypatch.setattr(
        "plugsend.engines.places._runtime_candidates", lambda name, account: [home / "planted", home / "open"]
    )
    (home / "planted").symlink_to(trap)
    (home / "open").mkdir()
    (home / "open").chmod(0o777)
    if account := engine_account(home / "none"):
        os.chown(home / "open", *account.ids)
    with occupied(home, "0badcafe") as site:
        assert site.runtime not in {home / "planted", home / "open", trap}
        assert site.runtime.stat().st_mode & 0o777 == 0o700
    assert list(trap.iterdir()) == []


@as_root
def test_root_starts_from_a_private_home_without_opening_it(home: Path) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    var = private / "var"
    try:
        with running(var, durable=False) as engines:
            assert query(engines, "SELECT 1") == [(1,)]
            assert (var / "engines").is_symlink()
            assert (var / "engines").resolve().parent == SYSTEM_ROOT
            owner = Path(f"/proc/{engines.pids['postgres']}").stat().st_uid
            assert owner != 0
        assert private.stat().st_mode & 0o777 == 0o700
        with running(var, durable=False) as engines:
            assert query(engines, "SELECT 1") == [(1,)]
    finally:
        if (var / "engines").is_symlink():
            shutil.rmtree((var / "engines").resolve())


@as_root
def test_programs_that_the_account_cannot_read_are_copied_and_run(home: Path) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    account = engine_account(home / "none")
    for found in (find_postgres(), find_valkey()):
        assert found.base is not None
        for tree in found.trees:
            target = private / tree.relative_to(found.base)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if tree.is_dir() else shutil.copy2)(tree, target)
        trees = tuple(private / tree.relative_to(found.base) for tree in found.trees)
        hidden = type(found)(private / found.program.relative_to(found.base), found.version, private, trees)
        usable = made_usable(hidden, account, home / "programs")
        assert usable.program.is_relative_to(home / "programs")
        assert made_usable(hidden, account, home / "programs") == usable
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")), reason="no system PostgreSQL")
def test_a_system_postgresql_serves_when_it_is_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = next(Path("/usr/lib/postgresql").glob("*/bin/postgres")).parent
    monkeypatch.setenv("PLUGSEND_POSTGRES_BIN", str(directory))
    with running(home, durable=False) as engines:
        version = query(engines, "SHOW server_version")[0][0]
        assert str(version).split(".")[0] == directory.parent.name


def test_a_setting_that_leads_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUGSEND_VALKEY_BIN", "/nowhere/valkey-server")
    with pytest.raises(EngineError, match="PLUGSEND_VALKEY_BIN is set, but there is no file /nowhere"):
        find_valkey()


def test_sockets_are_gone_after_a_stop(home: Path) -> None:
    with running(home, durable=False) as engines:
        path = engines.redis_url.split("@")[1].split("?")[0]
    with socket.socket(socket.AF_UNIX) as connection, pytest.raises(FileNotFoundError):
        connection.connect(path)
    assert not Path(path).parent.exists()
