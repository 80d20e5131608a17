"""`{% load sandbox %}`: what pages of other rooms show in sandbox mode only."""

from typing import Any

from django import template
from django.conf import settings

from domains.models import SendingDomain
from relay.sandbox.forms import PublishForm
from relay.sandbox.zone import host_of

register = template.Library()


@register.inclusion_tag("domains/parts/sandbox_publish.html", takes_context=True)
def sandbox_publish(context: template.Context, domain: SendingDomain) -> dict[str, Any]:
    """Publishing the domain's records in the sandbox's zone, and taking them away again."""
    return {
        "sandbox": settings.SANDBOX,
        "domain": domain,
        "form": PublishForm(initial={"host": host_of(domain)}) if settings.SANDBOX else None,
        "csrf_token": context.get("csrf_token"),
    }
