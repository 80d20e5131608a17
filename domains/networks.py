"""Which addresses strangers may send us to, with mail, requests or questions, and how this machine reaches them. Nothing is
sent to find out."""

from __future__ import annotations

import ipaddress
import socket

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291, 2.4: all that IANA has given out
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, 2.1: an IPv4 address in the last 32 bits
_DISCARD_PORT = 9


def is_allowed(address: str) -> bool:
    """Outside the sandbox we go to public addresses only, never into our own network, but where ALLOWED_NETWORKS says so.

    The sandbox goes everywhere but to link-local addresses, where clouds tell machines their secrets.
    """
    parsed = ipaddress.ip_address(address)
    if settings.SANDBOX and not (_ipv4_inside(parsed) or parsed).is_link_local:
        return True
    return is_named(address) or _is_public(parsed)


def is_named(address: str) -> bool:
    """Whether ALLOWED_NETWORKS holds the address."""
    parsed = ipaddress.ip_address(address)
    plain = _ipv4_inside(parsed) or parsed
    return any(plain in network or parsed in network for network in settings.ALLOWED_NETWORKS)


def source_for(address: str) -> str | None:
    """The address that this machine would speak from; None where it has no way there (mostly: no IPv6)."""
    family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, _DISCARD_PORT))  # a datagram socket only looks for the route
        except OSError:
            return None
        return str(probe.getsockname()[0])


def is_ipv6(address: str) -> bool:
    return ":" in address


def _is_public(address: Address) -> bool:
    if inner := _ipv4_inside(address):
        return _is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def _ipv4_inside(address: Address) -> Address | None:
    """The IPv4 address that mapped (RFC 4291, 2.5.5.2), translated and 6to4 (RFC 3056) addresses lead to."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour
