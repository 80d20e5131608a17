"""What stands behind MAIL, RCPT and BDAT, read (RFC 5321, 4.1.2; RFC 1870, 3030, 4954, 6152, 6531). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A path in its brackets; strings in quotes may hold brackets (RFC 5321, 4.1.2). A blank after the colon and a path
# without brackets are wrong, common, and without danger.
_PATH = re.compile(
    r'[ \t]*(?:<(?P<path>(?:"(?:\\.|[^"\\])*"|[^<>"])*)>|(?P<bare>[^\s<>]+))(?:[ \t]+(?P<parameters>.*))?', re.S
)
_SOURCE_ROUTE = re.compile(r"@[^:,@\s]+(?:,@[^:,@\s]+)*:")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")  # RFC 5321, 4.1.2: esmtp-param
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")  # RFC 3461, 4
_BDAT = re.compile(r"(\d{1,18})(?:[ \t]+(LAST))?", re.I)  # RFC 3030, 2


class Malformed(Exception):
    """An argument that cannot be read. Its text is the reply, code and enhanced code included."""


@dataclass(frozen=True, slots=True)
class MailParameters:
    size: int = 0
    is_utf8: bool = False


def read_path(keyword: str, argument: str) -> tuple[str, str]:
    """(path, parameters) behind `FROM:` or `TO:`."""
    match = _PATH.fullmatch(argument[len(keyword) :]) if argument[: len(keyword)].upper() == keyword else None
    if match is None:
        raise Malformed(f"501 5.5.4 Syntax: {'MAIL' if keyword == 'FROM:' else 'RCPT'} {keyword}<address>")
    path = match["bare"] if match["path"] is None else match["path"]
    # RFC 5321, 4.1.1.3 and appendix C: a source route is to be ignored.
    return _SOURCE_ROUTE.sub("", path, count=1) if path.startswith("@") else path, match["parameters"] or ""


def read_mail_parameters(text: str) -> MailParameters:
    size, is_utf8 = 0, False
    for name, value in _parameters(text).items():
        if name == "SIZE":  # RFC 1870, 6
            if not (value and value.isdigit() and len(value) <= 20):
                raise Malformed("501 5.5.4 Syntax: SIZE=<number of octets>")
            size = int(value)
        elif name == "BODY":  # RFC 6152, 3; BINARYMIME (RFC 3030, 3) is not offered
            if (value or "").upper() not in {"7BIT", "8BITMIME"}:
                raise Malformed("501 5.5.4 BODY is 7BIT or 8BITMIME")
        elif name == "SMTPUTF8":  # RFC 6531, 3.4
            if value is not None:
                raise Malformed("501 5.5.4 SMTPUTF8 has no value")
            is_utf8 = True
        elif name == "AUTH":  # RFC 4954, 5: who wrote it first; we believe nobody but the one signed in
            if not (value and _XTEXT.fullmatch(value)):
                raise Malformed("501 5.5.4 Syntax: AUTH=<mailbox as xtext>")
        else:
            raise Malformed(f"555 5.5.4 MAIL parameter {name} is not known")  # RFC 5321, 4.1.1.11
    return MailParameters(size, is_utf8)


def check_no_parameters(text: str) -> None:
    for name in _parameters(text):
        raise Malformed(f"555 5.5.4 RCPT parameter {name} is not known")


def read_chunk(argument: str) -> tuple[int, bool]:
    """(octets, whether it is the last) of BDAT."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        raise Malformed("501 5.5.4 Syntax: BDAT <octets> [LAST]")
    return int(match[1]), match[2] is not None


def _parameters(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise Malformed("501 5.5.4 A parameter cannot be read")
        name = match[1].upper()
        if name in found:
            raise Malformed(f"501 5.5.4 {name} is given twice")
        found[name] = match[2]
    return found
