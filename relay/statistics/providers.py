"""Who keeps the recipients' mailboxes, told by the exchanger that was spoken to, or else by the address's domain. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Provider:
    """`exchangers`: ends of the names of its exchangers; `domains`: those of its own addresses."""

    code: str
    name: str
    exchangers: tuple[str, ...]
    domains: tuple[str, ...] = ()


# The code has no dot, so that it is never a domain.
_PROVIDERS = [
    Provider("gmail", "Gmail and Google Workspace", ("google.com", "googlemail.com", "smtp.goog"),
             ("gmail.com", "googlemail.com")),
    Provider("microsoft", "Outlook and Microsoft 365", ("outlook.com", "hotmail.com", "mx.microsoft"),
             ("outlook.com", "hotmail.com", "live.com", "msn.com", "hotmail.co.uk", "hotmail.fr", "hotmail.de", "hotmail.it",
              "outlook.de", "outlook.fr", "live.co.uk", "live.fr", "live.nl")),
    Provider("yahoo", "Yahoo and AOL", ("yahoodns.net",),
             ("yahoo.com", "aol.com", "ymail.com", "rocketmail.com", "yahoo.co.uk", "yahoo.fr", "yahoo.de", "yahoo.it",
              "yahoo.es", "yahoo.ca", "yahoo.com.br", "yahoo.co.in", "myyahoo.com", "aim.com")),
    Provider("icloud", "iCloud", ("icloud.com",), ("icloud.com", "me.com", "mac.com")),
    Provider("proton", "Proton", ("protonmail.ch",), ("proton.me", "protonmail.com", "pm.me")),
    Provider("zoho", "Zoho", ("zoho.com", "zoho.eu", "zoho.in", "zohomail.com"), ("zohomail.com", "zoho.com")),
    Provider("gmx", "GMX and WEB.DE", ("gmx.net", "web.de"), ("gmx.de", "gmx.net", "gmx.com", "web.de")),
    Provider("yandex", "Yandex", ("yandex.ru", "yandex.net"), ("yandex.ru", "yandex.com", "ya.ru")),
    Provider("mailru", "Mail.ru", ("mail.ru",), ("mail.ru", "bk.ru", "inbox.ru", "list.ru")),
    Provider("qq", "QQ", ("qq.com",), ("qq.com", "foxmail.com")),
    Provider("netease", "NetEase", ("netease.com", "163.com", "126.com"), ("163.com", "126.com", "yeah.net")),
    Provider("fastmail", "Fastmail", ("messagingengine.com",), ("fastmail.com", "fastmail.fm")),
    Provider("comcast", "Comcast", ("comcast.net",), ("comcast.net",)),
    Provider("proofpoint", "Behind Proofpoint", ("pphosted.com", "ppe-hosted.com")),
    Provider("mimecast", "Behind Mimecast", ("mimecast.com",)),
]  # fmt: skip

PROVIDERS = {provider.code: provider for provider in _PROVIDERS}
_BY_DOMAIN = {domain: provider.code for provider in _PROVIDERS for domain in provider.domains}
_BY_EXCHANGER = {end: provider.code for provider in _PROVIDERS for end in provider.exchangers}


@lru_cache(maxsize=20_000)
def provider_of(exchanger: str, destination: str) -> str:
    """A code of PROVIDERS, or else the destination. `exchanger` is empty where none was spoken to."""
    if destination in _BY_DOMAIN:
        return _BY_DOMAIN[destination]
    labels = exchanger.lower().rstrip(".").split(".")
    ends = (".".join(labels[start:]) for start in range(len(labels)))
    return next((_BY_EXCHANGER[end] for end in ends if end in _BY_EXCHANGER), destination)


def provider_name(value: str) -> str:
    return PROVIDERS[value].name if value in PROVIDERS else value
