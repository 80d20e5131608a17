"""Networks as people type them: addresses and CIDR notation (RFC 4632, 3.1; RFC 4291, 2.3), one form of each."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from accounts.catalogue import Refused

MOST_NETWORKS = 50


def read_network(typed: str) -> str:
    """In CIDR notation; of an address alone, the network that holds just that. Raises `Refused`: network_invalid."""
    text = typed.strip()
    address, slash, _ = text.partition("/")
    try:
        most = ipaddress.ip_address(address).max_prefixlen
        if "%" in address:  # RFC 4007, 11: a zone is known to one machine only
            raise ValueError
    except ValueError:
        raise _invalid(text, f"“{address}” is no IP address") from None
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise _invalid(text, f"after the address comes nothing, or a / and a number from 0 to {most}") from None
    if slash and ipaddress.ip_address(address) != network.network_address:
        # A machine's address with its netmask: which of the two is meant?
        raise _invalid(text, f"write {network} for all of it, or {address} for the one address")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        network = ipaddress.ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return str(network)


def read_networks(typed: Sequence[str], *, at: str) -> list[str]:
    """Each once, in the order given. Raises `Refused`, pointing at the one that is wrong; `at`: JSON pointer of the list."""
    networks = []
    for index, text in enumerate(typed):
        try:
            networks.append(read_network(text))
        except Refused as refused:
            refused.errors = [{"pointer": f"{at}/{index}", "detail": refused.detail}]
            raise
    return list(dict.fromkeys(networks))


def _invalid(text: str, problem: str) -> Refused:
    return Refused("network_invalid", typed=text[:60], problem=problem)
