"""A lane: the mail of one organization to one destination. Wake-ups and claims name lanes, never messages."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID


class Lane(NamedTuple):
    organization_id: UUID
    destination: str  # as in `Recipient.destination`

    def __str__(self) -> str:
        """The form that travels in tasks and nudges; no white space in it."""
        return f"{self.organization_id.hex}:{self.destination}"

    @classmethod
    def parse(cls, text: str) -> Lane:
        """Raises `ValueError`."""
        organization_id, _, destination = text.partition(":")
        return cls(UUID(organization_id), destination)
