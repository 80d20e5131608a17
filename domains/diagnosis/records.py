"""Compares the values at a record's name with the one asked for: does one fit, and if not, what happened to it. No I/O.

Everything here is fed with what strangers publish: the work grows with the length of a value, never with its square.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from domains.diagnosis.case import FITS, Case, Reading, fault
from domains.diagnosis.dkim_record import WHITE_SPACE, parse_tags, read_dkim
from domains.diagnosis.table import Diagnosis
from domains.diagnosis.texts import BACKSLASHES, LETTERS, QUOTES, shown, solid, spaces_in, spoilt, unquoted
from domains.records import (
    OWNERSHIP_PREFIX,
)


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


# ---- Ownership -------------------------------------------------------------------------------------------------------


def _read_ownership(case: Case, values: Sequence[str]) -> Reading:
    """Other TXT records may stand beside ours."""
    expected = case.record.value
    stripped = [value.strip() for value in values]
    if expected in stripped:
        return FITS
    for value in stripped:
        if found := spoilt(value, expected):
            return found
    for value in stripped:
        if value.startswith(OWNERSHIP_PREFIX):
            return fault(Diagnosis.WRONG_TOKEN, _other_token(value, case))
    return fault(
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
        return fault(
            Diagnosis.SEVERAL_RECORDS,
            f"There are {len(targets)} CNAME records at {case.record.name}, and only one may be. Keep the one to {expected}.",
        )
    target = targets.pop()
    if target.startswith(expected + "."):
        return fault(
            Diagnosis.DOMAIN_APPENDED_TO_TARGET,
            f"The domain was added to the target, which is now {shown(target)}. Type the target {case.at} with a dot at its "
            f"end: {expected}.",
        )
    plain = _without_escapes(target)
    if plain != target and solid(unquoted(plain)) == expected:
        if solid(plain) == expected:
            return fault(Diagnosis.SPACES_IN_VALUE, spaces_in(plain))
        return fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    return fault(
        Diagnosis.OTHER_TARGET,
        f"The CNAME points to {shown(target)}. Point it to {expected}: edit the record {case.typed} {case.at}.",
    )


ESCAPE = re.compile(r"\\(?:(\d{3})|(.))")  # RFC 1035, 5.1: how a name is written that holds odd characters


def _without_escapes(target: str) -> str:
    return ESCAPE.sub(lambda found: chr(int(found[1])) if found[1] else found[2], target)


def host_name(text: str) -> str:
    return text.strip().rstrip(".").lower()


# ---- DMARC -----------------------------------------------------------------------------------------------------------

# RFC 7489, 6.4: dmarc-version = "v" *WSP "=" *WSP "DMARC1" in exactly these letters, then dmarc-sep.
DMARC_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(;|$)")
DMARC_POLICIES = {"none", "quarantine", "reject"}


def _read_dmarc(case: Case, values: Sequence[str]) -> Reading:
    """Any valid policy will do; TXT records that are no DMARC record do not count (RFC 7489, 6.6.3, step 2)."""
    records = dmarc_records(values)
    if len(records) > 1:
        # RFC 7489, 6.6.3, step 5: with more than one record receivers apply none.
        return fault(
            Diagnosis.SEVERAL_RECORDS,
            f"There are {len(records)} DMARC records at {case.record.name}; receivers then apply none. Keep one.",
        )
    if not records:
        if any(DMARC_VERSION.match(unquoted(value)) for value in values):
            return fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
        if any(DMARC_VERSION.match(value.replace("\\", "").strip(WHITE_SPACE)) for value in values):
            return fault(Diagnosis.BACKSLASHES_IN_VALUE, BACKSLASHES)
        if any(re.match(DMARC_VERSION.pattern, value.strip(WHITE_SPACE), re.IGNORECASE) for value in values):
            return fault(Diagnosis.LETTERS_CHANGED, LETTERS)
        return fault(Diagnosis.NOT_DMARC, f"The record must begin with v=DMARC1, for example: {case.record.value}")
    return _read_policy(records[0])


def dmarc_records(values: Sequence[str]) -> list[str]:
    return [value for value in values if DMARC_VERSION.match(value.strip(WHITE_SPACE))]


def _read_policy(record: str) -> Reading:
    tags = parse_tags(record)
    if tags is None:
        return fault(Diagnosis.POLICY_INVALID, "The record is not a list of tags such as v=DMARC1; p=none; Mend it.")
    policy = dict(tags).get("p")
    if policy is None:
        return fault(Diagnosis.POLICY_INVALID, "The policy is missing: add p=none; (or p=quarantine; or p=reject;).")
    if policy.lower() not in DMARC_POLICIES:
        return fault(
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
    "dkim": read_dkim,
    "dkim_next": read_dkim,
    "dkim_old": read_dkim,
    "return_path": _read_return_path,
    "dmarc": _read_dmarc,
    "dkim_ed25519": read_dkim,
}
