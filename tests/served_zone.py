"""A zone of `tests.dns_zone` served from a thread of its own, for code that is not asynchronous."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pytest_django.fixtures import Settings

from tests.dns_zone import Zone
from tests.sandbox_servers import HOST, running


class _Served:
    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    async def close(self) -> None:
        await self.zone.__aexit__()


async def _serve(rows: Mapping[str, list[str] | str]) -> _Served:
    return _Served(await Zone(dict(rows)).__aenter__())


@contextmanager
def zone_of(settings: Settings, rows: Mapping[str, list[str] | str]) -> Iterator[Zone]:
    with running(_serve(rows)) as served:
        settings.DNS_NAMESERVERS = [f"{HOST}:{served.zone.port}"]
        yield served.zone
