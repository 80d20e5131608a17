"""A DKIM key record beside the one asked for (RFC 6376, 3.6.1): is our key there, and if not, what happened to it.

Everything here is fed with what strangers publish: the work grows with the length of a value, never with its square.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations

from domains.diagnosis.case import FITS, Case, Reading, fault
from domains.diagnosis.hosts import STRING_OCTETS
from domains.diagnosis.table import Diagnosis
from domains.diagnosis.texts import BACKSLASHES, LETTERS, QUOTES, extra_in, shown, solid, spaces_in, unquoted

TELLING_CHARACTERS = 24  # a piece of a key that is so long is no coincidence

Tags = list[tuple[str, str]]

# RFC 6376, 3.2: tag-name = ALPHA *ALNUMPUNC; FWS may stand around the name, the "=" and the value.
TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
WHITE_SPACE = " \t\r\n"
NO_WHITE_SPACE = str.maketrans("", "", WHITE_SPACE)


def parse_tags(text: str) -> Tags | None:
    """A tag=value list (RFC 6376, 3.2) in its order; None when it is none, or when a tag occurs twice."""
    parts = text.split(";")
    if not parts[-1].strip(WHITE_SPACE):
        parts.pop()  # the list may end in a semicolon
    tags = []
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip(WHITE_SPACE)
        if not equals or not TAG_NAME.fullmatch(name):
            return None
        tags.append((name, value.strip(WHITE_SPACE)))
    return tags if tags and len({name for name, _ in tags}) == len(tags) else None


def read_dkim(case: Case, values: Sequence[str]) -> Reading:
    """One TXT record that carries our key. Only the key and what would disable it count, not the spelling."""
    if len(values) > 1:
        # RFC 6376, 3.6.2.2: with several records at the name the result is undefined.
        return fault(Diagnosis.SEVERAL_RECORDS, _several_keys(case, values))
    value = values[0].strip(WHITE_SPACE)
    if found := _dkim_fault(case, value):
        return found
    if "y" in _items(dict(parse_tags(value) or []).get("t", "")):
        return Reading(
            True,
            Diagnosis.TEST_MODE,
            "The tag t=y declares a test: receivers may ignore the signature. Remove it when you are ready.",
        )
    return FITS


def _several_keys(case: Case, values: Sequence[str]) -> str:
    stripped = [value.strip(WHITE_SPACE) for value in values]
    if len(stripped) <= 3 and any(
        solid(unquoted("".join(order))) == solid(case.record.value) for order in permutations(stripped)
    ):
        return (
            f"The value was split into {len(values)} records. Put it into one: receivers join the strings of a record, but "
            "not records."
        )
    if any(_dkim_fault(case, value) is None for value in stripped):
        return (
            f"There are {len(values)} TXT records at {case.record.name}, one of which is right. Remove all others: with "
            "several, receivers may read any."
        )
    return f"There are {len(values)} TXT records at {case.record.name}. Keep one, with the value shown."


def _dkim_fault(case: Case, value: str) -> Reading | None:
    asked = dict(parse_tags(case.record.value) or [])
    kind = asked.get("k", "rsa")
    plain = unquoted(value)
    if value != plain and parse_tags(plain) and _dkim_fault(case, plain) is None:
        return fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    if "\\;" in value:
        return fault(Diagnosis.BACKSLASHES_IN_VALUE, BACKSLASHES)
    tags = parse_tags(value)
    if tags is None:
        return _not_tags(case, value, kind)
    by_name = dict(tags)
    # RFC 6376, 3.6.1: v= is optional; when there, it is the first tag and reads exactly DKIM1.
    if by_name.get("v") == "dkim1" or value == case.record.value.upper():
        return fault(Diagnosis.LETTERS_CHANGED, LETTERS)
    if "v" in by_name and tags[0] != ("v", "DKIM1"):
        return fault(Diagnosis.NOT_DKIM, "The record must begin with v=DKIM1. Copy the whole value shown.")
    if "p" not in by_name:
        return fault(Diagnosis.NOT_DKIM, "The key is missing (the tag p=). Copy the whole value shown.")
    return _key_fault(case, key_of(tags), value) or _use_fault(by_name, kind)


def _not_tags(case: Case, value: str, kind: str) -> Reading:
    key = key_of(parse_tags(case.record.value) or [])
    piece = solid(unquoted(value))
    if len(piece) >= TELLING_CHARACTERS and piece in key:
        if piece == key:
            return fault(
                Diagnosis.NOT_DKIM,
                f"The key is there, but not what belongs before it (v=DKIM1; k={kind}; p=). Copy the whole value shown.",
            )
        return fault(
            Diagnosis.KEY_PART_LOST,
            f"The beginning of the value is lost: only {len(piece)} of the key’s {len(key)} characters are there. "
            + _whole_again(case),
        )
    if len(value) > len(case.record.value) and (case.record.value in value or case.record.value in unquoted(value)):
        return fault(Diagnosis.EXTRA_TEXT, extra_in(value, case.record.value))
    return fault(
        Diagnosis.NOT_DKIM,
        f"This is not a DKIM record, which is made of tags such as v=DKIM1; k={kind}; p=… Copy the whole value shown.",
    )


def _key_fault(case: Case, found: str, value: str) -> Reading | None:
    key = key_of(parse_tags(case.record.value) or [])
    if found == key:
        return None
    if not found:
        return fault(
            Diagnosis.KEY_REVOKED,
            "The key is empty, which means that it was revoked (RFC 6376, 3.6.1). Copy the whole value shown.",
        )
    plain = solid(unquoted(found))
    if plain == key:
        if solid(found) == key:
            return fault(Diagnosis.SPACES_IN_VALUE, spaces_in(found))
        return fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    if plain in {key.lower(), key.upper()}:
        return fault(Diagnosis.LETTERS_CHANGED, LETTERS)
    return _key_part_fault(case, plain, key, value) or _other_key(case, plain, key)


def _key_part_fault(case: Case, found: str, key: str, value: str) -> Reading | None:
    if key in found:
        return fault(
            Diagnosis.EXTRA_TEXT,
            f"The key is there with {len(found) - len(key)} more characters, which make it another one. Copy the value shown.",
        )
    if len(found) >= len(key):
        return None
    count = f"{len(found)} of its {len(key)} characters are there"
    if key.startswith(found):
        if len(value) == STRING_OCTETS:
            return fault(
                Diagnosis.KEY_PART_LOST,
                f"Only the first string of the record arrived: {STRING_OCTETS} characters of the value, and {len(found)} of "
                f"the key’s {len(key)}. " + _whole_again(case),
            )
        return fault(Diagnosis.KEY_CUT_OFF, f"The key is cut off: {count}. " + _whole_again(case))
    if found == key.replace("+", ""):
        return fault(
            Diagnosis.KEY_PART_LOST,
            f"The plus signs of the key are lost: {count}. Paste the value anew with the copy button.",
        )
    begins = _common_length(found, key)
    ends = _common_length(found[::-1], key[::-1])
    if len(found) < TELLING_CHARACTERS or begins + ends < len(found):
        return None
    where = "The beginning of the key is lost" if ends == len(found) else "A part in the middle of the key is lost"
    return fault(Diagnosis.KEY_PART_LOST, f"{where}: {count}. " + _whole_again(case))


def _whole_again(case: Case) -> str:
    if len(case.record.value) <= STRING_OCTETS:
        return "Copy the whole value shown."
    if case.host.quotes:
        return (
            f"Delete the record and add it anew {case.at}, as several quoted strings on one line, each of at most "
            f"{STRING_OCTETS} characters."
        )
    return (
        f"Delete the record and paste the whole value {case.at}. If the form takes no more than {STRING_OCTETS} characters, "
        "split it into several quoted strings of one record."
    )


def _other_key(case: Case, found: str, key: str) -> Reading:
    for sibling in case.siblings:
        if key_of(parse_tags(sibling.value) or []) == found:
            selector = sibling.name.partition(".")[0]
            return fault(
                Diagnosis.KEY_OF_OTHER_SELECTOR,
                f"This is your key of {selector}, which belongs at {sibling.name}. Put the value shown here.",
            )
    size = " It is shorter than ours." if len(found) < len(key) * 3 // 4 else ""
    return fault(
        Diagnosis.KEY_DIFFERS,
        f"The record at {case.record.name} holds another key.{size} Replace the value by the one shown.",
    )


def _common_length(one: str, other: str) -> int:
    """Of the beginning that two texts share."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _use_fault(tags: dict[str, str], kind: str) -> Reading | None:
    """RFC 6376, 3.6.1: k= the key type, RSA when it is not there; h= the hashes allowed, s= the services allowed."""
    said = ""
    if tags.get("k", "rsa") != kind:
        if "k" not in tags:
            said = f"The kind of key is missing: add the tag k={kind}."
        else:
            said = f"The tag k={shown(tags['k'])} names another kind of key. Ours is k={kind}."
    elif "h" in tags and "sha256" not in _items(tags["h"]):
        said = f"The tag h={shown(tags['h'])} forbids SHA-256, with which we sign. Remove it."
    elif "s" in tags and not {"*", "email"} & set(_items(tags["s"])):
        said = f"The tag s={shown(tags['s'])} forbids the key’s use for e-mail. Remove it."
    return fault(Diagnosis.KEY_RESTRICTED, said) if said else None


def key_of(tags: Tags) -> str:
    return dict(tags).get("p", "").translate(NO_WHITE_SPACE)  # RFC 6376, 3.2: white space inside base64 is ignored


def _items(text: str) -> list[str]:
    return [item.strip(WHITE_SPACE) for item in text.split(":")]
