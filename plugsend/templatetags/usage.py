"""How much of its limits an SMTP user has used. Here, on the top floor, pages about domains meet what the mail path counts."""

from __future__ import annotations

from django import template

from domains.models import SmtpUser
from relay.models import Period
from relay.usage import Usage, usage_of

register = template.Library()


@register.inclusion_tag("components/usage.html")
def usage_meters(smtp_user: SmtpUser) -> dict[str, list[Usage]]:
    limits = {Period.HOUR: smtp_user.hourly_limit, Period.DAY: smtp_user.daily_limit}
    set_limits = {period: most for period, most in limits.items() if most is not None}
    return {"usages": usage_of(smtp_user.pk, set_limits) if set_limits else []}
