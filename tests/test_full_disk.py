"""No room left: for the data and everything else of ours, or for PostgreSQL's log alone. Real file systems, small ones.

PostgreSQL survives the first (a statement fails) and not the second: it panics, and every start fails until there is room.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import requests

from tests.platform import Platform, running_platform, wait_for
from tests.wire import GOOD, Wire, count_messages, signed_in

pytestmark = pytest.mark.xdist_group("full-disk")

LARGE = GOOD + (b"x" * 70 + b"\r\n") * 2800  # 200 kB
UNAVAILABLE = "451 4.3.0 temporarily_unavailable: "


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk(250) as place:
        yield place


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="plugsend-full-", dir="/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0711", "tmpfs", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        if mounted.returncode != 0:
            why = f"a small file system cannot be mounted here: {mounted.stderr.strip()}"
            assert not (os.geteuid() == 0 and os.environ.get("CI") == "true"), why
            pytest.skip(why)
        yield place
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


@contextmanager
def filled(place: Path) -> Iterator[None]:
    """Not an octet more can be written while the block runs."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1024 * 1024
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    try:
        yield
    finally:
        filler.unlink()


def deliver(client: Wire, content: bytes) -> str:
    """The first refusal on the way, or the final reply."""
    client.command("RSET")
    for command in ("MAIL FROM:<admin@demo.test>", "RCPT TO:<ada@full.test>", "DATA"):
        answer = client.command(command)
        if answer[0] not in "23":
            return answer
    return client.say(content + b".\r\n")


def post(platform: Platform) -> requests.Response:
    return requests.post(
        f"{platform.demo['API_URL']}/emails",
        headers={"Authorization": f"Bearer {platform.demo['API_KEY']}"},
        json={"from": "a@demo.test", "to": "ada@full.test", "subject": "Full", "text": "x" * 200_000},
        timeout=70,
    )


def status(platform: Platform) -> int:
    try:
        return post(platform).status_code
    except requests.ConnectionError:
        return 0


def half_stored(platform: Platform) -> int:
    with platform.database() as connection:
        row = connection.execute(
            """
            SELECT count(*)
            FROM relay_message m
            FULL JOIN relay_content c ON c.id = m.id
            FULL JOIN relay_recipient r ON r.message_id = m.id
            FULL JOIN (SELECT * FROM events_event WHERE type = 'submitted') e ON e.recipient_id = r.id
            WHERE m.id IS NULL OR c.id IS NULL OR r.id IS NULL OR e.id IS NULL
            """
        ).fetchone()
    assert row
    return int(row[0])


def test_with_a_full_disk_both_doors_say_later_and_go_on_by_themselves(disk: Path) -> None:
    with running_platform(disk) as platform, signed_in(platform) as client:
        assert deliver(client, LARGE).startswith("250 ")
        before = count_messages(platform)
        children = platform.children
        with filled(disk):
            for _ in range(20):
                assert deliver(client, LARGE).startswith(UNAVAILABLE)
            answer = post(platform)
            assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
            assert answer.headers["Retry-After"]
            # A process that dies now is started again, though not a line of its log can be kept.
            platform.kill("beat")
            platform.kill("web")
            wait_for(lambda: status(platform) == 503, "the web server is back", 30)
        assert count_messages(platform) == before
        sent = wait_for(lambda: id_in(deliver(client, LARGE)), "the same session sends again", 30)
        assert wait_for(lambda: status(platform) == 202, "REST takes mail again", 30)
        platform.wait_event(sent, "delivered", 40)
        assert half_stored(platform) == 0
        assert platform.children["smtp"] == children["smtp"]


def test_when_postgresql_has_no_room_for_its_log_nothing_is_lost_and_mail_flows_again(disk: Path) -> None:
    with small_disk(120) as log_disk, running_platform(disk) as platform:
        platform.stop()
        _move(disk / "var/engines/postgres/pg_wal", log_disk)
        platform.start()
        with signed_in(platform) as client:
            postgres, smtp, accepted = platform.children["postgres"], platform.children["smtp"], []
            with filled(log_disk):
                while (answer := deliver(client, LARGE)).startswith("250 "):
                    accepted.append(id_in(answer))
                assert answer.startswith(UNAVAILABLE)
                wait_for(lambda: platform.children.get("postgres") != postgres, "PostgreSQL has given up", 30)
                wait_for(lambda: platform.log.count("No space left on device") > 2, "it cannot start", 30)
                assert deliver(client, LARGE).startswith(UNAVAILABLE)
                assert status(platform) == 503
            sent = wait_for(lambda: id_in(deliver(client, LARGE)), "the same session sends again", 60)
            wait_for(lambda: status(platform) == 202, "REST takes mail again", 30)
            platform.wait_event(sent, "delivered", 60)
            assert half_stored(platform) == 0
            with platform.database() as connection:
                stored = connection.execute("SELECT id FROM relay_message WHERE id = ANY(%s)", [accepted]).fetchall()
            assert {row[0] for row in stored} == set(accepted)
            assert len(accepted) > 3
            assert platform.children["smtp"] == smtp


def id_in(answer: str) -> UUID | None:
    return UUID(answer.rsplit(" ", 1)[-1]) if answer.startswith("250 ") else None


def _move(directory: Path, place: Path) -> None:
    """With owners; a link stays in its place (PostgreSQL manual, initdb --waldir)."""
    subprocess.run(["cp", "-a", str(directory.resolve()), str(place)], check=True)
    moved = directory.rename(directory.with_name("pg_wal.old"))
    directory.symlink_to(place / directory.name)
    subprocess.run(["rm", "-r", str(moved)], check=True)
