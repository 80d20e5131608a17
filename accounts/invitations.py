"""Invitations: sent, sent again, revoked, accepted.

The link in the mail holds a secret that the server's key makes from the invitation and its expiry. Only the secret's hash
is kept, a mail that goes out twice carries the same link, and one sent again later, with a new expiry, ends the former link.
Inviting looks nobody up: it tells nothing about who has an account.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.audit import Actor, note
from accounts.catalogue import Refused
from accounts.ids import uuid7
from accounts.members import MembersRefused, in_turn, roles_to_give
from accounts.models import Invitation, Membership, Notice, Organization, Role, User
from accounts.notices import notify_address, notify_owners
from accounts.quotas import check_member_quota
from accounts.scoping import OrganizationQuerySet
from accounts.walls import across_organizations

GOOD_FOR = timedelta(days=7)
# Mails with invitations in 24 hours, of an organization: strangers are not to be mailed through us at will.
A_DAY = 100
A_DAY_EACH = 5  # to one address
TEMPLATE = "invitation"
SECRET_SALT = "accounts.invitations"  # noqa: S105 - it names the purpose


@dataclass(slots=True)
class Invited:
    """What became of the addresses; `members` belong to the organization already."""

    invitations: list[Invitation] = field(default_factory=list)
    members: list[str] = field(default_factory=list)


def secret_of(invitation_id: UUID, expires_at: datetime) -> str:
    """What the link holds: 256 bits, 43 characters."""
    seed = f"{invitation_id}:{expires_at.timestamp():.6f}"
    return base64.urlsafe_b64encode(salted_hmac(SECRET_SALT, seed, algorithm="sha256").digest()).rstrip(b"=").decode()


def digest_of(secret: str) -> bytes:
    """The form in which a secret is stored and looked up: 32 octets. High entropy needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


@across_organizations()
def find(secret: str) -> Invitation | None:
    """In whatever state it is; of no organization in particular, since who asks belongs to none yet."""
    query = Invitation.objects.select_related("organization", "invited_by")
    return query.filter(digest=digest_of(secret)).first()


def waiting_for(organization: Organization) -> list[Invitation]:
    """Those that are open or have expired, the newest first."""
    return list(_waiting(organization).select_related("invited_by").order_by("-created_at"))


@transaction.atomic
def invite(acting: Membership, addresses: Iterable[str], role: Role, *, by: Actor) -> Invited:
    """An address that was invited before gets a new link, and this role. Raises MembersRefused."""
    acting = _with_power(acting, role)
    result = Invited()
    known = {one.lower() for one in acting.organization.memberships.values_list("user__email", flat=True)}
    for email in dict.fromkeys(address.strip().lower() for address in addresses):
        if email in known:
            result.members.append(email)
            continue
        if former := _waiting(acting.organization).filter(email=email).first():
            _revoke(former, by)
        _expect_room(acting.organization)
        result.invitations.append(_make(acting, email, role, by))
    return result


@transaction.atomic
def resend(acting: Membership, invitation_id: UUID, *, by: Actor) -> Invitation:
    """A new link, good for its full time again; the former one ends. Raises MembersRefused."""
    invitation = _held(acting, invitation_id)
    _with_power(acting, Role(invitation.role))
    if not invitation.is_open:
        _expect_room(acting.organization)
    before = invitation.expires_at
    invitation.expires_at = timezone.now() + GOOD_FOR
    invitation.digest = digest_of(secret_of(invitation.pk, invitation.expires_at))
    invitation.save(update_fields=["expires_at", "digest"])
    changed = {"before": {"expires_at": before.isoformat()}, "after": {"expires_at": invitation.expires_at.isoformat()}}
    note(by, "invitation.resent", invitation, organization_id=invitation.organization_id, **changed)
    _mail(invitation, by)
    return invitation


@transaction.atomic
def revoke(acting: Membership, invitation_id: UUID, *, by: Actor) -> Invitation:
    """Its link ends. Raises MembersRefused."""
    invitation = _held(acting, invitation_id)
    _with_power(acting, Role(invitation.role))
    _revoke(invitation, by)
    return invitation


def is_for(invitation: Invitation, user: User) -> bool:
    """Whether it was sent to an address that this person has proved to be theirs."""
    return EmailAddress.objects.filter(user=user, verified=True, email__iexact=invitation.email).exists()


@transaction.atomic
def accept(invitation: Invitation, user: User, *, by: Actor) -> Membership:
    """Makes the person a member; who is one already keeps the role. Raises MembersRefused where it is not open any more, or
    the plan has no place.

    The caller has made sure that the address is theirs.
    """
    organization = invitation.organization
    in_turn(organization)
    invitation = Invitation.objects.of(organization).select_for_update().get(pk=invitation.pk)
    if not invitation.is_open:
        raise MembersRefused("This invitation is not good any more.")
    if Organization.objects.of(organization).filter(deletion_requested_at__isnull=False).exists():
        raise MembersRefused(f"{organization.name} is being deleted by its owners. Nobody can join it now.")
    invitation.accepted_at = timezone.now()
    invitation.save(update_fields=["accepted_at"])
    note(by, "invitation.accepted", invitation, organization_id=organization.pk)
    if not organization.memberships.filter(user=user).exists():
        _expect_place(organization)
    member, is_new = Membership.objects.of(organization).get_or_create(
        organization=organization, user=user, defaults={"role": invitation.role}
    )
    if is_new:
        note(by, "member.joined", member, organization_id=organization.pk, after={"role": member.role})
        role = member.get_role_display().lower()
        notify_owners(organization, "member_joined", member=user.email, role=role)
    return member


# ---- What they have in common ----------------------------------------------------------------------------------------


def _waiting(organization: Organization) -> OrganizationQuerySet[Invitation]:
    return Invitation.objects.of(organization).filter(accepted_at__isnull=True, revoked_at__isnull=True)


def _held(acting: Membership, invitation_id: UUID) -> Invitation:
    in_turn(acting.organization)
    invitation = _waiting(acting.organization).filter(pk=invitation_id).first()
    if invitation is None:
        raise MembersRefused("That invitation was accepted or revoked meanwhile.")
    return invitation


def _with_power(acting: Membership, role: Role) -> Membership:
    in_turn(acting.organization)
    fresh = acting.organization.memberships.select_related("organization", "user").filter(pk=acting.pk).first()
    if fresh is None:
        raise MembersRefused("You are not a member any more.")
    if role not in roles_to_give(fresh):
        raise MembersRefused(
            "Only owners can invite owners." if role == Role.OWNER else "Your role does not permit to invite members."
        )
    return fresh


def _expect_room(organization: Organization) -> None:
    """For one more invitation. Raises MembersRefused."""
    try:
        check_member_quota(organization, inviting=True)
    except Refused as refused:
        raise MembersRefused(f"{refused.detail} {refused.refusal.advice}") from None


def _expect_place(organization: Organization) -> None:
    """For the one who was invited: a plan may have become smaller meanwhile. Raises MembersRefused."""
    try:
        check_member_quota(organization)
    except Refused:
        raise MembersRefused(
            f"The plan of {organization.name} has no place for another member now. Ask the one who invited you to make room; "
            "the invitation stays good until it expires."
        ) from None


def _make(acting: Membership, email: str, role: Role, by: Actor) -> Invitation:
    key, expires_at = uuid7(), timezone.now() + GOOD_FOR
    invitation = Invitation.objects.create(
        id=key,
        organization=acting.organization,
        email=email,
        role=role,
        digest=digest_of(secret_of(key, expires_at)),
        invited_by=acting.user,
        expires_at=expires_at,
    )
    note(by, "invitation.sent", invitation, organization_id=acting.organization_id, after={"role": str(role)})
    _mail(invitation, by)
    return invitation


def _revoke(invitation: Invitation, by: Actor) -> None:
    invitation.revoked_at = timezone.now()
    invitation.save(update_fields=["revoked_at"])
    note(by, "invitation.revoked", invitation, organization_id=invitation.organization_id)


def _mail(invitation: Invitation, by: Actor) -> None:
    """Raises MembersRefused after too many."""
    _expect_few(invitation.organization, invitation.email)
    notify_address(
        invitation.organization,
        invitation.email,
        TEMPLATE,
        invitation_id=str(invitation.pk),
        expires_at=invitation.expires_at.isoformat(),
        role=invitation.get_role_display().lower(),
        who=by.name,
    )


def _expect_few(organization: Organization, address: str) -> None:
    """The organization's row is held, so its count is exact. An address's is over all organizations, of which anybody may
    make many."""
    since = timezone.now() - timedelta(days=1)
    sent = Notice.objects.of(organization).filter(template=TEMPLATE, created_at__gt=since)
    with across_organizations():
        to_address = Notice.objects.filter(template=TEMPLATE, created_at__gt=since, address=address).count()
    if to_address >= A_DAY_EACH:
        raise MembersRefused(
            f"{A_DAY_EACH} invitations went to {address} in the last 24 hours. Wait before you send more."
        )
    if sent.count() >= A_DAY:
        raise MembersRefused(f"At most {A_DAY} invitations go out in 24 hours. Send the others tomorrow.")
