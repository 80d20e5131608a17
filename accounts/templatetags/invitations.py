"""The link of an invitation, made as its mail is written: the secret in it is stored nowhere."""

from datetime import datetime
from uuid import UUID

from django import template
from django.conf import settings
from django.urls import reverse

from accounts.invitations import secret_of

register = template.Library()


@register.simple_tag
def invitation_link(invitation_id: str, expires_at: str) -> str:
    """Both as a notice keeps them."""
    secret = secret_of(UUID(invitation_id), datetime.fromisoformat(expires_at))
    return settings.WEB_URL + reverse("invitation", args=[secret])
