"""A small validating name server for tests: real packets, answers from a table, AD where the table says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from domains.dns.resolver import async_resolver_over

SERVFAIL, SILENT = "SERVFAIL", "SILENT"
SOA = "ns.test. hostmaster.test. 1 3600 600 86400 60"


@dataclass
class Zone:
    """`rows`: values by "name TYPE"; SERVFAIL or SILENT in place of values. `signed`: names under which AD is set."""

    rows: dict[str, list[str] | str] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)
    ttl_s: int = 60
    asked: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Zone:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Server(self), local_addr=("127.0.0.1", 0))
        self.port = int(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def resolver(self) -> dns.asyncresolver.Resolver:
        made = async_resolver_over((f"127.0.0.1:{self.port}",))
        made.lifetime, made.timeout = 1.0, 0.4
        return made

    def respond(self, query: dns.message.Message) -> dns.message.Message | None:
        name, type_ = query.question[0].name, query.question[0].rdtype
        self.asked.append(f"{_text(name)} {type_.name}")
        response = dns.message.make_response(query, recursion_available=True)
        names = [name]
        while alias := self.rows.get(f"{_text(names[-1])} CNAME"):
            response.answer.append(self._rrset(names[-1], RdataType.CNAME, list(alias)))
            names.append(dns.name.from_text(alias[0]))
        key = f"{_text(names[-1])} {type_.name}"
        values = self.rows.get(key, [])
        if values == SILENT:
            return None
        if values == SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        if values:
            response.answer.append(self._rrset(names[-1], type_, list(values)))
        else:
            response.authority.append(self._rrset(dns.name.from_text("test."), RdataType.SOA, [SOA]))
            if not any(row.partition(" ")[0].endswith(_text(names[-1])) for row in self.rows):
                response.set_rcode(dns.rcode.NXDOMAIN)
        wants_ad = bool(query.flags & dns.flags.AD)
        if wants_ad and all(any(_text(one).endswith(signed) for signed in self.signed) for one in names):
            response.flags |= dns.flags.AD
        return response

    def _rrset(self, name: dns.name.Name, type_: RdataType, values: list[str]) -> dns.rrset.RRset:
        return dns.rrset.from_text_list(name, self.ttl_s, dns.rdataclass.IN, type_, values)


class _Server(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if (response := self._zone.respond(dns.message.from_wire(data))) is not None:
            self._transport.sendto(response.to_wire(), addr)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
