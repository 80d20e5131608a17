"""What somebody asks of the message list: the parameters of its address, and what is typed in its one search field. No I/O.

`q` is what was typed. It is taken apart into the other parameters (`from:ada@acme.test`, `tag:receipt`, an address, an id),
which are what stays in the address; `relay.finding.naming` makes a search of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django.http import QueryDict

from events.reasons import REASONS
from relay.finding.filters import OPEN, RecipientFilter, as_uuid, read_filter
from relay.models import RecipientState
from relay.submission.addresses import parse_address
from relay.submission.options import METADATA_KEY_LENGTH, METADATA_VALUE_LENGTH, MOST_TAGS, TAG_WORD

LONGEST_TYPED = 1000
STATE_WORDS = {OPEN: "in the queue"} | {state.value: str(state.label).lower() for state in RecipientState}
PERIODS = {"1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days"}
_PERIOD = re.compile(r"([1-9]\d{0,2})([hd])")
_TAG = re.compile(rf"{TAG_WORD}(:{TAG_WORD})?")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
# A term of what is typed: `name:value`, where quotes hold a value together that has white space, or a word.
_TERM = re.compile(r'(?:([A-Za-z][\w-]*):)?("[^"]*"?|<[^<>\s]+>|[^\s"]+)')


@dataclass(frozen=True, slots=True)
class Part:
    """A parameter. `clean` gives the form that stays, empty for what means nothing; `typed`: its names in the search field."""

    name: str
    label: str
    clean: Callable[[str], str]
    typed: tuple[str, ...]
    most: int = 1


def _text(longest: int) -> Callable[[str], str]:
    return lambda text: text[:longest]


def _id(text: str) -> str:
    return str(as_uuid(text) or "")


def _tag(text: str) -> str:
    return text if _TAG.fullmatch(text) else ""


def _metadata(text: str) -> str:
    key, equals, value = text.partition("=")
    is_one = (
        equals and 0 < len(key) <= METADATA_KEY_LENGTH and len(value) <= METADATA_VALUE_LENGTH and key.isprintable()
    )
    return text if is_one else ""


def _state(text: str) -> str:
    word = text.lower().replace(" ", "_")
    return word if word in STATE_WORDS else ""


def _reason(text: str) -> str:
    word = text.lower().replace(" ", "_")
    return word if word in REASONS else ""


def _period(text: str) -> str:
    return text.lower() if _PERIOD.fullmatch(text.lower()) else ""


def _moment(text: str) -> str:
    """A day or a minute, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    if moment.tzinfo:
        moment = moment.astimezone(UTC)
    return moment.date().isoformat() if len(text) == 10 else moment.strftime("%Y-%m-%dT%H:%M")


PARTS = {
    part.name: part
    for part in [
        Part("id", "Id", _id, ("id",)),
        Part("recipient", "Recipient", _text(254), ("to", "recipient")),
        Part("sender", "Sender", _text(254), ("from", "sender")),
        Part("subject", "Subject", _text(200), ("subject",)),
        Part("message_id", "Message-ID", lambda text: text.strip("<>")[:998], ("message-id", "message_id", "msgid")),
        Part("state", "State", _state, ("state", "is")),
        Part("reason", "Reason", _reason, ("reason",)),
        Part("exchanger", "Exchanger", lambda text: text.lower().rstrip(".")[:253], ("exchanger", "mx")),
        Part("domain", "Sending domain", _text(253), ("domain",)),
        Part("smtp_user", "SMTP user", _text(320), ("user", "smtp-user", "smtp_user")),
        Part("api_key", "API key", _text(120), ("key", "api-key", "api_key")),
        Part("tag", "Tag", _tag, ("tag",), MOST_TAGS),
        Part("metadata", "Metadata", _metadata, ("meta", "metadata"), 10),
        Part("last", "Submitted", _period, ("last",)),
        Part("since", "From", _moment, ("since", "after")),
        Part("until", "Until", _moment, ("until", "before")),
    ]
}
_BY_TYPED = {typed: part for part in PARTS.values() for typed in part.typed}
OF_RECIPIENTS = frozenset({"recipient", "state", "reason"})  # what acts on all that match go by


@dataclass(frozen=True, slots=True)
class Chip:
    """A part that narrows, and the address of the list without it."""

    label: str
    words: str
    without: str


@dataclass(frozen=True, slots=True)
class Asked:
    """`values`: pairs of a part's name and a value, in the order of PARTS. `unread`: what was typed and means nothing."""

    values: tuple[tuple[str, str], ...] = ()
    unread: str = ""

    @classmethod
    def read(cls, query: QueryDict) -> Asked:
        """From an address. What is typed wins over what else is chosen."""
        chosen: dict[str, list[str]] = {}
        for name, part in PARTS.items():
            values = [value for given in query.getlist(name) for value in _split(name, given)]
            values = list(dict.fromkeys(filter(None, (_cleaned(part, value) for value in values))))
            if values:
                chosen[name] = values[: part.most]
        typed, unread = _take_apart(query.get("q", ""))
        for name, values in typed.items():
            kept = chosen.get(name, []) if PARTS[name].most > 1 else []
            chosen[name] = list(dict.fromkeys([*kept, *values]))[: PARTS[name].most]
        if "q" not in query:
            unread = query.get("unread", "")[:LONGEST_TYPED]
        return cls(tuple((name, value) for name in PARTS for value in chosen.get(name, ())), unread)

    @classmethod
    def parse(cls, query: str) -> Asked:
        """From what `query` gave."""
        return cls.read(QueryDict(query))

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def query(self) -> str:
        """As it stands in the list's address."""
        return urlencode([*self.values, *([("unread", self.unread)] if self.unread else [])])

    @property
    def only(self) -> dict[str, str]:
        """Of parts that can be given once."""
        return {name: value for name, value in self.values if PARTS[name].most == 1}

    def all_of(self, name: str) -> list[str]:
        return [value for one, value in self.values if one == name]

    @property
    def tags(self) -> str:
        return " ".join(self.all_of("tag"))

    @property
    def metadata(self) -> list[str]:
        return self.all_of("metadata")

    @property
    def is_of_recipients(self) -> bool:
        """Whether acts on all that match may go by it: it asks about recipients alone, and all of it was understood."""
        return bool(self.values) and not self.unread and OF_RECIPIENTS.issuperset(name for name, _ in self.values)

    @property
    def recipients(self) -> RecipientFilter:
        only = self.only
        return read_filter(
            only.get("state", ""),
            only.get("recipient", ""),
            reason=only.get("reason", ""),
            exchanger=only.get("exchanger", ""),
        )

    def between(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """From when on, and until when, messages were submitted. A day as the end is in it."""
        only = self.only
        since = datetime.fromisoformat(only["since"]).replace(tzinfo=UTC) if "since" in only else None
        until = datetime.fromisoformat(only["until"]).replace(tzinfo=UTC) if "until" in only else None
        if until and len(only["until"]) == 10:
            until = until + timedelta(days=1) if until.year < 9999 else None
        if "last" in only and (found := _PERIOD.fullmatch(only["last"])):
            begin = now - int(found[1]) * _UNITS[found[2]]
            since = max(since, begin) if since else begin
        return since, until

    @property
    def since_field(self) -> str:
        """As a field for a day and a time has it."""
        since = self.only.get("since", "")
        return f"{since}T00:00" if len(since) == 10 else since

    @property
    def until_field(self) -> str:
        until = self.between(datetime.now(UTC))[1]
        return until.strftime("%Y-%m-%dT%H:%M") if until else ""

    def replaced(self, name: str, by: str) -> str:
        """The address where what is asked of one part is asked of another."""
        value = self.only.get(name, "")
        return Asked(tuple(_in_order([*(pair for pair in self.values if pair[0] != name), (by, value)]))).query

    @property
    def narrower(self) -> list[tuple[str, str]]:
        """The same, in less time: in words, and the list's address."""
        if {"last", "since", "until"} & self.only.keys():
            return []
        return [
            (f"In the {PERIODS[period]}", Asked(tuple(_in_order([*self.values, ("last", period)]))).query)
            for period in ("24h", "7d")
        ]

    def chips(self) -> Iterator[Chip]:
        for number, (name, value) in enumerate(self.values):
            rest = Asked(self.values[:number] + self.values[number + 1 :], self.unread)
            yield Chip(PARTS[name].label, in_words(name, value), rest.query)


def in_words(name: str, value: str) -> str:
    match name:
        case "state":
            return STATE_WORDS[value]
        case "reason":
            return REASONS[value].title
        case "last":
            return PERIODS.get(value) or _period_in_words(value)
        case "since" | "until":
            return f"{value.replace('T', ' ')} UTC" if "T" in value else value
        case _:
            return value


def in_a_sentence(values: Iterable[tuple[str, str]]) -> str:
    """For those who read what was asked elsewhere, such as of an export."""
    told = [f"{PARTS[name].label.lower()} {in_words(name, value)}" for name, value in values]
    return ", ".join(told)


def _period_in_words(value: str) -> str:
    number, unit = int(value[:-1]), {"h": "hour", "d": "day"}[value[-1]]
    return f"last {number} {unit}s" if number > 1 else f"last {unit}"


def _in_order(values: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    order = list(PARTS)
    return sorted(values, key=lambda pair: order.index(pair[0]))


def _split(name: str, given: str) -> list[str]:
    return re.split(r"[\s,]+", given) if name == "tag" else [given]


def _cleaned(part: Part, value: str) -> str:
    return part.clean(value.replace("\0", "").strip())


def elsewhere(asked: Asked) -> list[tuple[str, str]]:
    """Where else to look when nothing was found: in words, and the list's address."""
    only, found = asked.only, []
    if "recipient" in only:
        found.append((f"Look for {only['recipient']} as the sender", asked.replaced("recipient", "sender")))
        if parse_address(only["recipient"]):
            found.append(("Look for it as a Message-ID", asked.replaced("recipient", "message_id")))
        elif not only["recipient"].startswith("@"):
            found.append((f"Look for “{only['recipient']}” in subjects", asked.replaced("recipient", "subject")))
    elif "message_id" in only:
        found.append(("Look for it as a recipient", asked.replaced("message_id", "recipient")))
    elif "sender" in only:
        found.append(("Look for it as a recipient", asked.replaced("sender", "recipient")))
    return found


# ---- The search field ------------------------------------------------------------------------------------------------


def _take_apart(typed: str) -> tuple[dict[str, list[str]], str]:
    """Values by part, and the terms that mean nothing. Words of which nothing else can be made are a part of a recipient's
    address; several, or what stands in quotes, one of a subject."""
    found: dict[str, list[str]] = {}
    unread: list[str] = []
    words: list[str] = []
    has_quotes = False
    for term in _TERM.finditer(typed.replace("\0", "")[:LONGEST_TYPED]):
        name, value = (term[1] or "").lower(), term[2].strip('"').strip()
        part = _BY_TYPED.get(name)
        if part is None:
            whole = f"{term[1]}:{value}" if term[1] else value
            part, value = _recognised(whole)
            if part is None:
                has_quotes = has_quotes or term[2].startswith('"')
                words += [whole] if whole else []
                continue
        cleaned = _cleaned(part, value)
        if cleaned and len(found.get(part.name, ())) < part.most:
            found.setdefault(part.name, []).append(cleaned)
        else:
            unread.append(term[0])
    if words:
        name = "subject" if has_quotes or len(words) > 1 else "recipient"
        if name in found:
            unread += words
        else:
            found[name] = [_cleaned(PARTS[name], " ".join(words))]
    return found, " ".join(unread)


def _recognised(word: str) -> tuple[Part | None, str]:
    """Of a word by itself: what its form says it is."""
    if as_uuid(word):
        return PARTS["id"], word
    if word.startswith("<") and word.endswith(">") and "@" in word:
        return PARTS["message_id"], word
    if (own := word.partition("@"))[1] and as_uuid(own[0]):
        return PARTS["message_id"], word  # as we make them
    if word.startswith("@") or parse_address(word):
        return PARTS["recipient"], word
    return None, word
