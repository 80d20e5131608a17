"""The addresses at which mail may come back. No I/O.

A return path proves itself by its tag. Its domain does not matter for that: some servers rewrite `psrp.<domain>`, a CNAME, to
what it points to (RFC 1123, 5.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from domains.records import RETURN_PATH_LABEL
from relay.delivery.return_path import message_of, recipient_of
from relay.suppressing.unsubscribe_tokens import read_unsubscribe_address


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Whose return path it is: one recipient's, or a message's several; neither: a feedback address.

    `is_to_unsubscribe`: the recipient's own address for that (List-Unsubscribe), which is no return path.
    """

    recipient_id: UUID | None = None
    message_id: UUID | None = None
    is_to_unsubscribe: bool = False

    @property
    def is_feedback(self) -> bool:
        return self.recipient_id is None and self.message_id is None


def mailbox_of(address: str) -> Mailbox | None:
    """None: nothing of ours."""
    lower = address.lower().rstrip(".")
    if lower in {one.lower() for one in settings.FEEDBACK_ADDRESSES}:
        return Mailbox()
    local, _, domain = lower.rpartition("@")
    names = {settings.RETURN_PATH_TARGET.lower().rstrip("."), settings.HOSTNAME.lower()}
    if not lower.isascii() or not (domain.startswith(f"{RETURN_PATH_LABEL}.") or domain in names):
        return None
    if recipient_id := recipient_of(f"{local}@"):
        return Mailbox(recipient_id=recipient_id)
    if message_id := message_of(f"{local}@"):
        return Mailbox(message_id=message_id)
    if recipient_id := read_unsubscribe_address(local):
        return Mailbox(recipient_id=recipient_id, is_to_unsubscribe=True)
    return None
