"""Neither many sessions nor many large messages fill the memory.

With 1,000 idle sessions and 50 clients sending 20 MiB each the process peaked at 651 MiB; here are fewer clients, and as
many octets at a time as the door lets into memory.
"""

import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import Platform, running_platform
from tests.wire import GOOD, Wire

pytestmark = pytest.mark.xdist_group("smtp-limits")

IDLE, SENDING, OCTETS = 300, 8, 20 * 1024 * 1024
MOST_MIB = 1024


@pytest.fixture
def roomy() -> Iterator[Platform]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    settings = {"SMTP_CONNECTIONS_PER_ADDRESS": "1000", "SMTP_CONNECTIONS_PER_USER": "1000"}
    with running_platform(**settings) as running:
        yield running
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_sessions_and_large_messages_stay_inside_a_gibibyte(roomy: Platform) -> None:
    idle = [_member(roomy) for _ in range(IDLE)]
    content = GOOD + (b"x" * 76 + b"\r\n") * (OCTETS // 78)
    answers = []

    def send(number: int) -> None:
        client = _member(roomy)
        client._socket.settimeout(120)
        answers.append(client.deliver(content, f"large{number}@example.test")[:9])
        client.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["250 2.0.0"] * SENDING
    assert idle[0].command("NOOP").startswith("250 ")
    assert _peak_mib(roomy.children["smtp"]) < MOST_MIB
    for client in idle:
        client.close()


def _member(platform: Platform) -> Wire:
    client = Wire(platform.smtp_port)
    client.read()
    assert client.sign_in(platform).startswith("235 ")
    return client


def _peak_mib(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024
