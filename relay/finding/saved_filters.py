"""Filters of the message list that an organization keeps by name."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from accounts.audit import SYSTEM, Actor, note
from accounts.members import in_turn
from accounts.models import Organization
from relay.finding.asked import Asked
from relay.models import SavedFilter

MOST = 30
NAME_LENGTH = 60


class NotSaved(Exception):
    """`detail` says to people why, and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def saved_filters(organization: Organization) -> list[SavedFilter]:
    return list(SavedFilter.objects.of(organization).order_by("name", "id"))


def save_filter(organization: Organization, name: str, asked: Asked, *, by: Actor = SYSTEM) -> SavedFilter:
    """Under a name that there is already it takes the other's place. Raises NotSaved."""
    name = " ".join(name.replace("\0", "").split())
    if not name or len(name) > NAME_LENGTH:
        raise NotSaved(f"Give the filter a name of up to {NAME_LENGTH} characters.")
    if not asked or asked.unread:
        raise NotSaved("Filter the list first: what it shows then is saved.")
    with transaction.atomic():
        in_turn(organization)
        ours = SavedFilter.objects.of(organization)
        saved = ours.filter(name=name).first()
        if saved is None:
            if ours.count() >= MOST:
                raise NotSaved(f"There are {MOST} saved filters, which is the most. Remove one first.")
            saved = SavedFilter.objects.create(organization=organization, name=name, query=asked.query)
            note(by, "saved_filter.added", saved, organization_id=organization.pk, after={"query": saved.query})
        elif saved.query != asked.query:
            before, saved.query = saved.query, asked.query
            saved.save(update_fields=["query"])
            note(
                by, "saved_filter.changed", saved, organization_id=organization.pk,
                before={"query": before}, after={"query": saved.query},
            )  # fmt: skip
    return saved


def remove_filter(organization: Organization, filter_id: UUID, *, by: Actor = SYSTEM) -> SavedFilter | None:
    """Returns what was removed."""
    with transaction.atomic():
        saved = SavedFilter.objects.of(organization).select_for_update().filter(pk=filter_id).first()
        if saved is not None:
            note(by, "saved_filter.removed", saved, organization_id=organization.pk, before={"query": saved.query})
            SavedFilter.objects.of(organization).filter(pk=filter_id).delete()
    return saved
