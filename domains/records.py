"""The DNS records that prove a domain: what to publish. No I/O.

`domains.dns.asking` looks for them, `domains.diagnosis.judge` judges what DNS holds in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from django.conf import settings

if TYPE_CHECKING:
    from domains.models import DkimKey, SendingDomain

OWNERSHIP_LABEL = "_plugsend"
OWNERSHIP_PREFIX = "plugsend-verification="
RETURN_PATH_LABEL = "psrp"
DMARC_LABEL = "_dmarc"  # RFC 7489, 6.1
DOMAINKEY_LABEL = "_domainkey"  # RFC 6376, 3.6.2.1


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
    """What is read of a record to judge it: an `ExpectedRecord`, or its row in the database."""

    @property
    def purpose(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...


def expected_records(domain: SendingDomain, keys: Sequence[DkimKey]) -> list[ExpectedRecord]:
    """The records to ask for, in the order in which a page lists them. `keys`: those of the domain that are not retired."""
    name = domain.name
    rsa = [key_record(domain, key) for key in keys if key.algorithm == "rsa-sha256"]
    ed25519 = [key_record(domain, key) for key in keys if key.algorithm != "rsa-sha256"]
    return [
        ExpectedRecord("ownership", "TXT", f"{OWNERSHIP_LABEL}.{name}", OWNERSHIP_PREFIX + domain.ownership_token),
        *rsa,
        ExpectedRecord("return_path", "CNAME", f"{RETURN_PATH_LABEL}.{name}", settings.RETURN_PATH_TARGET),
        ExpectedRecord("dmarc", "TXT", f"{DMARC_LABEL}.{name}", dmarc_suggestion(name), required=False),
        *ed25519,
    ]


def key_record(domain: SendingDomain, key: DkimKey) -> ExpectedRecord:
    """RFC 6376, 3.6.1; RFC 8463, 4. Required is the one of the RSA key that signs."""
    is_rsa = key.algorithm == "rsa-sha256"
    purpose = (RSA_PURPOSES if is_rsa else ED25519_PURPOSES)[key.state]
    return ExpectedRecord(
        purpose,
        "TXT",
        f"{key.selector}.{DOMAINKEY_LABEL}.{domain.name}",
        f"v=DKIM1; k={'rsa' if is_rsa else 'ed25519'}; p={key.public_key}",
        required=purpose == "dkim",
        dkim_key=key,
    )


def dmarc_suggestion(name: str) -> str:
    """Reports go to the address that every domain has (RFC 5321, 4.5.1)."""
    return f"v=DMARC1; p=none; rua=mailto:postmaster@{name}"
