"""How octets become contents: cut anywhere, dots taken out, ends found; and which octets are refused."""

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.catalogue import Refused
from relay.submission import smtp_input
from relay.submission.headers import CHECKED_AT_ONCE, check_octets
from relay.submission.smtp_content import IN_MEMORY, Arriving
from relay.submission.smtp_input import Input

LINE = st.sampled_from([b"", b".", b"..", b"...", b". ", b"a", b".a", b"a.", b"abc." * 30])
BODY = st.lists(LINE, max_size=30).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
CUTS = st.lists(st.integers(1, 40), max_size=60)


def received(octets: bytes, cuts: list[int], *, limit: int = 10**9) -> tuple[Arriving, bytes]:
    """What is taken for the content of a DATA whose octets come in pieces, and what is left for the next command."""
    arriving = Arriving(limit, Path("/tmp"))

    async def nothing() -> None: ...

    async def main() -> bytes:
        source = Input(nothing)
        reading = asyncio.create_task(source.content(arriving, lambda: None))
        rest = octets
        for cut in [*cuts, len(octets)]:
            source.feed(rest[:cut])
            rest = rest[cut:]
            await asyncio.sleep(0)
        await asyncio.wait_for(reading, 5)
        return bytes(source._buffer)

    return arriving, asyncio.run(main())


def stuffed(content: bytes) -> bytes:
    """RFC 5321, 4.5.2, as a client does it."""
    return b"".join(b"." * line.startswith(b".") + line for line in content.splitlines(keepends=True)) + b".\r\n"


@given(BODY, CUTS)
def test_a_content_comes_out_as_it_was_meant_however_it_was_cut(content: bytes, cuts: list[int]) -> None:
    arriving, left = received(stuffed(content) + b"QUIT\r\n.\r\n.\r\n", cuts)
    assert arriving.take() == content
    assert left == b"QUIT\r\n.\r\n.\r\n"


@given(BODY, CUTS)
def test_a_content_that_is_handed_on_in_pieces_comes_out_too(content: bytes, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smtp_input, "PIECE", 7)
        arriving, _ = received(stuffed(content), cuts)
    assert arriving.take() == content


@pytest.mark.parametrize("size", [IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY])
@pytest.mark.parametrize("step", [1000, 100_000, 10**9])
def test_a_large_content_waits_on_disk_and_comes_back_whole(size: int, step: int) -> None:
    content = (b"." + b"x" * 60 + b"\r\n") * (size // 63) + b"y\r\n"
    arriving, _ = received(stuffed(content), [step] * (len(content) // step))
    assert arriving.take() == content


def test_of_a_content_that_is_too_large_nothing_is_kept() -> None:
    arriving, left = received(stuffed(b"x" * 998 + b"\r\n") + b"NOOP\r\n", [], limit=500)
    assert arriving.is_too_large
    assert arriving.take() == b""
    assert left == b"NOOP\r\n"


# ---- bare CR, LF and NUL ----------------------------------------------------------------------------------------------

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


def is_refused(content: bytes) -> bool:
    try:
        check_octets(content)
    except Refused as refused:
        return refused.code == "malformed_line_endings"
    return False


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", b"a", b".", b"\x85", b"\x0b\x0c", b"\xe2\x80\xa8"])))
def test_a_content_with_bare_cr_lf_or_nul_is_refused_and_no_other(parts: list[bytes]) -> None:
    content = b"".join(parts)
    assert is_refused(content) == bool(BARE.search(content))


@pytest.mark.parametrize("at", [-2, -1, 0, 1])
@pytest.mark.parametrize("octets", [b"\r\n", b"\r", b"\n", b"\r\r\n", b"\r\n\n", b"\0"])
@pytest.mark.parametrize("after", [b"", b"\r\n", b"x" * 100])
def test_it_is_seen_wherever_it_stands(at: int, octets: bytes, after: bytes) -> None:
    content = b"x" * (CHECKED_AT_ONCE + at) + octets + after
    assert is_refused(content) == bool(BARE.search(content))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"a\0b\r\n", "a NUL octet"),
        (b"a\nb\r\n", "a line feed without carriage return"),
        (b"a\rb\r\n", "a carriage return without line feed"),
        (b"a\r\n\r", "a carriage return without line feed"),
    ],
)
def test_the_refusal_names_the_octet(content: bytes, named: str) -> None:
    with pytest.raises(Refused, match=named):
        check_octets(content)
