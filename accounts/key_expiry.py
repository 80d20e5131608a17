"""API keys that come to their end: people are warned, and the audit log tells of it.

That they stop working needs nobody (`accounts.credentials`). Both steps are found due by the row alone, and what marks them
done is written with the mail or the entry, so they happen once, whoever is ended in between.
"""

from __future__ import annotations

from datetime import UTC

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts.audit import SYSTEM, note
from accounts.models import EXPIRY_WARNING, ApiKey
from accounts.notices import notify_owners

AT_ONCE = 100

# Of passwords of SMTP users their own pages and entries tell; they end only when they are replaced.
_ENDING = Q(expires_at__isnull=False, revoked_at__isnull=True, expiry_noted_at__isnull=True, is_password=False)


def warn_of_ends() -> int:
    """Mails to owners and makers, once a key. Returns how many keys; other processes' are left to them.

    Not of keys that were replaced, nor of those that were made for less than the warning's time.
    """
    now = timezone.now()
    due = _ENDING & Q(
        expires_at__gt=now,
        expires_at__lte=now + EXPIRY_WARNING,
        created_at__lt=F("expires_at") - EXPIRY_WARNING,
        expiry_warned_at__isnull=True,
        replaced_by__isnull=True,
    )
    with transaction.atomic():
        keys = _taken(due)
        for key in keys:
            key.expiry_warned_at = now
            key.save(update_fields=["expiry_warned_at"])
            assert key.expires_at
            notify_owners(
                key.organization,
                "api_key_expires",
                also_to=key.created_by,
                name=key.name,
                prefix=key.prefix,
                key_id=str(key.pk),
                expires_at=f"{key.expires_at.astimezone(UTC):%-d %b %Y, %H:%M} UTC",
                last_used_at=f"{key.last_used_at.astimezone(UTC):%-d %b %Y, %H:%M} UTC" if key.last_used_at else "",
            )
    return len(keys)


def note_ends() -> int:
    """Writes into the audit log that keys have expired. Returns how many."""
    now = timezone.now()
    with transaction.atomic():
        keys = _taken(_ENDING & Q(expires_at__lte=now))
        for key in keys:
            key.expiry_noted_at = now
            key.save(update_fields=["expiry_noted_at"])
            assert key.expires_at
            after = {"expired_at": key.expires_at.isoformat(timespec="seconds")}
            note(SYSTEM, "api_key.expired", key, organization_id=key.organization_id, after=after)
    return len(keys)


def _taken(due: Q) -> list[ApiKey]:
    query = ApiKey.objects.select_for_update(skip_locked=True, of=["self"])
    return list(query.filter(due).select_related("organization", "created_by").order_by("expires_at")[:AT_ONCE])
