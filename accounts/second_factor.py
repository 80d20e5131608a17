"""Whether people have a second factor or a passkey. The one place that asks allauth for it."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.apps import apps
from django.urls import reverse

from accounts.models import Membership, User


def is_offered() -> bool:
    return apps.is_installed("allauth.mfa")


def set_up_url() -> str:
    """The page where one sets it up."""
    return reverse("mfa_index") if is_offered() else reverse("account_email")


def has_second_factor(user: User) -> bool:
    if not is_offered():
        return False
    from allauth.mfa.utils import is_mfa_enabled

    return is_mfa_enabled(user)


def among(users: Iterable[User]) -> set[UUID]:
    """Which of them have one."""
    if not is_offered():
        return set()
    from allauth.mfa.models import Authenticator

    return set(Authenticator.objects.filter(user__in=list(users)).values_list("user_id", flat=True))


def is_missing(membership: Membership) -> bool:
    """Whether the organization asks for one that this member has not."""
    return membership.organization.require_mfa and not has_second_factor(membership.user)
