"""The DNS records that prove a domain, and the judgement of what DNS holds in their place. No I/O.

`expected_records` says what to publish; `judge` compares it with the answers that `domains.verification` brought.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from django.conf import settings

if TYPE_CHECKING:
    from domains.models import DkimKey, SendingDomain

OWNERSHIP_LABEL = "_plugsend"
OWNERSHIP_PREFIX = "plugsend-verification="
RETURN_PATH_LABEL = "psrp"

Status = Literal["found", "missing", "different", "unreachable"]  # as in domains.models.RecordStatus


@dataclass(frozen=True, slots=True)
class ExpectedRecord:
    """`purpose` as in domains.models.RecordPurpose; `type` TXT or CNAME; names absolute, without the final dot."""

    purpose: str
    type: str
    name: str
    value: str
    required: bool = True
    dkim_key: DkimKey | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """How strongly a record that is not required is asked for, and why."""

    word: str
    why: str


# By the state of the key that the record carries.
RSA_PURPOSES = {"active": "dkim", "waiting": "dkim_next", "retiring": "dkim_old"}
ED25519_PURPOSES = {"active": "dkim_ed25519", "waiting": "dkim_ed25519", "retiring": "dkim_old"}

# By purpose; all others are required.
ADVICE = {
    "dkim_next": Advice(
        "recommended",
        "Keys are replaced now and then. With this record in place the next one takes over without a visit to your DNS.",
    ),
    "dkim_old": Advice(
        "keep for now",
        "This key was replaced, but mail that it signed may still be on its way: leave its record in place.",
    ),
    "dmarc": Advice(
        "recommended",
        "Gmail and Yahoo ask bulk senders for a DMARC policy. p=none leaves the handling of your mail as it is.",
    ),
    "dkim_ed25519": Advice(
        "optional",
        "With this record each message gets a second, Ed25519 signature (RFC 8463). Few receivers read it yet; the RSA "
        "signature stays on every message.",
    ),
}


class AskedRecord(Protocol):
    """What `judge` reads of a record: an `ExpectedRecord`, or its row in the database."""

    @property
    def purpose(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Answers:
    """What DNS holds at a record's name, and at the places where records end up by mistake.

    `values`: of the record's own type; a TXT's strings joined (RFC 7208, 3.3, and RFC 6376, 3.6.2.2), a CNAME's target
    without the final dot. `failure`: not empty when DNS gave no answer, in words. `other_type`: TXT values where a
    CNAME is wanted, the CNAME's target where a TXT is wanted. `doubled_name` and `doubled`: the name with the domain
    appended twice, and the values there.
    """

    values: tuple[str, ...] = ()
    failure: str = ""
    other_type: tuple[str, ...] = ()
    doubled_name: str = ""
    doubled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`found`: the values that DNS holds. `explanation`: what is wrong and what to do; empty when all is well."""

    status: Status
    found: tuple[str, ...] = ()
    explanation: str = ""


def expected_records(domain: SendingDomain, keys: Sequence[DkimKey]) -> list[ExpectedRecord]:
    """The records to ask for, in the order in which a page lists them. `keys`: those of the domain that are not retired."""
    name = domain.name
    rsa = [key_record(domain, key) for key in keys if key.algorithm == "rsa-sha256"]
    ed25519 = [key_record(domain, key) for key in keys if key.algorithm != "rsa-sha256"]
    return [
        ExpectedRecord("ownership", "TXT", f"{OWNERSHIP_LABEL}.{name}", OWNERSHIP_PREFIX + domain.ownership_token),
        *rsa,
        ExpectedRecord("return_path", "CNAME", f"{RETURN_PATH_LABEL}.{name}", settings.RETURN_PATH_TARGET),
        ExpectedRecord("dmarc", "TXT", f"_dmarc.{name}", dmarc_suggestion(name), required=False),
        *ed25519,
    ]


def key_record(domain: SendingDomain, key: DkimKey) -> ExpectedRecord:
    """RFC 6376, 3.6.1; RFC 8463, 4. Required is the one of the RSA key that signs."""
    is_rsa = key.algorithm == "rsa-sha256"
    purpose = (RSA_PURPOSES if is_rsa else ED25519_PURPOSES)[key.state]
    return ExpectedRecord(
        purpose,
        "TXT",
        f"{key.selector}._domainkey.{domain.name}",
        f"v=DKIM1; k={'rsa' if is_rsa else 'ed25519'}; p={key.public_key}",
        required=purpose == "dkim",
        dkim_key=key,
    )


def dmarc_suggestion(name: str) -> str:
    """Reports go to the address that every domain has (RFC 5321, 4.5.1)."""
    return f"v=DMARC1; p=none; rua=mailto:postmaster@{name}"


def judge(record: AskedRecord, answers: Answers) -> Verdict:
    """Compares what DNS holds with what was asked for."""
    if answers.failure:
        return Verdict("unreachable", (), f"{answers.failure} We ask again; nothing changes until DNS answers.")
    if not answers.values:
        return _missing(record, answers)
    return JUDGES[record.purpose](record.value, answers.values)


# ---- Missing ---------------------------------------------------------------------------------------------------------


def _missing(record: AskedRecord, answers: Answers) -> Verdict:
    if answers.doubled and JUDGES[record.purpose](record.value, answers.doubled).status == "found":
        label = record.name.removesuffix(answers.doubled_name.removeprefix(record.name))
        return Verdict(
            "missing",
            (),
            f"The record is at {answers.doubled_name}: your DNS provider adds the domain to the name by itself. "
            f"Type {label} as the name there.",
        )
    if record.type == "CNAME" and _host(record.value) in {_host(text) for text in answers.other_type}:
        return Verdict(
            "different",
            answers.other_type,
            f"There is a TXT record at {record.name} where a CNAME is needed. Replace it: type CNAME, the same value.",
        )
    if record.type == "TXT" and answers.other_type:
        return Verdict(
            "different",
            answers.other_type,
            f"{record.name} is a CNAME, and what it points to holds no TXT record. "
            "Remove the CNAME and add the TXT record.",
        )
    return Verdict(
        "missing",
        (),
        f"There is no {record.type} record at {record.name} yet. New records can take from minutes to hours to show.",
    )


# ---- Ownership -------------------------------------------------------------------------------------------------------


def judge_ownership(expected: str, values: tuple[str, ...]) -> Verdict:
    """Other TXT records may stand beside ours."""
    stripped = [value.strip() for value in values]
    if expected in stripped:
        return Verdict("found", values)
    if any(_unquoted(value) == expected for value in stripped):
        return Verdict("different", values, QUOTES)
    if any(value.startswith(OWNERSHIP_PREFIX) for value in stripped):
        return Verdict(
            "different",
            values,
            "The token is another one, perhaps of another account or of an earlier try. Replace it by the value shown.",
        )
    return Verdict("different", values, "There is a TXT record with another text. Add one with the value shown.")


QUOTES = "The value holds quotation marks as part of the text. Remove them: DNS forms add their own."


# ---- Return path -----------------------------------------------------------------------------------------------------


def judge_return_path(expected: str, values: tuple[str, ...]) -> Verdict:
    """Names compare without regard to case and to the final dot (RFC 4343; RFC 1034, 3.1)."""
    targets = {_host(value) for value in values}
    if targets == {_host(expected)}:
        return Verdict("found", values)
    if any(target.startswith(_host(expected) + ".") for target in targets):
        return Verdict(
            "different",
            values,
            f"Your DNS provider added the domain to the target. Type the target with a dot at its end: {expected}.",
        )
    return Verdict("different", values, f"The CNAME points elsewhere. Point it to {expected}.")


# ---- DKIM ------------------------------------------------------------------------------------------------------------

Tags = list[tuple[str, str]]

LONGEST_STRING = 255  # octets; RFC 1035, 3.3
# RFC 6376, 3.2: tag-name = ALPHA *ALNUMPUNC; white space may stand around the name, the "=" and the value.
TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=\s*(.*?)\s*", re.DOTALL)


def parse_tags(text: str) -> Tags | None:
    """A tag=value list (RFC 6376, 3.2) in its order; None when it is none, or when a tag occurs twice."""
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()  # the list may end in a semicolon
    matches = [TAG.fullmatch(part) for part in parts]
    if not matches or not all(matches):
        return None
    tags = [(match[1], match[2]) for match in matches if match]
    return tags if len({name for name, _ in tags}) == len(tags) else None


def judge_dkim(expected: str, values: tuple[str, ...]) -> Verdict:
    """One TXT record that carries our key. Only the key and what would disable it count, not the spelling."""
    if len(values) > 1:
        # RFC 6376, 3.6.2.2: with several records at the name the result is undefined.
        return Verdict(
            "different", values, f"There are {len(values)} TXT records at this name. Keep one, with the value shown."
        )
    asked = parse_tags(expected) or []
    explanation = _dkim_fault(values[0].strip(), _key_of(asked), dict(asked).get("k", "rsa"))
    if explanation:
        return Verdict("different", values, explanation)
    return Verdict("found", values, _dkim_warning(dict(parse_tags(values[0].strip()) or [])))


def _dkim_fault(value: str, key: str, kind: str) -> str:
    if value != _unquoted(value) and not _dkim_fault(_unquoted(value), key, kind):
        return QUOTES
    if "\\;" in value:
        return f"There are backslashes before the semicolons. Remove them: write v=DKIM1; k={kind}; p=…"
    tags = parse_tags(value)
    if tags is None:
        return f"This is no DKIM record: it is made of tags such as v=DKIM1; k={kind}; p=… Copy the whole value shown."
    by_name = dict(tags)
    # RFC 6376, 3.6.1: v= is optional; when there, it is the first tag and reads exactly DKIM1.
    if "v" in by_name and tags[0] != ("v", "DKIM1"):
        return "The record must begin with v=DKIM1. Copy the whole value shown."
    if "p" not in by_name:
        return "The key is missing (the tag p=). Copy the whole value shown."
    return _key_fault(_key_of(tags), key) or _use_fault(by_name, kind)


def _key_fault(found: str, key: str) -> str:
    if found == key:
        return ""
    if not found:
        return "The key is empty, which means that it was revoked (RFC 6376, 3.6.1). Copy the whole value shown."
    if key.startswith(found):
        cut = f"The key is cut off: {len(found)} of its {len(key)} characters are there."
        if len(key) < LONGEST_STRING:
            return f"{cut} Copy the whole value shown."
        return (
            f"{cut} If your DNS form takes no more than {LONGEST_STRING} characters, split the value into several quoted "
            "strings of one record."
        )
    return "The record holds another key. Replace the value by the one shown."


def _use_fault(tags: dict[str, str], kind: str) -> str:
    """RFC 6376, 3.6.1: k= the key type, RSA when it is not there; h= the hashes allowed, s= the services allowed."""
    if tags.get("k", "rsa") != kind:
        if "k" not in tags:
            return f"The kind of key is missing: add the tag k={kind}."
        return f"The tag k={tags['k']} names another kind of key. Ours is k={kind}."
    if "h" in tags and "sha256" not in _items(tags["h"]):
        return f"The tag h={tags['h']} forbids SHA-256, with which we sign. Remove it."
    if "s" in tags and not {"*", "email"} & set(_items(tags["s"])):
        return f"The tag s={tags['s']} forbids the key's use for e-mail. Remove it."
    return ""


def _dkim_warning(tags: dict[str, str]) -> str:
    if "y" in _items(tags.get("t", "")):
        return "The tag t=y declares a test: receivers may ignore the signature. Remove it when you are ready."
    return ""


def _key_of(tags: Tags) -> str:
    return "".join(dict(tags).get("p", "").split())  # RFC 6376, 3.2: white space inside base64 is ignored


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(":")]


# ---- DMARC -----------------------------------------------------------------------------------------------------------

# RFC 7489, 6.4: dmarc-version = "v" *WSP "=" *WSP "DMARC1" in exactly these letters, then dmarc-sep.
DMARC_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(;|$)")
DMARC_POLICIES = {"none", "quarantine", "reject"}


def judge_dmarc(expected: str, values: tuple[str, ...]) -> Verdict:
    """Any valid policy will do; TXT records that are no DMARC record do not count (RFC 7489, 6.6.3, step 2)."""
    records = [value for value in values if DMARC_VERSION.match(value.strip())]
    if len(records) > 1:
        # RFC 7489, 6.6.3, step 5: with more than one record receivers apply none.
        return Verdict(
            "different", values, f"There are {len(records)} DMARC records; receivers then apply none. Keep one."
        )
    if not records:
        quoted = any(DMARC_VERSION.match(_unquoted(value.strip())) for value in values)
        explanation = QUOTES if quoted else f"The record must begin with v=DMARC1; for example {expected}"
        return Verdict("different", values, explanation)
    return _judge_policy(records[0], values)


def _judge_policy(record: str, values: tuple[str, ...]) -> Verdict:
    tags = parse_tags(record)
    if tags is None:
        return Verdict("different", values, "The record is not a list of tags such as v=DMARC1; p=none; Mend it.")
    policy = dict(tags).get("p")
    if policy is None:
        return Verdict("different", values, "The policy is missing: add p=none; (or p=quarantine; or p=reject;).")
    if policy.lower() not in DMARC_POLICIES:
        return Verdict("different", values, f"“{policy}” is no policy. Write p=none; or p=quarantine; or p=reject;")
    return Verdict("found", values)


# ---- Small things ----------------------------------------------------------------------------------------------------

JUDGES: dict[str, Callable[[str, tuple[str, ...]], Verdict]] = {
    "ownership": judge_ownership,
    "dkim": judge_dkim,
    "dkim_next": judge_dkim,
    "dkim_old": judge_dkim,
    "return_path": judge_return_path,
    "dmarc": judge_dmarc,
    "dkim_ed25519": judge_dkim,
}


def _host(text: str) -> str:
    return text.strip().rstrip(".").lower()


def _unquoted(text: str) -> str:
    """Without the quotation marks of a zone file that ended up inside the text, joined where they split it."""
    return re.sub(r'"\s*"', "", text).strip("\"“”'").strip()
