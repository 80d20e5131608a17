"""Hostile templates: whatever they try, they are refused or rendered, and the process that asks is unharmed."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from relay.templating import press
from relay.templating.press import Press, Source, TooCostly, Unfit, check, render
from tests.hostile_templates import COSTLY, CRASHING, ESCAPING, FORBIDDEN, ODD
from tests.platform import wait_for

PLAIN = Source(subject="Hi {{ name }}", text="{{ name }}")


def attempt(source: Source, variables: dict[str, Any]) -> str:
    try:
        render(source, variables)
    except TooCostly:
        return "too costly"
    except Unfit as error:
        return str(error)
    return "rendered"


def still_works() -> bool:
    return render(PLAIN, {"name": "Ada"}).subject == "Hi Ada"


@pytest.mark.parametrize("name", COSTLY)
def test_what_asks_for_too_much_is_refused(name: str) -> None:
    outcome = attempt(*COSTLY[name])
    assert outcome == "too costly" or "too much" in outcome
    assert still_works()


@pytest.mark.parametrize("name", CRASHING)
def test_what_crashes_a_library_ends_its_process_only(name: str) -> None:
    assert attempt(*CRASHING[name]) == "too costly"
    assert still_works()


@pytest.mark.parametrize("name", ODD)
def test_odd_templates_come_to_an_end(name: str) -> None:
    source, variables = ODD[name]
    with contextlib.suppress(TooCostly):
        check(source)
    attempt(source, variables)
    assert still_works()


@pytest.mark.parametrize("source", ESCAPING.values(), ids=ESCAPING)
def test_python_objects_are_out_of_reach(source: str) -> None:
    rendered = render(Source(text=source), {"x": "abc"})
    assert set(rendered.text or "") <= set("no")


@pytest.mark.parametrize("source", FORBIDDEN.values(), ids=FORBIDDEN)
def test_there_are_no_tags_or_filters_that_reach_out(source: str) -> None:
    assert check(Source(text=source)).problems


def limit_of(press_: Press, name: str) -> str:
    [line] = [
        line for line in Path(f"/proc/{press_.process_id}/limits").read_text().splitlines() if line.startswith(name)
    ]
    return line[len(name) :].split()[1]


def test_the_process_apart_has_nothing_to_misuse() -> None:
    one = Press()
    try:
        one.ask(b'{"do": "check", "subject": "", "html": "", "text": ""}')
        assert limit_of(one, "Max open files") == "3"
        assert limit_of(one, "Max processes") == "0"
        assert limit_of(one, "Max file size") == "0"
        assert int(limit_of(one, "Max address space")) == press.MEMORY_OCTETS
        environment = Path(f"/proc/{one.process_id}/environ").read_bytes().decode()
        assert not {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"} & {
            word.partition("=")[0] for word in environment.split("\0")
        }
    finally:
        one.close()


def test_what_a_template_took_does_not_count_for_the_next() -> None:
    # Each takes a part of the time that one request may take; together they take more.
    source = Source(text="{% for i in (1..5000) %}{{ i | times: 2 }}{% endfor %}")
    ticks = os.sysconf("SC_CLK_TCK")
    one = Press()
    request = f'{{"do": "render", "subject": "", "html": "", "text": "{source.text}", "variables": {{}}}}'.encode()
    try:
        used = 0.0
        while used < 2 * press.CPU_SECONDS:
            one.ask(request)
            fields = Path(f"/proc/{one.process_id}/stat").read_text().rpartition(")")[2].split()
            used = (int(fields[11]) + int(fields[12])) / ticks
    finally:
        one.close()


def test_many_threads_share_the_presses() -> None:
    wrong: list[str] = []

    def work(name: str) -> None:
        for number in range(20):
            made = render(PLAIN, {"name": f"{name} {number}"})
            if (made.subject, made.text) != (f"Hi {name} {number}", f"{name} {number}"):
                wrong.append(made.subject)

    threads = [threading.Thread(target=work, args=(f"thread {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_a_press_that_was_killed_is_replaced() -> None:
    render(PLAIN, {"name": "Ada"})
    presses = press._presses
    assert presses is not None
    for free in list(presses._free.queue):
        if free is not None:
            os.kill(free.process_id, 9)
            wait_for(lambda free=free: free.is_gone, "it is gone")
    assert {attempt(PLAIN, {"name": "Ada"}) for _ in range(press.PRESSES + 1)} == {"rendered"}
