"""Domain names as people type them, as DNS carries them (A-labels), and as people read them (U-labels). No look-ups."""

import re
from functools import cache
from ipaddress import ip_address

import idna
from django.conf import settings
from publicsuffixlist import PublicSuffixList

from accounts.catalogue import Refused

# RFC 1035, 2.3.4: a name holds 255 octets on the wire, 253 characters as text. The longest name that we ask for below a
# domain is an Ed25519 DKIM key's, `ps3f9a-e999._domainkey.`.
LONGEST_NAME = 253
LONGEST_DOMAIN = LONGEST_NAME - len("ps3f9a-e999._domainkey.")


class DomainRefused(Refused):
    """A domain that cannot be taken."""


def normalize_domain(text: str) -> str:
    """The A-label form (RFC 5890), lower case, without the final dot, of a name as somebody typed it.

    Raises DomainRefused: domain_empty, domain_is_url, domain_is_address, domain_is_ip, domain_invalid, domain_too_long.
    """
    typed = text.strip()
    if not typed:
        raise DomainRefused("domain_empty")
    _refuse_ip_address(typed)
    _refuse_other_things(typed)
    name = typed.rstrip(".。．｡")
    try:
        # UTS 46 maps what people type (upper case, full-width letters and dots) to what IDNA 2008 allows.
        encoded = idna.encode(name, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise _malformed(typed, name, error) from None
    _refuse_ip_address(encoded)  # full-width digits come out as an address only now
    return encoded


def to_unicode(name: str) -> str:
    """The name with U-labels; a label that is no valid A-label stays as it is."""
    return ".".join(_label_to_unicode(label) for label in name.split("."))


def check_sendable(name: str, *, for_platform: bool = False) -> None:
    """Refuses names that nobody, or nobody but the platform itself, can prove to be theirs.

    `name` as from `normalize_domain`. `for_platform`: the system organization asks.
    Raises DomainRefused: domain_is_ip, domain_single_label, domain_public_suffix, domain_too_long, domain_of_platform.
    """
    _refuse_ip_address(name)
    shown = to_unicode(name)
    if "." not in name:
        raise DomainRefused("domain_single_label", name=shown)
    if is_public_suffix(name):
        raise DomainRefused("domain_public_suffix", name=shown)
    if len(name) > LONGEST_DOMAIN:
        raise DomainRefused(
            "domain_too_long",
            typed=shown,
            problem=f"it has {len(name)} characters, and at most {LONGEST_DOMAIN} leave room for the DNS records below it",
        )
    if not for_platform and name in platform_names():
        raise DomainRefused("domain_of_platform", name=shown)


def is_public_suffix(name: str) -> bool:
    """Whether names are registered directly below this one (publicsuffix.org, ICANN section).

    The list's private section (github.io and the like) is left out: those names have owners, who may send mail from
    them, and only they can publish the records. An unlisted top level (.test) counts as a suffix; names below do not.
    """
    return _suffixes().privatesuffix(name) is None


def registrable_part(name: str) -> str:
    """The domain that was registered, of which the name is a part or the whole: mail.example.co.uk gives example.co.uk."""
    return _suffixes().privatesuffix(name) or name


def platform_names() -> frozenset[str]:
    """The names that this installation answers to."""
    names = (settings.HOSTNAME, settings.SYSTEM_DOMAIN, settings.RETURN_PATH_TARGET)
    return frozenset(name.rstrip(".").lower() for name in names if name)


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)  # 34 ms to load: once a process


def _label_to_unicode(label: str) -> str:
    try:
        return idna.decode(label)
    except (idna.IDNAError, UnicodeError):
        return label


def _refuse_ip_address(text: str) -> None:
    bare = text.strip("[]").removeprefix("IPv6:").removeprefix("ipv6:")
    try:
        ip_address(bare)
    except ValueError:
        return
    raise DomainRefused("domain_is_ip", typed=text)


def _refuse_other_things(typed: str) -> None:
    """What people paste in place of a domain, with the part of it that they mean."""
    if "://" in typed or "/" in typed:
        host = re.sub(r"^.*?://", "", typed)
        host = re.split(r"[/?#:]", host.rpartition("@")[2] if "@" in host.split("/")[0] else host)[0]
        raise DomainRefused("domain_is_url", typed=typed, meant=host or "for example example.com")
    if "@" in typed:
        domain = typed.rpartition("@")[2].rstrip(">")
        raise DomainRefused("domain_is_address", typed=typed, meant=domain or "for example example.com")


def _malformed(typed: str, name: str, error: Exception) -> DomainRefused:
    labels = re.split("[.。．｡]", name)
    if any(not label for label in labels):
        return DomainRefused("domain_invalid", typed=typed, problem="it has nothing between two of its dots")
    # RFC 1035, 2.3.4: 63 octets a label, counted in A-label form; `idna` says so in its message only.
    if "too long" in str(error).lower():
        return DomainRefused(
            "domain_too_long",
            typed=typed,
            problem=f"a domain has at most {LONGEST_NAME} characters, and at most 63 between two dots",
        )
    return DomainRefused(
        "domain_invalid",
        typed=typed,
        problem="names are letters, digits and hyphens, in parts joined by dots, as in example.com",
    )
