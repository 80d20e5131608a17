"""Mails that tell an organization's owners what happened to it.

The notice is a row, written in the transaction of what it tells of; a task sends it, and beat sends what was left behind.
At least once: should the process end between the mail and the note that it is sent, it goes out again.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import Notice, Organization, Role

AT_ONCE = 50


def notify_owners(organization: Organization, template: str, **values: Any) -> None:
    """Tells the owners. `template`: of `accounts/email/<template>_subject.txt` and `_message.txt`; `values`: JSON."""
    from accounts.tasks import send_notices

    Notice.objects.create(organization=organization, template=template, values=values)
    transaction.on_commit(lambda: send_notices.apply_async(retry=False), robust=True)


def notify_address(address: str, template: str, **values: Any) -> None:
    """Tells somebody whom the platform will not know any more. The row goes when the mail is sent."""
    from accounts.tasks import send_notices

    system = Organization.objects.get(is_system=True)
    Notice.objects.create(organization=system, template=template, values=values, address=address)
    transaction.on_commit(lambda: send_notices.apply_async(retry=False), robust=True)


def send_due() -> int:
    """Sends what is not sent yet, the oldest first. Returns how many; another process's are left to it."""
    sent = 0
    while sent < AT_ONCE:
        with transaction.atomic():
            query = Notice.objects.select_for_update(skip_locked=True, of=["self"]).select_related("organization")
            notice = query.filter(sent_at__isnull=True).order_by("id").first()
            if notice is None:
                break
            _send(notice)
            if notice.address:
                notice.delete()
            else:
                notice.sent_at = timezone.now()
                notice.save(update_fields=["sent_at"])
        sent += 1
    return sent


def _send(notice: Notice) -> None:
    context = notice.values | {"organization": notice.organization, "web_url": settings.WEB_URL}
    subject = render_to_string(f"accounts/email/{notice.template}_subject.txt", context).strip()
    text = render_to_string(f"accounts/email/{notice.template}_message.txt", context).strip() + "\n"
    for address in [notice.address] if notice.address else owners_of(notice.organization):
        send_mail(subject, text, None, [address])


def owners_of(organization: Organization) -> list[str]:
    """Their addresses."""
    owners = organization.memberships.filter(role=Role.OWNER, user__is_active=True)
    return list(owners.order_by("created_at").values_list("user__email", flat=True))
