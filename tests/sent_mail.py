"""Mail that was sent, made up by Hypothesis, and what filters mean, in plain Python: a model to hold searches to."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st

from accounts.ids import first_id_at, uuid7
from accounts.models import Organization
from domains.models import SendingDomain, SmtpUser
from events.models import Event
from relay.models import Door, Message, Recipient
from tests.factories import make_domain, make_smtp_user

ADDRESSES = ["bob@inbox.test", "Bob@inbox.test", "eve@inbox.test", "bob@bücher.test"]
SUBJECTS = ["", "Your receipt", "50% off_", "Grüße"]
TAGS = ["kind:news", "kind:receipt", "kind", "kinder:news", "a:b"]
STATES = ["submitted", "delivered", "bounced", "deferred", "held"]
OPEN_STATES = {"submitted", "deferred", "held"}
SENDERS = [  # of the envelope, and the header
    ("ada@acme.test", "Ada <ada@acme.test>"),
    ("bounces@acme.test", "ada@acme.test"),
    ("Lada@acme.test", '"ada@acme.test" <eve@bücher.test>'),
    ("eve@xn--bcher-kva.test", "eve@bücher.test"),
]
HOSTS = ["mx1.inbox.test", "mx2.inbox.test", "inbox.test", "mx.notinbox.test"]
OURS = "ours"  # the Message-ID that we make where there is none
NOT_STORED = UUID(int=0)


@dataclass
class Receiver:
    address: str
    state: str
    reason: str
    host: str | None  # of the exchanger that was tried, at 192.0.2.1


@dataclass
class Sent:
    ago: timedelta
    domain: int
    user: int | None
    subject: str
    tags: list[str]
    metadata: dict[str, str]
    sender: tuple[str, str]
    message_id: str
    recipients: list[Receiver]
    key: UUID = NOT_STORED


receivers = st.builds(
    Receiver,
    address=st.sampled_from(ADDRESSES),
    state=st.sampled_from(STATES),
    reason=st.sampled_from(["", "greylisted", "mailbox_full"]),
    host=st.none() | st.sampled_from(HOSTS),
)
sent = st.builds(
    Sent,
    ago=st.integers(0, 40 * 86_400_000).map(lambda ms: timedelta(milliseconds=ms)) | st.just(timedelta(0)),
    domain=st.integers(0, 1),
    user=st.none() | st.integers(0, 1),
    subject=st.sampled_from(SUBJECTS),
    tags=st.lists(st.sampled_from(TAGS), max_size=2, unique=True),
    metadata=st.dictionaries(st.sampled_from(["order", "a]b"]), st.sampled_from(["42", ""]), max_size=2),
    sender=st.sampled_from(SENDERS),
    message_id=st.sampled_from([OURS, "a1@app.test", "A1@app.test"]),
    recipients=st.lists(receivers, min_size=1, max_size=3),
    key=st.just(NOT_STORED),
)
# As GET /emails has them; domains and SMTP users are numbers, times how long ago they are.
queries = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([*STATES, "open", "in_doubt"]),
        "reason": st.sampled_from(["greylisted", "mailbox_full", "policy"]),
        "recipient": st.sampled_from(
            ["BOB@inbox.test", "eve@inbox.test", "bob@xn--bcher-kva.test", "no@one.test", "@inbox.test", "@Bücher.test"]
        ),
        "exchanger": st.sampled_from(["MX1.inbox.test", "inbox.test", "192.0.2.1", "192.0.2.9"]),
        "sender": st.sampled_from(
            ["ADA@acme.test", "eve@bücher.test", "@acme.test", "@xn--bcher-kva.test", "lad", "%"]
        ),
        "message_id": st.sampled_from(["a1@app.test", "<A1@app.test>", "none@app.test", OURS]),
        "domain": st.integers(0, 1),
        "smtp_user": st.integers(0, 1),
        "subject": st.sampled_from(["receipt", "%", "_", "GRÜ", "none such"]),
        "tag": st.lists(st.sampled_from([*TAGS, "none"]), min_size=1, max_size=2),
        "metadata[order]": st.sampled_from(["42", ""]),
        "metadata[a]b]": st.sampled_from(["42"]),
        "since": st.integers(0, 40 * 86_400).map(lambda s: timedelta(seconds=s)),
        "until": st.integers(0, 40 * 86_400).map(lambda s: timedelta(seconds=s)),
    },
)


def fits(message: Sent, query: dict[str, Any], now: datetime) -> bool:
    """What the parameters mean, in plain words."""
    moment = now - message.ago
    return (
        bool(wanted_of(message, query))
        and ("sender" not in query or _is_from(message, query["sender"]))
        and query.get("message_id", message.message_id).strip("<>") == message.message_id
        and query.get("domain", message.domain) == message.domain
        and query.get("smtp_user", message.user) == message.user
        and query.get("subject", "").lower() in message.subject.lower()
        and all(_is_tagged(message, tag) for tag in query.get("tag", []))
        and all(
            message.metadata.get(name.removeprefix("metadata[").removesuffix("]")) == value
            for name, value in query.items()
            if name.startswith("metadata")
        )
        and ("since" not in query or moment >= now - query["since"])
        and ("until" not in query or moment < now - query["until"])
    )


def wanted_of(message: Sent, query: dict[str, Any]) -> list[Receiver]:
    return [one for one in message.recipients if _is_wanted(one, query)]


def _is_wanted(one: Receiver, query: dict[str, Any]) -> bool:
    if "recipient" in query:
        wanted_local, wanted_domain = query["recipient"].lower().split("@")
        local, domain = one.address.lower().split("@")
        if a_label(domain) != a_label(wanted_domain) or wanted_local not in ("", local):
            return False
    if "exchanger" in query:
        host = query["exchanger"].lower()
        if one.host is None or (host not in {one.host, "192.0.2.1"} and not one.host.endswith(f".{host}")):
            return False
    if query.get("reason", one.reason) != one.reason:
        return False
    if query.get("state") == "open":
        return one.state in OPEN_STATES
    return bool(query.get("state", one.state) == one.state)


def _is_from(message: Sent, wanted: str) -> bool:
    texts, wanted = [text.lower() for text in message.sender], wanted.lower()
    if "@" not in wanted:
        return any(wanted in text for text in texts)
    local, _, domain = wanted.partition("@")
    addresses = [text.rpartition("<")[2].rstrip(">").split("@") for text in texts]
    return any(a_label(theirs) == a_label(domain) and local in ("", name) for name, theirs in addresses)


def _is_tagged(message: Sent, tag: str) -> bool:
    return tag in message.tags or (":" not in tag and any(one.startswith(f"{tag}:") for one in message.tags))


def a_label(domain: str) -> str:
    return domain.encode("idna").decode()


# ---- Storing it ------------------------------------------------------------------------------------------------------


@dataclass
class Stored:
    """An organization with this mail, beside another one with the same."""

    organization: Organization
    domains: list[SendingDomain]
    users: list[SmtpUser]
    now: datetime
    messages: list[Sent]

    def expected(self, query: dict[str, Any]) -> list[Sent]:
        """The newest first."""
        found = [one for one in self.messages if fits(one, query, self.now)]
        return sorted(found, key=lambda one: one.key.bytes, reverse=True)

    def of_ours(self, query: dict[str, Any]) -> dict[str, Any]:
        """With a Message-ID that we made, where the query wants one."""
        if query.get("message_id") != OURS:
            return query
        ours = [one.message_id for one in self.messages if one.message_id.endswith("@acme.test")]
        return query | {"message_id": ours[0] if ours else f"{uuid4()}@acme.test"}

    def parameters(self, query: dict[str, Any]) -> dict[str, Any]:
        """As a client writes them."""
        terms = dict(query)
        if "domain" in terms:
            terms["domain"] = self.domains[terms["domain"]].name
        if "smtp_user" in terms:
            terms["smtp_user"] = self.users[terms["smtp_user"]].address
        for name in {"since", "until"} & terms.keys():
            terms[name] = (self.now - terms[name]).isoformat()
        return terms


def stored(messages: list[Sent]) -> Stored:
    now = datetime.now(UTC).replace(microsecond=0)
    organization = Organization.objects.create(name="Acme")
    domains = [make_domain(organization, f"d{n}-{uuid4().hex[:8]}.test") for n in range(2)]
    users = [make_smtp_user(one) for one in domains]
    whole = Stored(organization, domains, users, now, messages)
    _store(whole)
    rival = Organization.objects.create(name="Rival")
    _store(Stored(rival, domains, users, now, deepcopy(messages)))
    return whole


def _store(whole: Stored) -> None:
    organization = whole.organization
    for message in whole.messages:
        moment = whole.now - message.ago
        message.key = _id_at(moment)
        if message.message_id == OURS:
            message.message_id = f"{message.key}@acme.test"
        Message.objects.create(
            id=message.key, organization=organization, domain_id=whole.domains[message.domain].pk, door=Door.SMTP,
            smtp_user_id=None if message.user is None else whole.users[message.user].pk,
            envelope_sender=message.sender[0], header_from=message.sender[1], subject=message.subject,
            message_id_header=message.message_id, size_bytes=1, recipient_count=len(message.recipients),
            tags=message.tags, metadata=message.metadata, submitted_at=moment,
        )  # fmt: skip
        for number, one in enumerate(message.recipients, 1):
            # Ids come after their message's, as `accept` makes them; events, perhaps days after it.
            recipient = Recipient.objects.create(
                id=UUID(int=message.key.int + number), message_id=message.key, organization=organization,
                address=one.address, destination=a_label(one.address.partition("@")[2]), state=one.state, expires_at=moment,
                next_attempt_at=moment if one.state in OPEN_STATES else None, state_at=moment, reason=one.reason,
            )  # fmt: skip
            if one.host:
                Event.objects.create(
                    id=_id_at(moment + timedelta(days=number - 1)), organization=organization, message_id=message.key,
                    recipient_id=recipient.pk, address=one.address, type="deferred", occurred_at=moment,
                    detail={"exchanger": {"host": one.host, "address": "192.0.2.1", "port": 25}},
                )  # fmt: skip


def _id_at(moment: datetime) -> UUID:
    return UUID(int=first_id_at(moment).int | (uuid7().int & ((1 << 80) - 1)))
