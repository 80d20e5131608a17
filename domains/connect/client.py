"""Domain Connect 2.3: whether a domain's DNS host can add our records by itself, and the link that asks it to.

The synchronous flow: the owner follows a signed link to the host, signs in there, sees the records, agrees, and is sent back.
We get no access to the host. What was done shows in DNS and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any, TypedDict
from urllib.parse import quote, urlencode

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from django.conf import settings
from django.core.cache import cache
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TXT import TXT

from domains.connect.keys import signing_key
from domains.connect.template import DISCOVERY_LABEL, SERVICE_ID, apply_query, provider_id, wanted
from domains.dns.resolver import async_resolver, resolver
from domains.guarded_fetch import Allowance, FetchFailed, GuardedClient, read_url, tls_context
from domains.models import RecordPurpose, RecordStatus, SendingDomain
from domains.names import registrable_part

WITHIN_S = 8.0  # all of a discovery
ASKED_EVERY_S = 600
ANSWER_OCTETS = 256 * 1024  # all answers of a discovery; a host may answer with the whole template
LONGEST_NAME = 60  # characters of a host's name as it is shown
# The record holds a host, which may be followed by a path; hosts write it with and without a slash at the end.
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")


class Discovered(TypedDict):
    """What `SendingDomain.domain_connect` holds.

    `zone`: the apex of the zone that is there. `url_sync_ux`: empty when the host has no synchronous flow. `is_supported`: it
    has that flow and takes our template. `control_panel`: where people edit records there; may be empty.
    """

    zone: str
    provider_id: str
    provider_name: str
    url_sync_ux: str
    control_panel: str
    is_supported: bool


# ---- Discovery -------------------------------------------------------------------------------------------------------


NO_ANSWER = (TimeoutError, FetchFailed, dns.exception.DNSException)


def discover(domain_name: str) -> Discovered | None:
    """Asks the DNS host of a domain, within some seconds. For threads. Never raises; None: it does not speak Domain Connect."""
    try:
        return asyncio.run(_ask(domain_name))
    except NO_ANSWER:
        return None


def refresh(domains: Sequence[SendingDomain]) -> None:
    """Asks the DNS hosts of domains, side by side, and keeps what they say. Of each at most every ten minutes, so that it may
    be called after every look. For threads, outside of transactions."""

    async def ask_all() -> list[Discovered | BaseException | None]:
        return await asyncio.gather(*(_ask(domain.name) for domain in due), return_exceptions=True)

    due = [domain for domain in domains if cache.add(f"domain_connect:{domain.pk}", True, ASKED_EVERY_S)]
    for domain, found in zip(due, asyncio.run(ask_all()) if due else (), strict=True):
        if isinstance(found, NO_ANSWER):
            continue  # what was known of the host stays
        if isinstance(found, BaseException):
            raise found
        SendingDomain.objects.filter(pk=domain.pk).update(domain_connect=found)


async def _ask(domain_name: str) -> Discovered | None:
    client = GuardedClient(async_resolver(), tls_context(settings.TLS_CA_FILE), WITHIN_S)
    allowance = Allowance(ANSWER_OCTETS)
    async with asyncio.timeout(WITHIN_S):
        zone = await _zone_of(client.resolver, domain_name)
        host = await _host_of(client.resolver, zone)
        if not host:
            return None
        told = await _read_json(client, allowance, f"{_scheme()}://{host}/v2/{zone}/settings")
        if told is None:
            return None
        url_sync_ux, url_api = _prefix(told.get("urlSyncUX")), _prefix(told.get("urlAPI"))
        name = _words(told.get("providerDisplayName")) or _words(told.get("providerName")) or host.partition("/")[0]
        return Discovered(
            zone=zone,
            provider_id=_words(told.get("providerId")),
            provider_name=name,
            url_sync_ux=url_sync_ux,
            control_panel=_url(str(told.get("urlControlPanel") or "").replace("%domain%", zone)),
            is_supported=bool(url_sync_ux and url_api) and await _takes_template(client, allowance, url_api),
        )


async def _zone_of(asked: dns.asyncresolver.Resolver, name: str) -> str:
    """The apex of the zone that a name is in: who is told that there is no SOA there is told whose SOA it is (RFC 2308, 3)."""
    try:
        response = (await asked.resolve(f"{name}.", "SOA", search=False, raise_on_no_answer=False)).response
    except dns.resolver.NXDOMAIN as nothing:
        response = nothing.response(dns.name.from_text(name))
    registered = registrable_part(name)
    for rrset in [*response.answer, *response.authority]:
        apex = rrset.name.to_text(omit_final_dot=True).lower()
        if rrset.rdtype == RdataType.SOA and f".{name}".endswith(f".{apex}") and len(apex) >= len(registered):
            return apex
    return registered


async def _host_of(asked: dns.asyncresolver.Resolver, zone: str) -> str:
    """What the zone's discovery record says, `host[:port][/path]` ("DNS Provider Discovery"); empty: it has none."""
    try:
        answer = await asked.resolve(f"{DISCOVERY_LABEL}.{zone}.", "TXT", search=False, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return ""
    texts = [
        b"".join(rdata.strings).decode("utf-8", "replace") for rdata in answer.rrset or () if isinstance(rdata, TXT)
    ]
    return next((text.rstrip("/") for text in texts if _HOST.fullmatch(text)), "")


async def _read_json(client: GuardedClient, allowance: Allowance, url: str) -> dict[str, Any] | None:
    answer = await client.request(read_url(url), allowance, header=_HEADER)
    if answer.status != 200:
        return None  # 404: it does not have the zone
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


async def _takes_template(client: GuardedClient, allowance: Allowance, url_api: str) -> bool:
    """Any 2xx says yes ("Query Supported Template")."""
    try:
        answer = await client.request(read_url(url_api + _template_path()), allowance, header=_HEADER)
    except FetchFailed:
        return False
    return answer.status // 100 == 2


_HEADER = [("Accept", "application/json"), ("User-Agent", "PlugSend")]


def _template_path() -> str:
    return f"/v2/domainTemplates/providers/{quote(provider_id())}/services/{quote(SERVICE_ID)}"


def _scheme() -> str:
    """The sandbox's DNS host is at the loopback address, where nobody has a certificate."""
    return "http" if settings.SANDBOX else "https"


def _url(told: object) -> str:
    """A URL that a browser may be sent to; empty for anything else."""
    try:
        read_url(str(told or ""))
    except FetchFailed:
        return ""
    return str(told).rstrip("/")


def _prefix(told: object) -> str:
    """A URL to which a path can be added; empty for anything else."""
    url = _url(told)
    return "" if "?" in url or "#" in url else url


def _words(told: object) -> str:
    """A name fit to be shown."""
    text = " ".join(str(told or "").split())
    return text[:LONGEST_NAME] if text.isprintable() else ""


# ---- Asking the host -------------------------------------------------------------------------------------------------


def apply_url(domain: SendingDomain, found: Discovered, *, redirect_uri: str, state: str, with_dmarc: bool) -> str:
    """Where the host asks the owner for consent to add the records: signed, so that nobody else can ask in our name."""
    asked = wanted(domain.records.select_related("dkim_key"), with_dmarc=with_dmarc)
    host = "" if domain.name == found["zone"] else domain.name.removesuffix(f".{found['zone']}")
    query = apply_query(found["zone"], host, asked.variables, asked.groups, redirect_uri=redirect_uri, state=state)
    key = signing_key()
    signature = urlencode({"key": key.label, "sig": key.sign(query)}, quote_via=quote, safe="")
    return f"{found['url_sync_ux']}{_template_path()}/apply?{query}&{signature}"


def may_suggest_dmarc(domain: SendingDomain) -> bool:
    """Whether nobody's policy would be in the way of ours: DNS is asked now. Without an answer: no.

    The policy of the registered domain counts too: it holds for names below that have none of their own (RFC 7489, 6.6.3), and
    ours would take its place.
    """
    ours = domain.records.filter(purpose=RecordPurpose.DMARC).values_list("value", flat=True).first()
    try:
        at_domain = _texts_at(f"_dmarc.{domain.name}")
        above = registrable_part(domain.name)
        return at_domain <= {ours} and (above == domain.name or bool(at_domain) or not _texts_at(f"_dmarc.{above}"))
    except dns.exception.DNSException:
        return False


def _texts_at(name: str) -> set[str]:
    try:
        answer = resolver().resolve(f"{name}.", "TXT", search=False, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return set()
    return {
        b"".join(rdata.strings).decode("utf-8", "replace") for rdata in answer.rrset or () if isinstance(rdata, TXT)
    }


# ---- The page --------------------------------------------------------------------------------------------------------


def page_part(domain: SendingDomain) -> dict[str, Any]:
    """What `templates/domains/parts/connect.html` shows: nothing where all that could be added is there."""
    found: Discovered | None = domain.domain_connect
    if not found:
        return {"connect": None}
    covered = wanted(domain.records.select_related("dkim_key"), with_dmarc=False).covered
    is_all_there = all(record.status == RecordStatus.FOUND for record in covered)
    return {"connect": None if is_all_there else found}


# ---- Coming back -----------------------------------------------------------------------------------------------------

_TROUBLE = {
    # RFC 6749, 4.1.2.1; "Apply Template URL"
    "access_denied": "{host} did not let it happen. Sign in there with the account that holds {domain}, or add the records "
    "by hand.",
    "server_error": "{host} had an error of its own. Try again in a few minutes, or add the records by hand.",
    "temporarily_unavailable": "{host} cannot do it at the moment. Try again in a few minutes, or add the records by hand.",
}
_REFUSED = (
    "{host} did not take our request ({error}). The fault is not yours: add the records by hand, and tell support."
)


def is_cancelled(error: str, description: str) -> bool:
    """Whether it was the owner who did not want it."""
    return error == "access_denied" and description.startswith("user_cancel")


def trouble_in_words(error: str, description: str, *, host: str, domain: str) -> str:
    """What became of it when the host sent the owner back with `error`."""
    if is_cancelled(error, description):
        return f"You cancelled at {host}. Nothing was changed there."
    word = error if re.fullmatch(r"[a-z_]{1,40}", error) else "unknown error"
    return _TROUBLE.get(error, _REFUSED).format(host=host, domain=domain, error=word)
