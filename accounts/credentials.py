"""Who comes in at a door: what an API key, alone or as an SMTP user's password, stands for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from uuid import UUID

from accounts.catalogue import Refused

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class UsageLimit:
    """How many messages may be sent in each period (UTC); whoever reaches it is refused with `code`."""

    period: str  # hour, day or month
    most: int | None  # None: no limit, but counted
    code: str  # of the catalogue


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a subject, an organization or an SMTP user, may send in each of two periods; the longer one holds the shorter."""

    subject_id: UUID
    subject: str  # in words
    short: UsageLimit
    long: UsageLimit


@dataclass(frozen=True, slots=True)
class Credential:
    """Who submits: what an API key, alone or as an SMTP user's password, stands for."""

    organization_id: UUID
    is_suspended: bool
    api_key_id: UUID | None
    smtp_user_id: UUID | None
    scopes: frozenset[str]
    only_domain: str  # A-label; empty: every verified domain of the organization
    safe_resend: bool = False  # the organization's wish (recognised by relay.submission.once)
    show_client_address: bool = False  # the organization's wish
    message_octets: int | None = None  # the organization's own limit; None: the platform's
    api_rate_limit: int | None = None  # REST requests per second, the organization's own limit; None: the platform's
    key_name: str = ""
    is_revoked: bool = False
    expires_at: datetime | None = None
    allowed_networks: tuple[Network, ...] = ()  # of the SMTP user whose key it is, or of the key; none: from anywhere
    is_being_deleted: bool = False  # the organization
    is_on_hold: bool = False  # suspended by its rates, until somebody has looked
    # Of the organization's plan:
    recipients_limit: int | None = None  # of a message; None: the platform's
    messages_per_second: int | None = None  # None: no limit
    # Of the SMTP user whose key it is:
    user_name: str = ""
    is_disabled: bool = False
    stream: str = ""  # of what names none
    allowances: tuple[Allowance, ...] = ()  # what its messages are counted against; the organization's last

    is_authenticated = True  # what DRF asks of a request's user

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    @property
    def is_live(self) -> bool:
        return not (self.is_disabled or self.is_revoked or self.has_expired or self.is_being_deleted)

    def check_may_enter(self, client: str) -> None:
        """For whoever has shown the right key; `client` is the IP address. Raises `Refused`."""
        if self.is_revoked:
            raise Refused("api_key_revoked", name=self.key_name)
        if self.has_expired:
            assert self.expires_at
            moment = f"{self.expires_at.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
            raise Refused("api_key_expired", name=self.key_name, moment=moment)
        if self.is_being_deleted:
            raise Refused("organization_being_deleted")
        if self.is_disabled:
            raise Refused("smtp_user_disabled", address=self.user_name)
        if self.allowed_networks and not _is_within(client, self.allowed_networks):
            subject = self.user_name or f"The API key “{self.key_name}”"
            raise Refused("network_not_allowed", subject=subject, client=client or "unknown")

    def check_may_send(self) -> None:
        if self.is_suspended:
            raise Refused("organization_on_hold" if self.is_on_hold else "organization_suspended")
        self.check_may("send")

    def check_may(self, scope: str) -> None:
        """`full` includes every other scope. Raises `Refused`."""
        if not self.scopes & {scope, "full"}:
            raise Refused("insufficient_scope", scope=scope)

    def check_may_send_from(self, address: str, sending_domain: str) -> None:
        """`sending_domain`: which of the organization's domains covers the address. Raises `Refused`."""
        if self.only_domain and sending_domain != self.only_domain:
            raise Refused("sender_not_allowed", address=address, domain=self.only_domain)


def _is_within(client: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(client.partition("%")[0])  # RFC 4007, 11: without its zone
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:  # RFC 4291, 2.5.5.2: IPv4 on a socket for both
        address = address.ipv4_mapped
    return any(address in network for network in networks)
