"""Who reads, and what stands in code in place of the placeholders: never a secret, which nobody can read anyway."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest

from accounts import second_factor
from accounts.middleware import membership_of
from accounts.permissions import Permission
from accounts.walls import act_for
from domains.models import SmtpUser
from plugsend.documentation.code import Values, platform_values

SESSION_KEY = "documentation_smtp_user"
MOST_CHOICES = 50


@dataclass(frozen=True, slots=True)
class Reader:
    """`choices`: the SMTP users whose addresses code can show, the newest first; none where nobody is signed in."""

    values: Values
    choices: list[SmtpUser]
    chosen: SmtpUser | None = None


def reader_of(request: HttpRequest) -> Reader:
    choices = _choices(request)
    wanted = request.session.get(SESSION_KEY) if choices else None
    chosen = next((one for one in choices if str(one.pk) == wanted), choices[0] if choices else None)
    return Reader(platform_values(chosen.address) if chosen else platform_values(), choices, chosen)


def remember(request: HttpRequest, smtp_user_id: UUID) -> bool:
    """False: it is none of the reader's."""
    if all(one.pk != smtp_user_id for one in _choices(request)):
        return False
    request.session[SESSION_KEY] = str(smtp_user_id)
    return True


def _choices(request: HttpRequest) -> list[SmtpUser]:
    if not request.user.is_authenticated:
        return []
    membership = membership_of(request)
    if membership is None or not membership.may(Permission.READ) or membership.organization.is_being_deleted:
        return []
    membership.user = request.user
    if second_factor.is_missing(membership):
        return []
    act_for(membership.organization_id, membership.user_id)
    users = SmtpUser.objects.of(membership.organization_id).filter(disabled_at__isnull=True)
    return list(users.order_by("-created_at")[:MOST_CHOICES])
