"""Compares the values at a record's name with the one asked for: does one fit, and if not, what happened to it. No I/O.

Everything here is fed with what strangers publish: the work grows with the length of a value, never with its square.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

from domains.diagnosis.hosts import STRING_OCTETS, UNKNOWN, DnsHost, typed_name
from domains.diagnosis.table import Diagnosis
from domains.names import registrable_part
from domains.records import (
    DMARC_LABEL,
    DOMAINKEY_LABEL,
    OWNERSHIP_LABEL,
    OWNERSHIP_PREFIX,
    RETURN_PATH_LABEL,
    AskedRecord,
)

NAMED_SERVERS = 4  # in a sentence
SHOWN_CHARACTERS = 80  # of a stranger's text in a sentence of ours
TELLING_CHARACTERS = 24  # a piece of a key that is so long is no coincidence


@dataclass(frozen=True, slots=True)
class Case:
    """A record with what is known around it: the zone's apex (empty: unknown) and DNS host, and the domain's other records."""

    record: AskedRecord
    apex: str = ""
    host: DnsHost = UNKNOWN
    siblings: Sequence[AskedRecord] = ()

    @property
    def zone(self) -> str:
        return self.apex or registrable_part(self.domain)

    @property
    def domain(self) -> str:
        """The sending domain, which is the record's name without the labels that we put before it."""
        name = self.record.name
        for label in (OWNERSHIP_LABEL, RETURN_PATH_LABEL, DMARC_LABEL):
            if name.startswith(label + "."):
                return name.removeprefix(label + ".")
        return name.partition(f".{DOMAINKEY_LABEL}.")[2] or name

    @property
    def typed(self) -> str:
        """The record's name as the DNS host's form wants it, in quotation marks."""
        return f"“{typed_name(self.record.name, self.zone, self.host)}”"

    @property
    def at(self) -> str:
        return self.host.at


@dataclass(frozen=True, slots=True)
class Reading:
    """What the values come to. `diagnosis` and `explanation` are empty when all is well; they may stand beside `fits`."""

    fits: bool
    diagnosis: Diagnosis | None = None
    explanation: str = ""


FITS = Reading(True)


def read(case: Case, values: Sequence[str]) -> Reading:
    """Judges the values at a name that holds at least one."""
    return READERS[case.record.purpose](case, values)


def is_meant(case: Case, values: Sequence[str]) -> bool:
    """Whether one of the values is the record asked for, right or spoilt: to recognise it at a wrong place."""
    readings = [read(case, (value,)) for value in values]
    return any(one.fits or one.diagnosis in SPOILT for one in readings)


# Of these it is certain that the value was meant to be ours.
SPOILT = {
    Diagnosis.QUOTES_IN_VALUE,
    Diagnosis.SPACES_IN_VALUE,
    Diagnosis.BACKSLASHES_IN_VALUE,
    Diagnosis.LETTERS_CHANGED,
    Diagnosis.EXTRA_TEXT,
    Diagnosis.KEY_CUT_OFF,
    Diagnosis.KEY_PART_LOST,
    Diagnosis.DOMAIN_APPENDED_TO_TARGET,
}


def _fault(diagnosis: Diagnosis, explanation: str) -> Reading:
    return Reading(False, diagnosis, explanation)


# ---- What befalls any text -------------------------------------------------------------------------------------------

QUOTES = "The value holds quotation marks as a part of the text. Remove them: the DNS form adds its own."
BACKSLASHES = "There are backslashes in the value. Remove them, and paste it as it is shown."
LETTERS = (
    "Capital letters have become small ones, or small ones capitals, and the difference counts here. Paste the value anew with "
    "the copy button."
)
QUOTATION_MARKS = "\"“”„«»'‘’"


def _spoilt(value: str, expected: str) -> Reading | None:
    """What happened to a value that must be equal to the one expected, and is not."""
    if _unquoted(value) == expected:
        return _fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    bare = _solid(value)
    if bare == _solid(expected):
        return _fault(Diagnosis.SPACES_IN_VALUE, _spaces_in(value))
    if bare.replace("\\", "") == _solid(expected):
        return _fault(Diagnosis.BACKSLASHES_IN_VALUE, BACKSLASHES)
    if bare.lower() == _solid(expected).lower():
        return _fault(Diagnosis.LETTERS_CHANGED, LETTERS)
    if expected in value or expected in _unquoted(value):
        return _fault(Diagnosis.EXTRA_TEXT, _extra_in(value, expected))
    return None


def _spaces_in(value: str) -> str:
    odd = sorted({letter for letter in value if _is_space(letter)})
    names = ", ".join(dict.fromkeys(_name_of_space(letter) for letter in odd[:4]))
    return (
        f"The value holds characters that cannot be seen and do not belong there ({names}). Delete it and paste it anew "
        "with the copy button."
    )


def _name_of_space(letter: str) -> str:
    if letter == " ":
        return "a space"
    if letter in "\r\n":
        return "a line break"
    if letter == "\t":
        return "a tab"
    return f"U+{ord(letter):04X}"


def _extra_in(value: str, expected: str) -> str:
    before, _, after = value.partition(expected)
    extra = [shown(text.strip()) for text in (before, after) if text.strip()]
    more = f" ({' and '.join(f'“{text}”' for text in extra)})" if extra else ""
    return f"The value is there with other text around it{more}. Leave only the value shown."


def _is_space(letter: str) -> bool:
    # Zs: spaces; Cc: control characters; Cf: what has no shape, such as the zero width space.
    return letter.isspace() or unicodedata.category(letter) in {"Zs", "Cc", "Cf"}


def _solid(text: str) -> str:
    """Without anything that cannot be seen."""
    return "".join(letter for letter in text if not _is_space(letter))


def _unquoted(text: str) -> str:
    """Without the quotation marks of a zone file that ended up inside the text, joined where they split it."""
    return re.sub(r'"\s*"', "", text).strip(QUOTATION_MARKS + " \t\r\n").strip()


def shown(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """A stranger's text inside a sentence: short, on one line, without what cannot be seen."""
    line = "".join(" " if _is_space(letter) else letter for letter in text[: most + 1])
    return line if len(line) <= most else f"{line[:most]}…"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, of which strangers chose number and text."""
    unique = [shown(name) for name in dict.fromkeys(names) if name]
    named = unique[:NAMED_SERVERS]
    if len(unique) > NAMED_SERVERS:
        named.append(f"{len(unique) - NAMED_SERVERS} more")
    if len(named) < 2:
        return named[0] if named else "some"
    return f"{', '.join(named[:-1])} and {named[-1]}"


# ---- Ownership -------------------------------------------------------------------------------------------------------


def _read_ownership(case: Case, values: Sequence[str]) -> Reading:
    """Other TXT records may stand beside ours."""
    expected = case.record.value
    stripped = [value.strip() for value in values]
    if expected in stripped:
        return FITS
    for value in stripped:
        if spoilt := _spoilt(value, expected):
            return spoilt
    for value in stripped:
        if value.startswith(OWNERSHIP_PREFIX):
            return _fault(Diagnosis.WRONG_TOKEN, _other_token(value, case))
    return _fault(
        Diagnosis.OTHER_TEXT,
        f"The TXT record at {case.record.name} holds another text. Add one {case.at} with the value shown; the other may stay.",
    )


def _other_token(value: str, case: Case) -> str:
    if case.record.value.startswith(value):
        return f"The token is cut off after {len(value)} of {len(case.record.value)} characters. Copy the whole value shown."
    # Whether it is that of an organization here is that organization's secret.
    return (
        "The token is another one: of another account, or of an earlier time that the domain was added. Replace the value by "
        "the one shown. Whoever proves a domain last has it."
    )


# ---- Return path -----------------------------------------------------------------------------------------------------


def _read_return_path(case: Case, values: Sequence[str]) -> Reading:
    """Names compare without regard to case and to the final dot (RFC 4343; RFC 1034, 3.1)."""
    expected = host_name(case.record.value)
    targets = {host_name(value) for value in values}
    if targets == {expected}:
        return FITS
    if len(targets) > 1:
        return _fault(
            Diagnosis.SEVERAL_RECORDS,
            f"There are {len(targets)} CNAME records at {case.record.name}, and only one may be. Keep the one to {expected}.",
        )
    target = targets.pop()
    if target.startswith(expected + "."):
        return _fault(
            Diagnosis.DOMAIN_APPENDED_TO_TARGET,
            f"The domain was added to the target, which is now {shown(target)}. Type the target {case.at} with a dot at its "
            f"end: {expected}.",
        )
    plain = _without_escapes(target)
    if plain != target and _solid(_unquoted(plain)) == expected:
        if _solid(plain) == expected:
            return _fault(Diagnosis.SPACES_IN_VALUE, _spaces_in(plain))
        return _fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    return _fault(
        Diagnosis.OTHER_TARGET,
        f"The CNAME points to {shown(target)}. Point it to {expected}: edit the record {case.typed} {case.at}.",
    )


ESCAPE = re.compile(r"\\(?:(\d{3})|(.))")  # RFC 1035, 5.1: how a name is written that holds odd characters


def _without_escapes(target: str) -> str:
    return ESCAPE.sub(lambda found: chr(int(found[1])) if found[1] else found[2], target)


def host_name(text: str) -> str:
    return text.strip().rstrip(".").lower()


# ---- DKIM ------------------------------------------------------------------------------------------------------------

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


def _read_dkim(case: Case, values: Sequence[str]) -> Reading:
    """One TXT record that carries our key. Only the key and what would disable it count, not the spelling."""
    if len(values) > 1:
        # RFC 6376, 3.6.2.2: with several records at the name the result is undefined.
        return _fault(Diagnosis.SEVERAL_RECORDS, _several_keys(case, values))
    value = values[0].strip(WHITE_SPACE)
    fault = _dkim_fault(case, value)
    if fault:
        return fault
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
        _solid(_unquoted("".join(order))) == _solid(case.record.value) for order in permutations(stripped)
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
    unquoted = _unquoted(value)
    if value != unquoted and parse_tags(unquoted) and _dkim_fault(case, unquoted) is None:
        return _fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    if "\\;" in value:
        return _fault(Diagnosis.BACKSLASHES_IN_VALUE, BACKSLASHES)
    tags = parse_tags(value)
    if tags is None:
        return _not_tags(case, value, kind)
    by_name = dict(tags)
    # RFC 6376, 3.6.1: v= is optional; when there, it is the first tag and reads exactly DKIM1.
    if by_name.get("v") == "dkim1" or value == case.record.value.upper():
        return _fault(Diagnosis.LETTERS_CHANGED, LETTERS)
    if "v" in by_name and tags[0] != ("v", "DKIM1"):
        return _fault(Diagnosis.NOT_DKIM, "The record must begin with v=DKIM1. Copy the whole value shown.")
    if "p" not in by_name:
        return _fault(Diagnosis.NOT_DKIM, "The key is missing (the tag p=). Copy the whole value shown.")
    return _key_fault(case, key_of(tags), value) or _use_fault(by_name, kind)


def _not_tags(case: Case, value: str, kind: str) -> Reading:
    key = key_of(parse_tags(case.record.value) or [])
    piece = _solid(_unquoted(value))
    if len(piece) >= TELLING_CHARACTERS and piece in key:
        if piece == key:
            return _fault(
                Diagnosis.NOT_DKIM,
                f"The key is there, but not what belongs before it (v=DKIM1; k={kind}; p=). Copy the whole value shown.",
            )
        return _fault(
            Diagnosis.KEY_PART_LOST,
            f"The beginning of the value is lost: only {len(piece)} of the key’s {len(key)} characters are there. "
            + _whole_again(case),
        )
    if len(value) > len(case.record.value) and (case.record.value in value or case.record.value in _unquoted(value)):
        return _fault(Diagnosis.EXTRA_TEXT, _extra_in(value, case.record.value))
    return _fault(
        Diagnosis.NOT_DKIM,
        f"This is not a DKIM record, which is made of tags such as v=DKIM1; k={kind}; p=… Copy the whole value shown.",
    )


def _key_fault(case: Case, found: str, value: str) -> Reading | None:
    key = key_of(parse_tags(case.record.value) or [])
    if found == key:
        return None
    if not found:
        return _fault(
            Diagnosis.KEY_REVOKED,
            "The key is empty, which means that it was revoked (RFC 6376, 3.6.1). Copy the whole value shown.",
        )
    if (solid := _solid(_unquoted(found))) == key:
        if _solid(found) == key:
            return _fault(Diagnosis.SPACES_IN_VALUE, _spaces_in(found))
        return _fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    if solid in {key.lower(), key.upper()}:
        return _fault(Diagnosis.LETTERS_CHANGED, LETTERS)
    return _key_part_fault(case, solid, key, value) or _other_key(case, solid, key)


def _key_part_fault(case: Case, found: str, key: str, value: str) -> Reading | None:
    if key in found:
        return _fault(
            Diagnosis.EXTRA_TEXT,
            f"The key is there with {len(found) - len(key)} more characters, which make it another one. Copy the value shown.",
        )
    if len(found) >= len(key):
        return None
    count = f"{len(found)} of its {len(key)} characters are there"
    if key.startswith(found):
        if len(value) == STRING_OCTETS:
            return _fault(
                Diagnosis.KEY_PART_LOST,
                f"Only the first string of the record arrived: {STRING_OCTETS} characters of the value, and {len(found)} of "
                f"the key’s {len(key)}. " + _whole_again(case),
            )
        return _fault(Diagnosis.KEY_CUT_OFF, f"The key is cut off: {count}. " + _whole_again(case))
    if found == key.replace("+", ""):
        return _fault(
            Diagnosis.KEY_PART_LOST,
            f"The plus signs of the key are lost: {count}. Paste the value anew with the copy button.",
        )
    begins = _common_length(found, key)
    ends = _common_length(found[::-1], key[::-1])
    if len(found) < TELLING_CHARACTERS or begins + ends < len(found):
        return None
    where = "The beginning of the key is lost" if ends == len(found) else "A part in the middle of the key is lost"
    return _fault(Diagnosis.KEY_PART_LOST, f"{where}: {count}. " + _whole_again(case))


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
            return _fault(
                Diagnosis.KEY_OF_OTHER_SELECTOR,
                f"This is your key of {selector}, which belongs at {sibling.name}. Put the value shown here.",
            )
    size = " It is shorter than ours." if len(found) < len(key) * 3 // 4 else ""
    return _fault(
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
    return _fault(Diagnosis.KEY_RESTRICTED, said) if said else None


def key_of(tags: Tags) -> str:
    return dict(tags).get("p", "").translate(NO_WHITE_SPACE)  # RFC 6376, 3.2: white space inside base64 is ignored


def _items(text: str) -> list[str]:
    return [item.strip(WHITE_SPACE) for item in text.split(":")]


# ---- DMARC -----------------------------------------------------------------------------------------------------------

# RFC 7489, 6.4: dmarc-version = "v" *WSP "=" *WSP "DMARC1" in exactly these letters, then dmarc-sep.
DMARC_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(;|$)")
DMARC_POLICIES = {"none", "quarantine", "reject"}


def _read_dmarc(case: Case, values: Sequence[str]) -> Reading:
    """Any valid policy will do; TXT records that are no DMARC record do not count (RFC 7489, 6.6.3, step 2)."""
    records = dmarc_records(values)
    if len(records) > 1:
        # RFC 7489, 6.6.3, step 5: with more than one record receivers apply none.
        return _fault(
            Diagnosis.SEVERAL_RECORDS,
            f"There are {len(records)} DMARC records at {case.record.name}; receivers then apply none. Keep one.",
        )
    if not records:
        if any(DMARC_VERSION.match(_unquoted(value)) for value in values):
            return _fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
        if any(DMARC_VERSION.match(value.replace("\\", "").strip(WHITE_SPACE)) for value in values):
            return _fault(Diagnosis.BACKSLASHES_IN_VALUE, BACKSLASHES)
        if any(re.match(DMARC_VERSION.pattern, value.strip(WHITE_SPACE), re.IGNORECASE) for value in values):
            return _fault(Diagnosis.LETTERS_CHANGED, LETTERS)
        return _fault(Diagnosis.NOT_DMARC, f"The record must begin with v=DMARC1, for example: {case.record.value}")
    return _read_policy(records[0])


def dmarc_records(values: Sequence[str]) -> list[str]:
    return [value for value in values if DMARC_VERSION.match(value.strip(WHITE_SPACE))]


def _read_policy(record: str) -> Reading:
    tags = parse_tags(record)
    if tags is None:
        return _fault(Diagnosis.POLICY_INVALID, "The record is not a list of tags such as v=DMARC1; p=none; Mend it.")
    policy = dict(tags).get("p")
    if policy is None:
        return _fault(Diagnosis.POLICY_INVALID, "The policy is missing: add p=none; (or p=quarantine; or p=reject;).")
    if policy.lower() not in DMARC_POLICIES:
        return _fault(
            Diagnosis.POLICY_INVALID, f"“{shown(policy)}” is no policy. Write p=none; or p=quarantine; or p=reject;"
        )
    return FITS


def inherited_policy(values: Sequence[str]) -> str:
    """The policy that an organizational domain's records set for its subdomains (RFC 7489, 6.3 and 6.6.3), as a tag; empty
    when there is none that is valid."""
    records = dmarc_records(values)
    if len(records) != 1 or not _read_policy(records[0]).fits:
        return ""
    tags = dict(parse_tags(records[0]) or [])
    name = "sp" if "sp" in tags else "p"
    return f"{name}={tags[name].lower()}" if tags[name].lower() in DMARC_POLICIES else ""


READERS: dict[str, Callable[[Case, Sequence[str]], Reading]] = {
    "ownership": _read_ownership,
    "dkim": _read_dkim,
    "dkim_next": _read_dkim,
    "dkim_old": _read_dkim,
    "return_path": _read_return_path,
    "dmarc": _read_dmarc,
    "dkim_ed25519": _read_dkim,
}
