"""A copy of what the platform knows of a person: the profile, and each table that points to it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from accounts.models import AuditEntry, User
from accounts.walls import across_organizations

PROFILE = ("id", "email", "name", "date_joined", "last_login", "is_active", "is_staff")

MOST_ACTS = 10_000  # of an organization, the newest

# By the label of the model: what is copied of a row. Secrets and their hashes are not.
COPIED: dict[str, tuple[str, ...]] = {
    "account.EmailAddress": ("email", "verified", "primary"),
    "accounts.Membership": ("organization_id", "organization__name", "role", "created_at", "last_seen_at"),
    "accounts.Invitation": ("organization_id", "email", "role", "created_at", "accepted_at", "revoked_at"),
    "accounts.ApiKey": ("organization_id", "name", "prefix", "created_at", "expires_at", "revoked_at"),
    "accounts.Notice": ("organization_id", "template", "created_at", "sent_at"),
    "admin.LogEntry": ("action_time", "object_repr", "action_flag"),
    "mfa.Authenticator": ("type", "created_at", "last_used_at"),
    "socialaccount.SocialAccount": ("provider", "uid", "date_joined", "last_login"),
    "usersessions.UserSession": ("created_at", "last_seen_at", "ip", "user_agent"),
}
TITLES = {
    "account.EmailAddress": "addresses",
    "accounts.Membership": "memberships",
    "accounts.Invitation": "invitations_sent",
    "accounts.ApiKey": "api_keys_made",
    "accounts.Notice": "mails_besides_the_owners",
    "admin.LogEntry": "acts_as_operator",
    "mfa.Authenticator": "second_factors_and_passkeys",
    "socialaccount.SocialAccount": "accounts_elsewhere",
    "usersessions.UserSession": "sessions",
}


@across_organizations()
def copy_of(user: User) -> dict[str, Any]:
    """For JSON, with Django's encoder."""
    copy: dict[str, Any] = {
        "made_at": timezone.now(),
        "profile": {name: getattr(user, name) for name in PROFILE} | {"has_password": user.has_usable_password()},
    }
    for relation in relations():
        model = relation.related_model
        rows = model._default_manager.filter(**{relation.field.name: user}).order_by("pk")
        copy[TITLES[model._meta.label]] = list(rows.values(*COPIED[model._meta.label]))
    copy["acts_on_the_account"] = _acts_on_the_account(user)
    return copy


def _acts_on_the_account(user: User) -> list[dict[str, Any]]:
    """Sign-ins and what changed them, as the audit logs of the person's organizations have them."""
    found: list[dict[str, Any]] = []
    for membership in user.memberships.select_related("organization").order_by("organization_id"):
        own = AuditEntry.objects.of(membership.organization).filter(
            actor_kind="user", actor_id=user.pk, object_type="user"
        )
        found += [
            dict(row)
            for row in own.order_by("-id").values("organization_id", "occurred_at", "action", "client")[:MOST_ACTS]
        ]
    return found


def relations() -> list[Any]:
    """From other tables to people, but for those that only tell of permissions."""
    found: list[Any] = list(User._meta.get_fields(include_hidden=True))
    pointing = [one for one in found if one.auto_created and not one.concrete and (one.one_to_many or one.one_to_one)]
    return [one for one in pointing if not one.related_model._meta.auto_created]
