"""Our template of Domain Connect 2.3: which records a DNS host is to add, and what it asks us for. No I/O.

Terms are those of the specification (github.com/Domain-Connect/spec; draft-ietf-dconn-domainconnect): the *DNS provider* is
who hosts a zone, the *service provider* is us.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings

from domains.models import DkimAlgorithm, DnsRecord, RecordPurpose
from domains.records import OWNERSHIP_LABEL, OWNERSHIP_PREFIX, RETURN_PATH_LABEL, dmarc_suggestion

DISCOVERY_LABEL = "_domainconnect"
SERVICE_ID = "sending"
TTL_S = 3600
PUBLIC_KEY_LABEL = "_dcpubkeyv1"
KEY_PART_CHARACTERS = 220  # with what stands before it, less than the 255 octets of one string of a TXT record

# Groups: what can be applied without the rest. In each apply all that are wanted are named.
DOMAIN_GROUP, DMARC_GROUP = "domain", "dmarc"


@dataclass(frozen=True, slots=True)
class KeySlot:
    """A place for a DKIM key. Of keys that are replaced in turn there are up to three: that signs, the next, and the former."""

    group: str
    algorithm: DkimAlgorithm

    @property
    def selector(self) -> str:
        return f"{self.group}selector"

    @property
    def key(self) -> str:
        return f"{self.group}key"

    @property
    def data(self) -> str:
        """The record's text before the key (RFC 6376, 3.6.1; RFC 8463, 4)."""
        return f"v=DKIM1; k={'rsa' if self.algorithm == DkimAlgorithm.RSA else 'ed25519'}; p="


KEY_SLOTS = (
    KeySlot("dkim1", DkimAlgorithm.RSA),
    KeySlot("dkim2", DkimAlgorithm.RSA),
    KeySlot("dkim3", DkimAlgorithm.RSA),
    KeySlot("ed1", DkimAlgorithm.ED25519),
    KeySlot("ed2", DkimAlgorithm.ED25519),
)
_TURN = [RecordPurpose.DKIM, RecordPurpose.DKIM_NEXT, RecordPurpose.DKIM_ED25519, RecordPurpose.DKIM_OLD]


def provider_id() -> str:
    """Ours, as a service provider: the platform's own domain, where the public key is published too."""
    return settings.SYSTEM_DOMAIN.rstrip(".").lower()


def template() -> dict[str, Any]:
    """The template as DNS hosts take it in (specification, "Template Definition").

    What can be fixed is fixed, and each variable stands behind a fixed beginning, so that a forged link could do little even
    without the signature that `syncPubKeyDomain` demands.
    """
    return {
        "providerId": provider_id(),
        "providerName": "PlugSend",
        "serviceId": SERVICE_ID,
        "serviceName": "Email sending",
        "version": 1,
        "description": "Lets PlugSend send email from a domain: ownership, return path (SPF), DKIM keys, and a DMARC "
        "policy where there is none. Name the groups to apply: dmarc is left out where a policy exists.",
        "variableDescription": "token: shows that the domain belongs to the account. <group>selector, <group>key: selector "
        "and public key of a DKIM key.",
        "syncPubKeyDomain": provider_id(),
        "syncRedirectDomain": urlsplit(settings.WEB_URL).hostname or "",
        "records": [
            _text(DOMAIN_GROUP, OWNERSHIP_LABEL, f"{OWNERSHIP_PREFIX}%token%", prefix=OWNERSHIP_PREFIX),
            {
                "type": "CNAME",
                "groupId": DOMAIN_GROUP,
                "host": RETURN_PATH_LABEL,
                "pointsTo": settings.RETURN_PATH_TARGET.rstrip("."),
                "ttl": TTL_S,
            },
            *(_text(slot.group, f"%{slot.selector}%._domainkey", f"{slot.data}%{slot.key}%") for slot in KEY_SLOTS),
            # The owner may change the policy later without undoing the rest.
            _text(DMARC_GROUP, "_dmarc", dmarc_suggestion("%fqdn%"), prefix="v=DMARC1") | {"essential": "OnApply"},
        ],
    }


def _text(group: str, host: str, data: str, *, prefix: str = "") -> dict[str, Any]:
    """A TXT record that replaces others at its name: those that begin so, or all."""
    conflicts = (
        {"txtConflictMatchingMode": "Prefix", "txtConflictMatchingPrefix": prefix}
        if prefix
        else {"txtConflictMatchingMode": "All"}
    )
    return {"type": "TXT", "groupId": group, "host": host, "data": data, "ttl": TTL_S, **conflicts}


# ---- What we ask for -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the template is to be filled in with: `covered` are the records that it then brings about."""

    variables: dict[str, str]
    groups: tuple[str, ...]
    covered: tuple[DnsRecord, ...]


def wanted(records: Iterable[DnsRecord], *, with_dmarc: bool) -> Wanted:
    """For the records of a domain, with their keys. `with_dmarc`: the domain has no policy yet, or ours.

    All that the domain needs is named, not only what is missing: a host that remembers what it applied takes away what is not
    named again (specification, "Apply, Re-apply, and Multi-Instance").
    """
    rows = list(records)
    by_purpose = {row.purpose: row for row in rows}
    ownership = by_purpose[RecordPurpose.OWNERSHIP]
    variables = {"token": ownership.value.removeprefix(OWNERSHIP_PREFIX)}
    groups, covered = [DOMAIN_GROUP], [ownership, by_purpose[RecordPurpose.RETURN_PATH]]
    for slot, row in _seated(rows):
        assert row.dkim_key is not None
        variables |= {slot.selector: row.dkim_key.selector, slot.key: row.dkim_key.public_key}
        groups.append(slot.group)
        covered.append(row)
    if with_dmarc and RecordPurpose.DMARC in by_purpose:
        groups.append(DMARC_GROUP)
        covered.append(by_purpose[RecordPurpose.DMARC])
    return Wanted(variables, tuple(groups), tuple(covered))


def _seated(rows: Sequence[DnsRecord]) -> Iterable[tuple[KeySlot, DnsRecord]]:
    """Keys that there is no slot for are left to be published by hand: former ones, if any."""
    keyed = sorted((row for row in rows if row.dkim_key), key=lambda row: _TURN.index(RecordPurpose(row.purpose)))
    for algorithm in DkimAlgorithm:
        slots = [slot for slot in KEY_SLOTS if slot.algorithm == algorithm]
        yield from zip(
            slots, (row for row in keyed if row.dkim_key and row.dkim_key.algorithm == algorithm), strict=False
        )


def apply_query(
    zone: str, host: str, variables: dict[str, str], groups: Iterable[str], *, redirect_uri: str, state: str
) -> str:
    """What an apply URL asks for and the signature is made over: all but `key` and `sig` ("Digitally Sign Requests").

    `host`: the part of the domain below its zone, empty for the zone itself.
    """
    parameters = {"domain": zone} | ({"host": host} if host else {}) | variables
    parameters |= {"groupId": ",".join(groups), "redirect_uri": redirect_uri, "state": state}
    return urlencode(parameters, quote_via=quote, safe="")


def public_key_values(public_key: str) -> list[str]:
    """The TXT records that publish a key: numbered parts. `public_key`: base64 of the SubjectPublicKeyInfo."""
    parts = [public_key[at : at + KEY_PART_CHARACTERS] for at in range(0, len(public_key), KEY_PART_CHARACTERS)]
    return [f"p={number},a=RS256,d={part}" for number, part in enumerate(parts, start=1)]
