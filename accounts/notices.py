"""Mails that tell an organization's owners, or others whom it concerns, what happened.

The notice is a row, written in the transaction of what it tells of; a task sends it, and beat sends what was left behind.
At least once: should the process end between the mail and the note that it is sent, it goes out again.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.catalogue import Refused
from accounts.models import Notice, Organization, Role, User

logger = logging.getLogger(__name__)

AT_ONCE = 50


def notify_owners(organization: Organization, template: str, *, also_to: User | None = None, **values: Any) -> None:
    """Tells the owners. `template`: of `accounts/email/<template>_subject.txt` and `_message.txt`; `values`: JSON.

    `also_to` is told, too, if still a member when the mail goes out.
    """
    _notify(organization, template, values, also_to=also_to)


def notify_address(organization: Organization, address: str, template: str, **values: Any) -> None:
    """Tells one person, who need not be a member."""
    _notify(organization, template, values, address=address)


def _notify(
    organization: Organization, template: str, values: dict[str, Any], *, address: str = "", also_to: User | None = None
) -> None:
    from accounts.tasks import send_notices

    Notice.objects.create(organization=organization, template=template, values=values, address=address, also_to=also_to)
    transaction.on_commit(lambda: send_notices.apply_async(retry=False), robust=True)


def send_due() -> int:
    """Sends what is not sent yet, the oldest first. Returns how many; another process's are left to it.

    One that cannot be sent now keeps no other from going out, and is tried again in the next run.
    """
    sent, failed = 0, list[UUID]()
    while sent + len(failed) < AT_ONCE:
        with transaction.atomic():
            query = Notice.objects.select_for_update(skip_locked=True, of=["self"]).select_related("organization")
            notice = query.filter(sent_at__isnull=True).exclude(pk__in=failed).order_by("id").first()
            if notice is None:
                break
            try:
                _send(notice)
            except Exception:
                logger.exception("The notice %s could not be sent", notice.pk)
                failed.append(notice.pk)
                continue
            notice.sent_at = timezone.now()
            notice.save(update_fields=["sent_at"])
        sent += 1
    return sent


def _send(notice: Notice) -> None:
    context = notice.values | {"organization": notice.organization, "web_url": settings.WEB_URL}
    subject = " ".join(render_to_string(f"accounts/email/{notice.template}_subject.txt", context).split())
    text = render_to_string(f"accounts/email/{notice.template}_message.txt", context).strip() + "\n"
    for address in [notice.address] if notice.address else _readers(notice):
        try:
            send_mail(subject, text, None, [address])
        except Refused as refused:
            if refused.code != "invalid_recipient":
                raise
            logger.warning("The notice %s has a reader whose address takes no mail", notice.pk)


def _readers(notice: Notice) -> list[str]:
    members = notice.organization.memberships.filter(user__is_active=True)
    readers = members.filter(Q(role=Role.OWNER) | Q(user_id=notice.also_to_id))
    return list(readers.order_by("created_at").values_list("user__email", flat=True))
