"""Small pieces of the pages' look that need a little thinking: states, times, sizes, fields, code blocks."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses
from typing import Any

from allauth.socialaccount.models import SocialAccount, SocialApp
from django import template
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, RadioSelect
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from lucide import _render_icon

from accounts.devices import device_name
from accounts.models import Scope
from relay.delivery.verdict import IN_WORDS, Verdict

register = template.Library()


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown: never by colour alone, but with an icon and a word (WCAG 1.4.1)."""

    label: str
    icon: str
    tone: str  # ok, warn, bad, info, idle


LOOKS = {
    # recipients and events
    "submitted": Look("Submitted", "send", "info"),
    "scheduled": Look("Scheduled", "calendar-clock", "info"),
    "deferred": Look("Deferred", "clock", "warn"),
    "in_doubt": Look("In doubt", "circle-question-mark", "warn"),
    "delivered": Look("Delivered", "circle-check", "ok"),
    "bounced": Look("Bounced", "circle-x", "bad"),
    "suppressed": Look("Suppressed", "ban", "idle"),
    "cancelled": Look("Cancelled", "circle-slash", "idle"),
    "unknown_outcome": Look("Outcome unknown", "circle-question-mark", "warn"),
    "held": Look("Held", "circle-pause", "idle"),
    "released": Look("Released", "circle-play", "info"),
    "retry_requested": Look("Retry requested", "rotate-cw", "info"),
    "complained": Look("Reported as spam", "flag", "bad"),
    "unsubscribed": Look("Unsubscribed", "bell-off", "idle"),
    "delayed": Look("Delay reported", "hourglass", "idle"),
    "auto_replied": Look("Automatic reply", "reply", "idle"),
    # exports
    "waiting": Look("Waiting", "clock", "idle"),
    "running": Look("Under way", "loader", "info"),
    "done": Look("Ready", "circle-check", "ok"),
    "failed": Look("Failed", "circle-x", "bad"),
    # sending domains
    "pending": Look("Waiting for DNS", "clock", "warn"),
    "verified": Look("Verified", "circle-check", "ok"),
    "failing": Look("Records gone", "triangle-alert", "bad"),
    "stopped": Look("Stopped", "circle-x", "bad"),
    "taken_over": Look("Taken over", "circle-x", "bad"),
    # DNS records
    "unchecked": Look("Not checked yet", "circle-dashed", "idle"),
    "found": Look("Found", "circle-check", "ok"),
    "missing": Look("Missing", "circle-x", "bad"),
    "unpublished": Look("Not published", "circle-dashed", "idle"),
    "different": Look("Different", "circle-alert", "warn"),
    "propagating": Look("Published, not visible to all yet", "clock", "info"),
    "unreachable": Look("DNS did not answer", "wifi-off", "warn"),
    # findings and figures
    "ok": Look("All is well", "circle-check", "ok"),
    "info": Look("Note", "info", "info"),
    "warn": Look("To be bettered", "circle-alert", "warn"),
    "error": Look("To be mended", "circle-x", "bad"),
    # credentials
    "active": Look("Active", "circle-check", "ok"),
    "without_key": Look("No key", "key-round", "warn"),
    "disabled": Look("Disabled", "ban", "idle"),
    "revoked": Look("Revoked", "ban", "idle"),
    "expired": Look("Expired", "clock", "idle"),
    "expires_soon": Look("Stops soon", "clock", "warn"),
    "replaced": Look("Replaced", "refresh-cw", "info"),
    "leaked": Look("Reported as leaked", "triangle-alert", "bad"),
    # templates
    "published": Look("Published", "circle-check", "ok"),
    "draft": Look("Draft", "pencil", "idle"),
    # webhooks
    "enabled": Look("Enabled", "circle-check", "ok"),
    "paused": Look("Paused", "pause", "bad"),
    "gone": Look("Gone", "circle-x", "bad"),
    # components of the platform
    "works": Look("Works", "circle-check", "ok"),
    "degraded": Look("Slow or in part", "circle-alert", "warn"),
    "down": Look("Out of order", "circle-x", "bad"),
    "maintenance": Look("Maintenance", "wrench", "info"),
    "not_known": Look("Not known", "circle-question-mark", "idle"),
    # DKIM verdicts
    "pass": Look("DKIM pass", "shield-check", "ok"),
    "fail": Look("DKIM fail", "shield-x", "bad"),
    "none": Look("Not signed", "shield-off", "idle"),
}


def _look(state: object) -> Look:
    word = str(getattr(state, "value", state))
    return LOOKS.get(word) or Look(word.replace("_", " ").capitalize(), "circle", "idle")


@register.inclusion_tag("components/badge.html")
def badge(state: object, label: str = "") -> dict[str, str]:
    look = _look(state)
    return {"label": label or look.label, "icon": look.icon, "tone": look.tone}


@register.filter
def state_icon(state: object) -> str:
    return _look(state).icon


@register.filter
def state_tone(state: object) -> str:
    return _look(state).tone


@register.filter
def state_label(state: object) -> str:
    return _look(state).label


# ---- Times and numbers -----------------------------------------------------------------------------------------------


@register.filter
def ago(moment: datetime | str | None) -> SafeString:
    """A relative time that tells the exact one on hover; app.js keeps it fresh."""
    when = parse_datetime(moment) if isinstance(moment, str) else moment
    if when is None:
        return mark_safe("")
    exact = f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        when.isoformat(timespec="milliseconds"),
        exact,
        relative((when - timezone.now()).total_seconds()),
    )


@register.filter
def due(moment: datetime) -> SafeString:
    """A relative time to come; once it is there, the thing happens any moment."""
    seconds = (moment - timezone.now()).total_seconds()
    return format_html(
        '<time datetime="{}" title="{}" data-relative="due">{}</time>',
        moment.isoformat(timespec="milliseconds"),
        f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        relative(seconds) if seconds > 0 else "any moment",
    )


@register.filter
def utc(moment: datetime | str) -> SafeString:
    """A time to the second where it has seconds."""
    when = parse_datetime(moment) if isinstance(moment, str) else moment
    if when is None:
        return mark_safe("")
    when = when.astimezone(UTC)
    return format_html(
        '<time datetime="{}">{}</time>',
        when.isoformat(timespec="milliseconds"),
        f"{when:%-d %b %Y, %H:%M:%S} UTC" if when.second else f"{when:%-d %b %Y, %H:%M} UTC",
    )


def relative(seconds: float) -> str:
    """Words for a time that is so many seconds away (negative: past). `static/app.js` holds the same rule."""
    size = abs(seconds)
    if size < 5:
        return "any moment" if seconds > 0 else "just now"
    for limit, unit_s, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (30 * 86400, 86400, "d")):
        if size < limit:
            amount = f"{int(size // unit_s)} {unit}"
            return f"in {amount}" if seconds > 0 else f"{amount} ago"
    return f"{timezone.now() + timedelta(seconds=seconds):%-d %b %Y}"


@register.filter
def milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


@register.filter
def pause(length: timedelta) -> str:
    """In the largest unit that it fills: 15 min."""
    seconds = length.total_seconds()
    for unit_s, unit in ((3600, "h"), (60, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f}".removesuffix(".0") + f" {unit}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f}".removesuffix(".0") + " s"


@register.filter
def svg(number: float) -> str:
    """A coordinate, whatever the language."""
    return f"{number:.2f}"


TLS_POLICIES = {
    "organization": "asked for by your settings",
    "mta-sts": "asked for by the receiver’s MTA-STS policy",
    "mta-sts-testing": "the receiver is testing an MTA-STS policy",
    "dane": "asked for by the receiver’s DANE records",
}


@register.filter
def encryption(tls: dict[str, str]) -> str:
    """Version, verdict on the certificate, and which policy ruled (`events.log.Tls`)."""
    verdict = tls.get("verdict", "")
    words = [tls["version"], IN_WORDS[Verdict(verdict)] if verdict else "", TLS_POLICIES.get(tls.get("policy", ""), "")]
    return ", ".join(word for word in words if word)


@register.filter
def grouped(number: int) -> str:
    return f"{number:,}"


@register.filter
def mailbox(header: str) -> str:
    """The address of a From field without its display name; a field with several, or none, stays whole."""
    found = getaddresses([header])
    return found[0][1] if len(found) == 1 and "@" in found[0][1] else header


@register.filter
def size(octets: int) -> str:
    return str(filesizeformat(octets)).replace("\xa0", " ")


@register.filter
def scopes(values: list[str]) -> str:
    return ", ".join(Scope(value).label for value in values)


@register.filter
def device(user_agent: str) -> str:
    return device_name(user_agent)


@register.filter
def provider_name(account: SocialAccount) -> str:
    try:
        return str(account.get_provider().name)
    except SocialApp.DoesNotExist:  # not configured any more
        return f"{account.provider.capitalize()} (switched off here)"


@register.filter
def account_name(account: SocialAccount) -> str:
    """How it is called over there."""
    told = account.extra_data.get("userinfo") or account.extra_data.get("id_token") or account.extra_data
    return str(told.get("email") or told.get("preferred_username") or told.get("login") or account.uid)


@register.filter
def scope_in_words(value: str) -> str:
    return Scope(value).in_words


@register.filter
def transcript_lines(transcript: str) -> list[tuple[str, str]]:
    """(who, text) for each line; who is C (we), S (the exchanger) or empty."""
    lines = (line.partition(": ") for line in transcript.splitlines())
    return [(who, text) if who in {"C", "S"} else ("", who + colon + text) for who, colon, text in lines]


# ---- Forms -----------------------------------------------------------------------------------------------------------


ACCOUNT_FIELDS = {"email", "login", "password", "password1", "password2", "oldpassword", "code"}


@register.filter
def widget(field: BoundField, css: str = "input") -> SafeString:
    """The field's control in our look."""
    plain = isinstance(field.field.widget, CheckboxSelectMultiple | RadioSelect | CheckboxInput)
    attributes: dict[str, Any] = {} if plain else {"class": css}
    if field.name in ACCOUNT_FIELDS:
        attributes["placeholder"] = ""  # django-allauth repeats the label there
    if field.errors:
        attributes |= {"aria-describedby": f"{field.auto_id}_error"}
    return field.as_widget(attrs=attributes)


_PLAIN = [
    (re.compile(pattern), words)
    for pattern, words in (
        (r"This field is required\.", "Fill this in."),
        (r"Enter a valid email address\.", "This is no email address. Write it like name@example.com."),
        (r"Ensure this value is greater than or equal to (\S+)\.", r"Take \1 or more."),
        (r"Ensure this value is less than or equal to (\S+)\.", r"Take \1 or less."),
        (
            r"Ensure this value has at most (\d+) characters? \(it has (\d+)\)\.",
            r"Shorten it to \1 characters: it has \2.",
        ),
    )
]


@register.filter
def plainly(error: str) -> str:
    """What Django's own fields say of a value, in the words of these pages: what to do."""
    return next((found.expand(words) for sentence, words in _PLAIN if (found := sentence.fullmatch(str(error)))), error)


@register.filter
def is_checkbox(field: BoundField) -> bool:
    return isinstance(field.field.widget, CheckboxInput)


@register.filter
def title_and_text(label: object) -> tuple[str, str]:
    """A choice's label in its two parts, of which the second may be missing: `title: text`."""
    title, _, text = str(label).partition(": ")
    return title, text[:1].upper() + text[1:]


@register.filter
def is_group(field: BoundField) -> bool:
    return isinstance(field.field.widget, CheckboxSelectMultiple | RadioSelect)


# ---- Blocks ----------------------------------------------------------------------------------------------------------


@register.filter
def sh(text: str) -> str:
    """As one word of a POSIX shell."""
    return text if re.fullmatch(r"[\w@.+-]+", text, re.ASCII) else shlex.quote(text)


@register.filter
def quoted(text: str) -> str:
    """A string of JSON, Python, JavaScript, Go, Java and C#."""
    return json.dumps(text)


@register.filter
def single_quoted(text: str) -> str:
    """A string of PHP and Ruby in which nothing is filled in."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@register.filter
def dotenv(text: str) -> str:
    """A value of a `.env` file in which nothing is filled in."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


@register.simple_block_tag
def code(content: str, label: str = "", copy: bool = True, wrap: bool = False) -> SafeString:
    """A block of code with a copy button; `wrap` breaks long lines. Its content comes escaped out of the template already."""
    text = SafeString(content.strip("\n"))
    button = (
        format_html(
            '<button type="button" class="copy" data-copy hidden>{}<span>Copy</span></button>',
            mark_safe(_render_icon("copy", 14, aria_hidden="true")),  # noqa: S308 - our own icon
        )
        if copy
        else ""
    )
    caption = format_html('<span class="code-label">{}</span>', label) if label else ""
    return format_html(
        '<div class="code" data-copy-source><div class="code-head">{}{}</div><pre tabindex="0"{}>{}</pre></div>',
        caption,
        button,
        mark_safe(' class="whitespace-pre-wrap"') if wrap else "",
        text,
    )
