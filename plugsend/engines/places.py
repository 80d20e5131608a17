"""Where the engines live: a data directory that their account can reach, and a short private one for their sockets.

We never change owner or mode of a directory that we did not make: a checkout in a private home stays private.
"""

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from plugsend.engines.account import Account, can_enter, engine_account, make_directory
from plugsend.engines.errors import EngineError

SYSTEM_ROOT = Path("/var/lib/plugsend")
# sockaddr_un holds 108 octets on Linux, 104 on macOS, the final NUL among them.
SOCKET_PATH_LIMIT = 103
_LONGEST_SOCKET_NAME = "/.s.PGSQL.5432"


@dataclass(frozen=True)
class Site:
    """The place of one installation's engines, ours alone while we hold its lock."""

    root: Path  # data directories and copied programs; belongs to whoever starts us
    runtime: Path  # sockets; belongs to the engines' account, mode 0700
    account: Account | None  # None: the engines run as ourselves


@contextmanager
def occupied(home: Path, instance_id: str) -> Iterator[Site]:
    """The engines' place below `home` (usually var/), locked against a second user of the same data.

    Raises EngineError when another process holds it.
    """
    link = home / "engines"
    account = engine_account(link / "postgres")
    root = _data_root(link, account, instance_id)
    with _locked(root / "lock"):
        # The path is part of the name: a copied checkout has the same INSTANCE_ID but wants sockets of its own.
        name = hashlib.sha256(f"{instance_id}:{root}".encode()).hexdigest()[:8]
        runtime = _runtime_directory(f"plugsend-{name}", account)
        try:
            yield Site(root, runtime, account)
        finally:
            with suppress(OSError):
                runtime.rmdir()


def _data_root(link: Path, account: Account | None, instance_id: str) -> Path:
    """`home/engines`, or where that symlink leads: below /var/lib when the account cannot get to `home`."""
    if link.is_symlink():
        target = link.resolve()
        make_directory(target.parent, None, 0o755)
        make_directory(target, None, 0o755)
        return target
    make_directory(link, None, 0o755)
    if account is None or can_enter(account, link):
        return link.resolve()
    target = SYSTEM_ROOT / instance_id
    if any(link.iterdir()):
        raise EngineError(
            f"The account {account.name}, which runs the engines, can no longer reach {link}. Open the way to it, "
            f"or move the data: mv '{link}' '{target}' && ln -s '{target}' '{link}'"
        )
    make_directory(SYSTEM_ROOT, None, 0o755)
    make_directory(target, None, 0o755)
    link.rmdir()
    link.symlink_to(target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                f"The data in {path.parent} is in use by another PlugSend. Was the checkout copied together with its "
                "var/ directory? Then remove the copy's var/engines and start again."
            ) from None
        yield
    finally:
        os.close(handle)


def _runtime_directory(name: str, account: Account | None) -> Path:
    for path in _runtime_candidates(name, account):
        if len(str(path) + _LONGEST_SOCKET_NAME) <= SOCKET_PATH_LIMIT and _make_private(path, account):
            return path
    # Somebody else sits on every name that we would choose: take one that nobody can foresee.
    path = Path(tempfile.mkdtemp(prefix="plugsend-", dir="/tmp"))
    if account is not None:
        os.chown(path, *account.ids)
    return path


def _runtime_candidates(name: str, account: Account | None) -> Iterator[Path]:
    if account is not None:
        yield Path("/run", name)
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, name)
    yield Path("/tmp", name.replace("-", f"-{os.geteuid()}-", 1))  # noqa: S108


def _make_private(path: Path, account: Account | None) -> bool:
    """Makes the directory, or takes one over if it is really ours: no symlink, right owner, closed to others."""
    owner = account.uid if account else os.geteuid()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    found = path.lstat()
    if account is not None and stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
        os.chown(path, *account.ids, follow_symlinks=False)  # just made, or by a start that was killed right here
        found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o077
