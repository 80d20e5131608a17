"""The process apart in which templates are checked and filled in: `python -m relay.templating.worker SECONDS OCTETS`.

One JSON request a frame on standard input, one answer a frame on standard output (`frames.py`). Before the first request it
gives up whatever a template could misuse; a request that takes too long is ended by the kernel, and this process with it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from liquid.token import TOKEN_CONTENT, TOKEN_OUTPUT, TOKEN_TAG

from relay.templating.frames import read_frame, write_frame
from relay.templating.html import StyleError, inlined, is_bare_attribute, text_of
from relay.templating.language import OUTPUT_OCTETS, UNESCAPED, Compiled, TemplateError, compiled, read_tokens
from relay.templating.problems import PARTS, Problem, place_of

_LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029\0]+\s*")
SUBJECT_LENGTH = 2000  # characters


def check(source: Mapping[str, str]) -> dict[str, Any]:
    problems, uses = [], []
    for part in PARTS:
        try:
            template = _compiled(source, part)
            template.check_filters()
            if part == "html":
                _check_attributes(template.source)
            for name, index in template.used().items():
                line, column = place_of(template.source, index)
                uses.append({"name": name, "part": part, "line": line, "column": column})
        except TemplateError as error:
            problems.append(asdict(error.problem(part)))
    return {"problems": problems, "uses": uses}


def render(source: Mapping[str, str], variables: Mapping[str, Any]) -> dict[str, Any]:
    part = PARTS[0]
    texts: dict[str, str] = {}
    try:
        for part in PARTS:
            texts[part] = _compiled(source, part).render(variables)
        part = "html"
        html = inlined(texts["html"])
        if len(html.encode()) > 2 * OUTPUT_OCTETS:
            raise StyleError("with its style sheet written into the elements it is too long")
    except TemplateError as error:
        return {"problem": asdict(error.problem(part))}
    except StyleError as error:
        return {"problem": asdict(Problem(part, str(error)))}
    subject = _LINE_BREAKS.sub(" ", texts["subject"]).strip()
    if len(subject) > SUBJECT_LENGTH:
        return {"problem": asdict(Problem("subject", f"it would have more than {SUBJECT_LENGTH} characters"))}
    text = texts["text"] if source["text"] else text_of(html)
    return {
        "subject": subject,
        "html": html.replace("\0", "") if source["html"] else None,
        "text": text.replace("\0", "") if text or source["text"] else None,
    }


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """A template upon which a library fails is told as such."""
    is_check = request["do"] == "check"
    try:
        return check(request) if is_check else render(request, request["variables"])
    except Exception as error:
        traceback.print_exc()
        problem = asdict(Problem("html", f"cannot be read: {type(error).__name__}"))
        return {"problems": [problem], "uses": []} if is_check else {"problem": problem}


def _answer_octets(request: Mapping[str, Any]) -> bytes:
    for _ in range(2):
        try:
            return json.dumps(answer(request)).encode()
        except MemoryError:
            compiled.cache_clear()  # perhaps it was not this template, but those kept from before
    os._exit(1)


def _compiled(source: Mapping[str, str], part: str) -> Compiled:
    return compiled(source[part], escapes=part == "html")


def _check_attributes(source: str) -> None:
    """Raises `TemplateError` where something is printed as an attribute's value without quotes around it."""
    before = ""
    for token in read_tokens(source):
        if token.kind == TOKEN_CONTENT:
            before = token.value
        elif token.kind == TOKEN_OUTPUT or (token.kind == TOKEN_TAG and token.value == UNESCAPED):
            if is_bare_attribute(before):
                raise TemplateError("put the attribute's value in quotes", source, token.start_index)
            before = ""


def _warm_up() -> None:
    """Whatever the libraries load at first use, while it can still be loaded."""
    style = "a{color:red}@media print{a{color:red}}"
    html = f"<html><head><style>{style}</style></head><body><a href='x'>&euro;{{{{ n }}}}</a></body></html>"
    check({"subject": "{{ n", "html": html, "text": "{{ n | nope }}"})
    dates = "{{ now | date: '%A %d %B %Y %H:%M' }}{{ '1 May 2020 10:00 UTC' | date: '%c' }}{{ 1 | date: '%Y' }}"
    others = "{{ 'a%20b' | url_decode | url_encode | escape_once | strip_html }}{{ '1.5' | times: 2.25 | round: 1 }}"
    render({"subject": dates, "html": html, "text": others}, {"n": 1.5})


def _confine(memory_octets: int) -> None:
    """No more files or sockets than are open, no files written, no more than so much memory, no core dumps."""
    if sys.platform != "darwin":  # which does not know it
        resource.setrlimit(resource.RLIMIT_AS, (memory_octets, memory_octets))
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        resource.setrlimit(limit, (value, value))


def main() -> None:
    seconds, memory_octets = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends this process by closing the pipe
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends it
    _warm_up()
    _confine(memory_octets)
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        request = json.loads(frame)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        octets = _answer_octets(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_frame(sys.stdout.buffer, octets)


if __name__ == "__main__":
    main()
