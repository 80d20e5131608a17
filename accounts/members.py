"""What changes an organization's members: roles, leaving, removal, handing over.

Each act takes the organization's row first, so that two at once come one after the other, and reads anew who acts and on whom:
either may have been somebody else a moment ago. There is always an owner.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from accounts.audit import Actor, note
from accounts.models import Membership, Organization, Role
from accounts.notices import notify_address, notify_owners
from accounts.permissions import Permission


class MembersRefused(Exception):
    """`detail` says to people why it is not done, and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


LAST_OWNER = "An organization always has an owner. Make somebody else one first."
NOT_A_MEMBER = "That person is not a member any more."


def in_turn(organization: Organization) -> None:
    """Until the transaction ends nobody else changes this organization's people. Rows that point to it can still be added."""
    Organization.objects.of(organization).select_for_update(no_key=True).get()


def may_change(acting: Membership, member: Membership) -> bool:
    """Whether one may change or end the other's membership; only owners touch owners."""
    return acting.may(Permission.MANAGE_OWNERS if member.is_owner else Permission.MANAGE_MEMBERS)


def roles_to_give(acting: Membership) -> list[Role]:
    """The most powerful first."""
    if not acting.may(Permission.MANAGE_MEMBERS):
        return []
    return [role for role in Role if role != Role.OWNER or acting.may(Permission.MANAGE_OWNERS)]


@transaction.atomic
def change_role(acting: Membership, member_id: UUID, role: Role, *, by: Actor) -> Membership:
    """Raises MembersRefused."""
    acting, member = _both(acting, member_id)
    _expect_power(acting, member, role)
    if member.role == role:
        return member
    if member.is_owner:
        _expect_another_owner(member)
    _set_role(member, role, by)
    if member.pk != acting.pk:
        _tell(member, "role_changed", role=member.get_role_display().lower(), who=by.name)
    if role == Role.OWNER:
        _tell_owners(member, "owner_added", by)
    return member


@transaction.atomic
def remove_member(acting: Membership, member_id: UUID, *, by: Actor) -> Membership:
    """They lose access at once, since each request asks for the membership. Raises MembersRefused."""
    acting, member = _both(acting, member_id)
    _expect_power(acting, member)
    if member.is_owner:
        _expect_another_owner(member)
    _end(member, "member.removed", by)
    _tell(member, "member_removed", who=by.name)
    if member.is_owner:
        _tell_owners(member, "owner_gone", by)
    return member


@transaction.atomic
def leave(member: Membership, *, by: Actor) -> None:
    """Raises MembersRefused for the last owner."""
    in_turn(member.organization)
    member = _read(member.organization, member.pk)
    if member.is_owner:
        _expect_another_owner(member)
    _end(member, "member.left", by)
    notify_owners(member.organization, "member_left", member=member.user.email, role=member.get_role_display().lower())


@transaction.atomic
def hand_over(acting: Membership, member_id: UUID, *, by: Actor) -> Membership:
    """The member becomes owner; who was it becomes admin. Raises MembersRefused."""
    acting, member = _both(acting, member_id)
    if not acting.is_owner:
        raise MembersRefused("Only an owner can hand the organization over.")
    if member.is_owner:
        raise MembersRefused(f"{member.user.email} is an owner already.")
    if not member.user.is_active:
        raise MembersRefused(f"The account of {member.user.email} is closed. Choose somebody else.")
    _set_role(member, Role.OWNER, by)
    _set_role(acting, Role.ADMIN, by)
    _tell(member, "became_owner", who=by.name)
    _tell(acting, "handed_over", member=member.user.email)
    _tell_owners(member, "owner_added", by)
    return member


# ---- What they have in common ----------------------------------------------------------------------------------------


def _both(acting: Membership, member_id: UUID) -> tuple[Membership, Membership]:
    in_turn(acting.organization)
    try:
        fresh = _read(acting.organization, acting.pk)
    except MembersRefused:
        raise MembersRefused("You are not a member any more.") from None
    return fresh, fresh if member_id == fresh.pk else _read(acting.organization, member_id)


def _read(organization: Organization, member_id: UUID) -> Membership:
    found = organization.memberships.select_related("user", "organization").filter(pk=member_id).first()
    if found is None:
        raise MembersRefused(NOT_A_MEMBER)
    return found


def _expect_power(acting: Membership, member: Membership, role: Role | None = None) -> None:
    if not acting.may(Permission.MANAGE_MEMBERS):
        raise MembersRefused("Your role does not permit to change members. Ask an owner or admin.")
    if not may_change(acting, member):
        raise MembersRefused(f"{member.user.email} is an owner: only owners can change that.")
    if role is not None and role not in roles_to_give(acting):
        raise MembersRefused("Only owners can make somebody an owner.")


def _expect_another_owner(member: Membership) -> None:
    others = member.organization.memberships.filter(role=Role.OWNER, user__is_active=True).exclude(pk=member.pk)
    if not others.exists():
        raise MembersRefused(LAST_OWNER)


def _set_role(member: Membership, role: Role, by: Actor) -> None:
    before, member.role = member.role, role
    member.save(update_fields=["role"])
    _note(by, "member.role_changed", member, before={"role": before}, after={"role": str(role)})


def _end(member: Membership, action: str, by: Actor) -> None:
    _note(by, action, member, before={"role": member.role})
    Membership.objects.of(member.organization_id).filter(pk=member.pk).delete()


def _note(
    by: Actor,
    action: str,
    member: Membership,
    *,
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
) -> None:
    note(by, action, member, organization_id=member.organization_id, before=before, after=after)


def _tell(to: Membership, template: str, **values: str) -> None:
    notify_address(to.organization, to.user.email, template, **values)


def _tell_owners(about: Membership, template: str, by: Actor) -> None:
    """All but the one whom it is about."""
    owners = about.organization.memberships.filter(role=Role.OWNER, user__is_active=True).exclude(pk=about.pk)
    for owner in owners.select_related("user", "organization"):
        _tell(owner, template, member=about.user.email, who=by.name)
