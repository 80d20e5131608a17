"""The account that runs the engines: ourselves, or as root (PostgreSQL refuses root) one without privileges."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from plugsend.engines.errors import EngineError

PREFERRED = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int

    @property
    def ids(self) -> tuple[int, int]:
        return self.uid, self.gid


def engine_account(existing_data: Path) -> Account | None:
    """The account to run as, None for ourselves. Data that exists already keeps its owner."""
    if os.geteuid() != 0:
        return None
    if existing_data.exists() and (owner := existing_data.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner))
    for name in PREFERRED:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise EngineError(
        f"PostgreSQL does not run as root and there is neither of the accounts {' and '.join(PREFERRED)}. "
        "Start PlugSend as an ordinary user."
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def succeeds(account: Account | None, *command: str | Path) -> bool:
    """Whether a command exits with 0 when that account runs it: asks the kernel instead of guessing from mode bits."""
    uid, gid = account.ids if account else (None, None)
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd="/",
            env={},
            user=uid,
            group=gid,
            extra_groups=[] if account else None,
            capture_output=True,
            timeout=20,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def can_enter(account: Account | None, directory: Path) -> bool:
    """Whether the account can reach what lies in a directory (search permission all the way down)."""
    return succeeds(account, "/bin/sh", "-c", 'test -x "$1"', "sh", directory)


def make_directory(path: Path, account: Account | None, mode: int) -> None:
    """Makes a directory that belongs to the account; one that exists is left as it is."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    path.chmod(mode)  # mkdir's mode goes through the umask
    if account is not None:
        os.chown(path, *account.ids)
