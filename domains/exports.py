"""A domain's DNS records in the forms that other programs read: zone file, Terraform, JSON. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from domains.models import DnsRecord, RecordPurpose, RecordStatus, SendingDomain
from domains.names import registrable_part

TTL_S = 3600
STRING_OCTETS = 255  # RFC 1035, 3.3: a character-string's length is one octet

WHAT_FOR = {
    RecordPurpose.OWNERSHIP: "Ownership: shows that the domain is yours",
    RecordPurpose.DKIM: "DKIM: the key that signs your mail",
    RecordPurpose.DKIM_NEXT: "DKIM: the next key, which takes over by itself",
    RecordPurpose.DKIM_OLD: "DKIM: a former key, needed while mail that it signed is on its way",
    RecordPurpose.RETURN_PATH: "Return path: bounces come back to us, and SPF passes",
    RecordPurpose.DMARC: "DMARC: a policy to begin with, where the domain has none",
    RecordPurpose.DKIM_ED25519: "DKIM: a second signature with Ed25519",
}


@dataclass(frozen=True, slots=True)
class ExportedRecord:
    """`name` is relative to the zone, `@` for its apex; `fqdn` is the whole name. `key` is stable and unlike all others."""

    key: str
    type: str  # TXT or CNAME
    name: str
    fqdn: str
    value: str
    purpose: str
    required: bool

    @property
    def note(self) -> str:
        """What it is for, in one line."""
        asked = "required" if self.required else "not required"
        return f"{WHAT_FOR[RecordPurpose(self.purpose)]} ({asked})"


@dataclass(frozen=True, slots=True)
class RecordSet:
    """The records of a domain, which is in a zone: both A-labels without the final dot."""

    domain: str
    zone: str
    records: tuple[ExportedRecord, ...]

    @property
    def slug(self) -> str:
        """For names inside a file: letters, digits, underscores and hyphens."""
        return "plugsend_" + self.domain.replace(".", "_")


def record_set(domain: SendingDomain, records: Iterable[DnsRecord]) -> RecordSet:
    """Those to publish: not our suggestion for DMARC where the domain has a policy of its own (RFC 7489, 6.6.3: one record)."""
    zone = zone_of(domain.name, domain.zone)
    asked = (record for record in records if not _has_own_policy(record))
    return RecordSet(domain.name, zone, tuple(_exported(record, domain.name, zone) for record in asked))


def zone_of(name: str, apex: str) -> str:
    """The zone that a name is in: the apex that DNS told, or what was registered where it told none."""
    return apex if apex and (name == apex or name.endswith(f".{apex}")) else registrable_part(name)


def relative_to(zone: str, name: str) -> str:
    """As zone files and DNS forms want names; `@` is the zone's apex (RFC 1035, 5.1)."""
    return "@" if name == zone else name.removesuffix(f".{zone}")


def _has_own_policy(record: DnsRecord) -> bool:
    is_found = record.purpose == RecordPurpose.DMARC and record.status == RecordStatus.FOUND
    return is_found and record.value not in record.found


def _exported(record: DnsRecord, domain: str, zone: str) -> ExportedRecord:
    # A DKIM key goes by its selector: its purpose changes when its turn comes, and Terraform would make it anew.
    labels = record.name.removesuffix(f".{domain}").removesuffix("._domainkey")
    key = f"dkim_{labels}" if record.purpose.startswith("dkim") else record.purpose
    return ExportedRecord(
        key=re.sub(r"[^a-z0-9_-]", "_", key),
        type=record.type,
        name=relative_to(zone, record.name),
        fqdn=record.name,
        value=record.value,
        purpose=record.purpose,
        required=record.required,
    )


# ---- Character-strings -----------------------------------------------------------------------------------------------


def split_text(text: str) -> list[bytes]:
    """The character-strings that carry a text (RFC 1035, 3.3.14), each as long as it may be without cutting a character in
    two; at least one."""
    octets, parts = text.encode(), []
    while len(octets) > STRING_OCTETS:
        end = STRING_OCTETS
        while octets[end] & 0xC0 == 0x80:  # RFC 3629, 3: not the first octet of a character
            end -= 1
        parts.append(octets[:end])
        octets = octets[end:]
    return [*parts, octets]


def quoted(octets: bytes, number: str = "03d") -> str:
    r"""As in zone files: `"`, `\` and what is no printable ASCII are escaped, the latter by its number (RFC 1035, 5.1: `\DDD`).

    `number`: how the number is written; Route 53 wants it octal.
    """
    escaped = (
        f"\\{chr(octet)}" if octet in b'"\\' else chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:{number}}"
        for octet in octets
    )
    return f'"{"".join(escaped)}"'


def rdata(record: ExportedRecord) -> str:
    """The record's data in zone file form; names are absolute, with the final dot."""
    if record.type == "CNAME":
        return f"{record.value.rstrip('.')}."
    return " ".join(quoted(part) for part in split_text(record.value))


# ---- JSON ------------------------------------------------------------------------------------------------------------


def as_data(records: RecordSet) -> dict[str, Any]:
    """The JSON form as Python data. `strings`: a TXT's value in parts of at most 255 octets, null for other types."""
    return {
        "object": "dns_records",
        "domain": records.domain,
        "zone": records.zone,
        "records": [
            {
                "type": record.type,
                "name": record.name,
                "fqdn": record.fqdn,
                "value": record.value,
                "strings": [part.decode() for part in split_text(record.value)] if record.type == "TXT" else None,
                "ttl": TTL_S,
                "purpose": record.purpose,
                "required": record.required,
                "note": record.note,
            }
            for record in records.records
        ],
    }


def as_json(records: RecordSet) -> str:
    return json.dumps(as_data(records), indent=2, ensure_ascii=False) + "\n"


# ---- Zone file -------------------------------------------------------------------------------------------------------


def zone_file(records: RecordSet) -> str:
    """RFC 1035, 5: to be included in the zone, or imported where a DNS host takes such files."""
    width = max((len(record.name) for record in records.records), default=0)
    lines = [
        f"; DNS records of {records.domain} for PlugSend, to be added to the zone {records.zone}",
        f"$ORIGIN {records.zone}.",
        f"$TTL {TTL_S}",
    ]
    for record in records.records:
        lines += ["", f"; {record.note}", f"{record.name:<{width}} IN {record.type} {rdata(record)}"]
    return "\n".join(lines) + "\n"


# ---- Terraform -------------------------------------------------------------------------------------------------------

Attributes = list[tuple[str, str]]  # names and expressions


def hcl_string(text: str) -> str:
    """A quoted template without interpolation (HCL native syntax, "Template Expressions")."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")
    return '"' + re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text) + '"'


def hcl_block(head: str, attributes: Attributes, blocks: Iterable[str] = ()) -> str:
    """As `terraform fmt` lays it out."""
    width = max((len(name) for name, _ in attributes), default=0)
    lines = [f"  {name:<{width}} = {expression}" for name, expression in attributes]
    for block in blocks:
        lines += [*([""] if lines else []), *(f"  {line}".rstrip() for line in block.split("\n"))]
    return "\n".join([f"{head} {{", *lines, "}"])


def _variable(name: str, description: str) -> str:
    return hcl_block(f'variable "{name}"', [("type", "string"), ("description", hcl_string(description))])


def _resources(kind: str, records: RecordSet, attributes: Callable[[ExportedRecord], Attributes]) -> list[str]:
    return [
        f"# {record.note}\n" + hcl_block(f'resource "{kind}" "{records.slug}_{record.key}"', attributes(record))
        for record in records.records
    ]


def _list(*expressions: str) -> str:
    return f"[{', '.join(expressions)}]"


def _cloudflare(records: RecordSet) -> list[str]:
    # The API wants TXT content in quotation marks; for aliases it has names without the final dot.
    return [
        _variable(f"{records.slug}_zone_id", f"Cloudflare's id of the zone {records.zone}"),
        *_resources(
            "cloudflare_dns_record",
            records,
            lambda record: [
                ("zone_id", f"var.{records.slug}_zone_id"),
                ("name", hcl_string(record.fqdn)),
                ("type", hcl_string(record.type)),
                ("content", hcl_string(rdata(record) if record.type == "TXT" else record.value)),
                ("ttl", str(TTL_S)),
                ("proxied", "false"),
                ("comment", hcl_string(f"PlugSend {record.purpose}")),
            ],
        ),
    ]


def _route53(records: RecordSet) -> list[str]:
    def value(record: ExportedRecord) -> str:
        if record.type == "CNAME":
            return record.value
        # The provider adds the outermost quotation marks.
        return '""'.join(quoted(part, "03o")[1:-1] for part in split_text(record.value))

    return [
        hcl_block(f'data "aws_route53_zone" "{records.slug}"', [("name", hcl_string(f"{records.zone}."))]),
        *_resources(
            "aws_route53_record",
            records,
            lambda record: [
                ("zone_id", f"data.aws_route53_zone.{records.slug}.zone_id"),
                ("name", hcl_string(record.fqdn)),
                ("type", hcl_string(record.type)),
                ("ttl", str(TTL_S)),
                ("records", _list(hcl_string(value(record)))),
            ],
        ),
    ]


def _google(records: RecordSet) -> list[str]:
    return [
        _variable(f"{records.slug}_managed_zone", f"The name of the managed zone that holds {records.zone}"),
        *_resources(
            "google_dns_record_set",
            records,
            lambda record: [
                ("managed_zone", f"var.{records.slug}_managed_zone"),
                ("name", hcl_string(f"{record.fqdn}.")),
                ("type", hcl_string(record.type)),
                ("ttl", str(TTL_S)),
                ("rrdatas", _list(hcl_string(rdata(record)))),
            ],
        ),
    ]


def _azure(records: RecordSet) -> list[str]:
    resource_group = f"{records.slug}_resource_group"

    def resource(record: ExportedRecord) -> str:
        kind = "azurerm_dns_cname_record" if record.type == "CNAME" else "azurerm_dns_txt_record"
        attributes = [
            ("name", hcl_string(record.name)),
            ("zone_name", hcl_string(records.zone)),
            ("resource_group_name", f"var.{resource_group}"),
            ("ttl", str(TTL_S)),
        ]
        blocks = []
        if record.type == "CNAME":
            attributes.append(("record", hcl_string(record.value)))
        else:
            blocks.append(hcl_block("record", [("value", hcl_string(record.value))]))  # the provider splits it
        return f"# {record.note}\n" + hcl_block(f'resource "{kind}" "{records.slug}_{record.key}"', attributes, blocks)

    return [
        _variable(resource_group, f"The resource group of the zone {records.zone}"),
        *(resource(record) for record in records.records),
    ]


def _digitalocean(records: RecordSet) -> list[str]:
    return _resources(
        "digitalocean_record",
        records,
        lambda record: [
            ("domain", hcl_string(records.zone)),
            ("name", hcl_string(record.name)),
            ("type", hcl_string(record.type)),
            ("value", hcl_string(rdata(record) if record.type == "CNAME" else record.value)),
            ("ttl", str(TTL_S)),
        ],
    )


def _hetzner(records: RecordSet) -> list[str]:
    return _resources(
        "hcloud_zone_rrset",
        records,
        lambda record: [
            ("zone", hcl_string(records.zone)),
            ("name", hcl_string(record.name)),
            ("type", hcl_string(record.type)),
            ("ttl", str(TTL_S)),
            ("records", f"[{{ value = {hcl_string(rdata(record))} }}]"),
        ],
    )


def _generic(records: RecordSet) -> list[str]:
    """A map to loop over (`for_each`), for the resource of any other provider."""
    entries = [
        f"# {record.note}\n"
        + hcl_block(
            f"{hcl_string(record.key)} =",
            [
                ("type", hcl_string(record.type)),
                ("name", hcl_string(record.name)),
                ("fqdn", hcl_string(record.fqdn)),
                ("value", hcl_string(record.value)),
                ("rdata", hcl_string(rdata(record))),
                ("ttl", str(TTL_S)),
            ],
        )
        for record in records.records
    ]
    return [hcl_block("locals", [], [hcl_block(f"{records.slug}_records =", [], entries)])]


@dataclass(frozen=True, slots=True)
class Provider:
    """A Terraform provider. `source`: where the registry has it, and the versions that have these resources. `dns_host`: the
    key of the DNS host (domains.diagnosis.hosts) whose usual provider it is."""

    label: str
    source: str
    write: Callable[[RecordSet], list[str]]
    dns_host: str = ""


GENERIC = "generic"
PROVIDERS = {
    "cloudflare": Provider("Cloudflare", "cloudflare/cloudflare, 5.0 or later", _cloudflare, "cloudflare"),
    "aws": Provider("Amazon Route 53", "hashicorp/aws", _route53, "route53"),
    "google": Provider("Google Cloud DNS", "hashicorp/google", _google, "google"),
    "azure": Provider("Azure DNS", "hashicorp/azurerm", _azure, "azure"),
    "digitalocean": Provider("DigitalOcean", "digitalocean/digitalocean", _digitalocean, "digitalocean"),
    "hetzner": Provider("Hetzner", "hetznercloud/hcloud, 1.54 or later", _hetzner, "hetzner"),
    GENERIC: Provider("Any other", "", _generic),
}


def usual_provider(dns_host: str) -> str:
    """The key of the provider that people at a DNS host (domains.diagnosis.hosts) mostly have."""
    return next((key for key, provider in PROVIDERS.items() if provider.dns_host == dns_host != ""), GENERIC)


def terraform(records: RecordSet, provider: str) -> str:
    """A `.tf` file to stand beside others: it configures no provider. `provider`: a key of PROVIDERS."""
    chosen = PROVIDERS[provider]
    head = f"# DNS records of {records.domain} for PlugSend, in the zone {records.zone}"
    if chosen.source:
        head += f"\n# Provider: {chosen.source}"
    return "\n\n".join([head, *chosen.write(records)]) + "\n"
