"""A domain's own part of the audit log."""

from __future__ import annotations

from typing import Any

from accounts.audit_words import told
from accounts.models import AuditEntry
from domains.models import SendingDomain

SHOWN = 8


def page_part(domain: SendingDomain) -> dict[str, Any]:
    """For `domains/parts/history.html`."""
    entries = AuditEntry.objects.of(domain.organization).filter(object_id=domain.pk).order_by("-id")[: SHOWN + 1]
    return {"history": [told(entry) for entry in entries[:SHOWN]], "has_more_history": len(entries) > SHOWN}
