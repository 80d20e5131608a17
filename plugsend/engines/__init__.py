"""PostgreSQL and Valkey as part of the program: found in wheels, run as our children, no set-up by anybody.

`running` is for whoever wants both for a while (tests, scripts); `plugsend.up` runs them under its supervisor instead.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from plugsend import secrets
from plugsend.children import Process, Program, describe_exit, end, spawn
from plugsend.engines.errors import EngineError
from plugsend.engines.places import Site, occupied
from plugsend.engines.postgres import Postgres
from plugsend.engines.valkey import Valkey

__all__ = ["Engine", "EngineError", "Engines", "Postgres", "Site", "Valkey", "occupied", "running", "scratch"]

READY_WITHIN_S = 60.0  # recovery after a crash replays the log


class Engine(Protocol):
    @property
    def url(self) -> str: ...

    @property
    def program(self) -> Program: ...

    def is_ready(self) -> bool: ...

    def settle(self) -> None:
        """What is to be done once, after the server has become ready."""


@dataclass(frozen=True)
class Engines:
    """Both, answering. `pids` by name, for tests that want to hurt them."""

    database_url: str
    redis_url: str
    pids: dict[str, int]


@contextmanager
def running(home: Path, *, durable: bool = True) -> Iterator[Engines]:
    """Both engines with their data below `home`, for as long as the block runs. Raises EngineError.

    `durable=False` trades safety against crashes of the machine for speed. Call it from the main thread, so that the
    engines die with us.
    """
    known = secrets.load_or_create(home)
    with occupied(home, known["INSTANCE_ID"]) as site, ExitStack() as stack:
        postgres = Postgres(site, known["POSTGRES_PASSWORD"], durable=durable)
        valkey = Valkey(site, known["VALKEY_PASSWORD"], durable=durable)
        pids = {engine.program.name: stack.enter_context(_running(engine, site)) for engine in (postgres, valkey)}
        yield Engines(postgres.url, valkey.url, pids)


@contextmanager
def scratch() -> Iterator[Engines]:
    """Both engines, fast and not durable, in a place of their own that is removed afterwards: for tests."""
    home = Path(tempfile.mkdtemp(prefix="plugsend-scratch-", dir="/tmp"))
    try:
        home.chmod(0o711)  # as root the engines' account must be able to pass
        with running(home, durable=False) as engines:
            yield engines
    finally:
        shutil.rmtree((home / "engines").resolve(), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _running(engine: Engine, site: Site) -> Iterator[int]:
    program = engine.program
    log = site.root / f"{program.name}.log"
    with log.open("wb") as output:
        process = spawn(program, stdout=output)
    try:
        _wait_ready(engine, process, log)
        engine.settle()
        yield process.pid
    finally:
        end(process, program.stop_signal, timeout_s=10.0)


def _wait_ready(engine: Engine, process: Process, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not engine.is_ready():
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            why = describe_exit(code) if code is not None else f"did not answer within {READY_WITHIN_S:g} s"
            raise EngineError(f"{engine.program.name} {why}:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.01)
