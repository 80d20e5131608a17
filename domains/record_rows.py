"""The rows of a domain's records, kept as `domains.records` expects them."""

from __future__ import annotations

from domains.models import DkimKeyState, DnsRecord, SendingDomain
from domains.records import expected_records

_ORDER = [DkimKeyState.ACTIVE, DkimKeyState.WAITING, DkimKeyState.RETIRING]


def lay_out_records(domain: SendingDomain) -> None:
    """Asks for what is not asked for yet, and gives each row the place and purpose that its key's state calls for.

    In the transaction that changed the keys. Rows of retired keys go.
    """
    keys = sorted(
        domain.dkim_keys.exclude(state=DkimKeyState.RETIRED).order_by("-created_at"),
        key=lambda key: _ORDER.index(DkimKeyState(key.state)),
    )
    domain.records.filter(dkim_key__state=DkimKeyState.RETIRED).delete()
    rows = {(row.type, row.name): row for row in domain.records.all()}
    made = []
    for position, expected in enumerate(expected_records(domain, keys)):
        row = rows.get((expected.type, expected.name))
        if row is None:
            row = DnsRecord(domain=domain, type=expected.type, name=expected.name, value=expected.value)
            row.dkim_key = expected.dkim_key
            made.append(row)
        row.position, row.purpose, row.required = position, expected.purpose, expected.required
    DnsRecord.objects.bulk_create(made)
    domain.records.bulk_update(rows.values(), ["position", "purpose", "required"])
