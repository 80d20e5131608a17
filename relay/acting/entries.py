"""What the audit log says of acts on the queue (`relay.acting.actions`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from accounts.audit import Actor, Thing, note
from relay.models import Recipient


class Entries:
    """Of an act: one for each organization, in the transaction of the first batch that changes something of its own.

    Where that is not the only batch, the entry says how many recipients there are at most: the timeline of each says what came
    of it.
    """

    def __init__(self, verb: str, by: Actor, chosen_as: str, chosen: Counter[UUID], *, is_one_batch: bool) -> None:
        """`verb`: of what is done to messages. `chosen`: how many recipients, by organization."""
        self._verb, self._by, self._chosen_as = verb, by, chosen_as
        self._untold = chosen
        self._is_exact = is_one_batch

    def write(self, rows: Sequence[Recipient]) -> None:
        for organization_id, batch in groupby(sorted(rows, key=_owner), key=_owner):
            if organization_id in self._untold:
                self._write_one(organization_id, list(batch), self._untold.pop(organization_id))

    def _write_one(self, organization_id: UUID, rows: list[Recipient], chosen: int) -> None:
        after: dict[str, Any] = {"recipients": len(rows)} if self._is_exact else {"recipients_at_most": chosen}
        if self._chosen_as:
            after["chosen"] = f"recipients {self._chosen_as}"
        is_one = len({row.message_id for row in rows}) == 1 and not self._chosen_as
        thing = named(rows) if self._is_exact or is_one else Thing(None, "many messages")
        note(self._by, f"message.{self._verb}", thing, organization_id=organization_id, after=after)


def _owner(row: Recipient) -> UUID:
    return row.organization_id


def named(rows: Sequence[Recipient]) -> Thing:
    """The message that the recipients are of, named by them."""
    messages = {row.message_id for row in rows}
    others = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
    if len(messages) > 1:
        return Thing(None, f"{len(messages):,} messages")
    return Thing(messages.pop(), f"message to {rows[0].address}{others}")
