"""Links that show one recipient's timeline to somebody without an account: read-only, for a while, without the mail's content.

The secret in the link is told once, to whoever made it; only its hash is kept. A link ends by its time, by being revoked, and
with the message or its organization.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.models import Organization
from accounts.scoping import OrganizationQuerySet
from accounts.walls import across_organizations
from relay.models import Recipient, TimelineLink

GOOD_FOR = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}
IN_WORDS = {"1h": "1 hour", "1d": "1 day", "7d": "7 days"}
KEPT_AFTER = timedelta(days=30)  # so long a link that has ended tells its holder that it has


@dataclass(frozen=True, slots=True)
class NewLink:
    link: TimelineLink
    url: str  # nobody can tell it again


@transaction.atomic
def share(recipient: Recipient, good_for: timedelta, *, by: Actor = SYSTEM) -> NewLink:
    secret, now = secrets.token_urlsafe(32), timezone.now()
    link = TimelineLink.objects.create(
        organization_id=recipient.organization_id,
        message_id=recipient.message_id,
        recipient_id=recipient.pk,
        address=recipient.address,
        digest=_digest(secret),
        created_by=f"API key {by.name}".strip() if by.kind == "api_key" else by.name,
        created_at=now,
        expires_at=now + good_for,
    )
    after = {"message_id": link.message_id, "expires_at": link.expires_at}
    note(by, "timeline_link.created", link, organization_id=link.organization_id, after=after)
    return NewLink(link, settings.WEB_URL + reverse("shared_timeline", args=[secret]))


@transaction.atomic
def revoke(organization: Organization, link_id: UUID, *, by: Actor = SYSTEM) -> bool:
    """False: it has ended already, or there is none."""
    link = open_links(organization).select_for_update().filter(pk=link_id).first()
    if link is None:
        return False
    link.revoked_at = timezone.now()
    link.save(update_fields=["revoked_at"])
    note(by, "timeline_link.revoked", link, organization_id=link.organization_id)
    return True


def open_links(organization: Organization) -> OrganizationQuerySet[TimelineLink]:
    return TimelineLink.objects.of(organization).filter(revoked_at__isnull=True, expires_at__gt=timezone.now())


@across_organizations()
def find(secret: str) -> TimelineLink | None:
    """In whatever state it is; of no organization in particular, since who asks belongs to none."""
    return TimelineLink.objects.select_related("organization").filter(digest=_digest(secret)).first()


def forget_old() -> None:
    TimelineLink.objects.filter(expires_at__lt=timezone.now() - KEPT_AFTER).delete()


def _digest(secret: str) -> bytes:
    """High entropy needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()
