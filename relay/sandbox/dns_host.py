"""The sandbox's DNS host: it speaks Domain Connect, as those do who host real zones, over the sandbox's zone.

It knows us from the outside only: what it adds comes of the template and of what the URL says, and the public key it has from
DNS.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dns.exception
import dns.resolver
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from django.db import transaction

from domains.connect.template import template
from domains.dns.resolver import resolver
from relay.sandbox.models import ZoneRecord

PROVIDER_ID = "dns.sandbox.test"
NAME = "Sandbox DNS"
PATH = "/sandbox/dns-host"
# What an apply URL holds beside the template's variables ("Apply Template", "Parameters/properties").
_OWN_PARAMETERS = {"domain", "host", "groupId", "redirect_uri", "state", "providerName", "serviceName", "sig", "key"}
_LABELS = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


class NotApplied(Exception):
    """The request is not one that may be shown to the owner; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """A record to add, and what it replaces."""

    name: str  # absolute, lower case, without the final dot
    type: str
    value: str  # as in `ZoneRecord`
    replaced: tuple[ZoneRecord, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to apply our template, whose signature is right."""

    domain: str
    host: str
    changes: tuple[Change, ...]
    redirect_uri: str
    state: str

    @property
    def fqdn(self) -> str:
        return f"{self.host}.{self.domain}" if self.host else self.domain


def settings_of(zone: str, api: str, pages: str) -> dict[str, Any]:
    """What a service provider is told of a zone ("DNS Provider Discovery"). `api`, `pages`: where programs and people come."""
    return {
        "providerId": PROVIDER_ID,
        "providerName": NAME,
        "providerDisplayName": NAME,
        "urlSyncUX": pages + PATH,
        "urlAPI": api + PATH,
        "width": 750,
        "height": 750,
    }


def known_template(provider_id: str, service_id: str) -> dict[str, Any] | None:
    """Of all templates the sandbox's host has taken in one: ours."""
    ours = template()
    return ours if (provider_id, service_id) == (ours["providerId"], ours["serviceId"]) else None


def read_request(chosen: Mapping[str, Any], query: str) -> Asked:
    """A request to apply a template: `query` as it came in the URL. Asks DNS for the public key. Raises NotApplied."""
    parameters = _parameters(query)
    _check_signature(chosen["syncPubKeyDomain"], query, parameters)
    domain, host = parameters.get("domain", "").lower(), parameters.get("host", "").lower()
    fqdn = f"{host}.{domain}" if host else domain
    if not _LABELS.fullmatch(fqdn):
        raise NotApplied("The parameters domain and host name no domain.")
    variables = {name: value for name, value in parameters.items() if name not in _OWN_PARAMETERS}
    variables |= {"domain": domain, "host": host, "fqdn": fqdn}
    groups = set(filter(None, parameters.get("groupId", "").split(",")))
    chosen_records = [record for record in chosen["records"] if not groups or record.get("groupId") in groups]
    changes = tuple(_change(record, fqdn, variables) for record in chosen_records)
    redirect_uri = parameters.get("redirect_uri", "")
    if (urlsplit(redirect_uri).hostname or "") not in chosen["syncRedirectDomain"].split(","):
        raise NotApplied("The parameter redirect_uri leads to where the template does not allow.")
    return Asked(domain, host, changes, redirect_uri, parameters.get("state", ""))


def apply(asked: Asked) -> None:
    """Adds the records to the zone, and takes out what is in conflict with them."""
    with transaction.atomic():
        for change in asked.changes:
            ZoneRecord.objects.filter(pk__in=[row.pk for row in change.replaced]).delete()
            ZoneRecord.objects.get_or_create(name=change.name, type=change.type, value=change.value)


# ---- Signatures ------------------------------------------------------------------------------------------------------


def _parameters(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise NotApplied("A parameter is there twice.")
    return dict(pairs)


def _check_signature(domain: str, query: str, parameters: Mapping[str, str]) -> None:
    """It is made over the query as it is written, without sig and key ("Digitally Sign Requests")."""
    signed = "&".join(part for part in query.split("&") if part.partition("=")[0] not in {"sig", "key"})
    try:
        signature = base64.b64decode(parameters.get("sig", ""), validate=True)
        _public_key(f"{parameters.get('key', '')}.{domain}").verify(signature, signed.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error):
        raise NotApplied("The signature is wrong: somebody else may have made this link.") from None


def _public_key(name: str) -> RSAPublicKey:
    """The key that TXT records at a name hold in numbered parts, `p=1,a=RS256,d=…`."""
    try:
        answer = resolver().resolve(f"{name}.", "TXT", search=False)
    except dns.exception.DNSException:
        raise NotApplied(f"There is no public key at {name}.") from None
    texts = [b"".join(rdata.strings).decode("utf-8", "replace") for rdata in answer]
    parts = {
        int(fields["p"]): fields["d"]
        for text in texts
        if (fields := dict(part.split("=", 1) for part in text.split(",") if "=" in part))
        and fields.get("p", "").isdecimal()
        and fields.get("a", "RS256") == "RS256"
        and "d" in fields
    }
    try:
        key = load_der_public_key(base64.b64decode("".join(parts[number] for number in sorted(parts))))
    except (ValueError, UnsupportedAlgorithm):
        raise NotApplied(f"What is at {name} is no public key.") from None
    if not isinstance(key, RSAPublicKey):
        raise NotApplied(f"The key at {name} is no RSA key.")
    return key


# ---- Templates -------------------------------------------------------------------------------------------------------


def _change(record: Mapping[str, Any], fqdn: str, variables: Mapping[str, str]) -> Change:
    """Names are relative to the domain unless a dot ends them, and @ is the domain itself ("Template Record")."""
    host = _filled(record["host"], variables).lower()
    name = fqdn if host in {"", "@"} else host.rstrip(".") if host.endswith(".") else f"{host}.{fqdn}"
    if not _LABELS.fullmatch(name):
        raise NotApplied(f"“{name}” is no name of a record.")
    if record["type"] == "CNAME":
        target = _filled(record["pointsTo"], variables)
        value = f"{fqdn if target == '@' else target}."
    else:
        value = _filled(record["data"], variables)
    return Change(name, record["type"], value, tuple(_replaced(record, name, value)))


def _filled(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise NotApplied(f"The variable {match[1]} is missing.")
        return variables[match[1]]

    return re.sub("%([^%]+)%", value, text)


def _replaced(record: Mapping[str, Any], name: str, value: str) -> Iterable[ZoneRecord]:
    """What is in conflict with the record ("Record Types and Conflicts")."""
    mode, prefix = record.get("txtConflictMatchingMode", "None"), record.get("txtConflictMatchingPrefix", "")
    for row in ZoneRecord.objects.filter(name=name):
        is_same = (row.type, row.value) == (record["type"], value)
        is_alias_beside = "CNAME" in {row.type, record["type"]}
        is_like = mode == "All" or (mode == "Prefix" and row.value.startswith(prefix))
        if not is_same and (is_alias_beside or (row.type == "TXT" and is_like)):
            yield row
