"""How the operators' admin names and shows what stands in rows: in the product's words, with a way to whatever is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model, UUIDField
from django.forms import Media
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin, TabularInline
from unfold.utils import display_for_field

EMPTY = "–"
PREPOPULATING = ("urlify.js", "prepopulate.js", "xregexp.js", "xregexp.min.js")
LINK = "text-primary-700 dark:text-primary-500"

# Names of fields where the model's own are a program's. All others are told as they are.
WORDS = {
    "actor_id": "Id of who did it",
    "actor_kind": "Kind of actor",
    "actor_name": "Who",
    "api_key_id": "API key",
    "api_rate_limit": "API requests per second",
    "client": "From",
    "checked_at": "Checked",
    "content_days": "Days that content is kept",
    "created_at": "Made",
    "date_joined": "Since",
    "dkim": "DKIM",
    "dkim_domain": "DKIM domain",
    "dkim_rotation_days": "Days between DKIM keys",
    "dkim_signatures": "DKIM signatures",
    "dns_host": "DNS host",
    "domain_id": "Sending domain",
    "endpoint_id": "Webhook",
    "event_days": "Days that events are kept",
    "expires_at": "Expires",
    "fetched_at": "Fetched",
    "header_from": "From",
    "helo": "HELO",
    "ip": "Address",
    "is_active": "May sign in",
    "is_automatic": "Found by probes",
    "is_default": "Of new organizations",
    "is_staff": "Operator",
    "is_superuser": "Superuser",
    "is_system": "The platform’s own",
    "last_attempt_at": "Last attempt",
    "last_login": "Last sign-in",
    "last_ms": "Last answer took, ms",
    "last_seen_at": "Last seen",
    "last_used_at": "Last used",
    "last_used_from": "Last used from",
    "leased_by": "Being delivered by",
    "mail_hold": "Queue",
    "message_id": "Message",
    "message_id_header": "Message-ID",
    "messages_per_day": "Messages a day",
    "messages_per_month": "Messages a month",
    "messages_per_second": "Messages a second",
    "mx": "Exchangers",
    "nameservers": "Name servers",
    "next_attempt_at": "Next attempt",
    "next_check_at": "Next check",
    "object_id": "Id of the object",
    "object_name": "Object",
    "object_type": "Kind of object",
    "occurred_at": "When",
    "organization_id": "Organization",
    "received_at": "Received",
    "recipient_count": "Recipients",
    "recipient_id": "Recipient",
    "recipients_per_message": "Recipients a message",
    "review_since": "Waits since",
    "reviewed_at": "Reviewed",
    "revoked_at": "Revoked",
    "scheduled_at": "Scheduled for",
    "size_bytes": "Size, octets",
    "smtp_user_id": "SMTP user",
    "state_at": "In this state since",
    "status_at": "In this status since",
    "submitted_at": "Submitted",
    "tls": "TLS",
    "took_ms": "Took, ms",
    "uid": "Id there",
    "url": "Address",
    "verified_at": "Verified",
    "warned_at": "Owners warned",
    "webhook_id": "Webhook id",
}


def when(moment: datetime | None) -> str:
    """To the second, on one line; with the year where it is another one."""
    if moment is None:
        return EMPTY
    short = f"{moment:%-d %b, %H:%M:%S}" if moment.year == timezone.now().year else f"{moment:%-d %b %Y, %H:%M}"
    return format_html('<time class="op-when" title="{}">{}</time>', f"{moment:%Y-%m-%d %H:%M:%S} UTC", short)


def short_id(identifier: UUID | str) -> SafeString:
    """Its end, which tells rows of one moment apart; the whole is in its title."""
    return format_html('<span class="op-id" title="{}">…{}</span>', identifier, str(identifier)[-12:])


def link_to(model: type[Model], key: Any, text: Any) -> SafeString:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(key)])
    return format_html('<a class="{}" href="{}">{}</a>', LINK, url, text)


@cache
def meant_by(name: str) -> type[Model] | None:
    """Whose rows an id in a field of this name is of: `smtp_user_id` names an SmtpUser, `domain_id` a SendingDomain."""
    wanted = name.removesuffix("_id").replace("_", "")
    registered = {str(model._meta.model_name): model for model in admin.site._registry}
    ending = [model for title, model in registered.items() if title.endswith(wanted)]
    return registered.get(wanted) or (ending[0] if len(ending) == 1 else None)


def column(field: Field[Any, Any], *, is_first: bool) -> Callable[[Any], Any]:
    """A field of a list. The first column is the way to the row, so no other way can stand in it."""

    def cell(obj: Any) -> Any:
        value = getattr(obj, field.attname)
        if isinstance(value, datetime):
            return when(value)
        if value is None or value == "":
            return EMPTY
        if field.is_relation:
            related = getattr(obj, field.name)
            return (
                related
                if is_first or type(related) not in admin.site._registry
                else link_to(type(related), value, related)
            )
        if isinstance(value, UUID):
            model = meant_by(field.name) if field.name.endswith("_id") and not is_first else None
            return link_to(model, value, short_id(value)) if model else short_id(value)
        if isinstance(value, int) and not isinstance(value, bool) and not field.choices:
            return f"{value:,}"
        return display_for_field(value, field, EMPTY)

    cell.__name__ = field.name
    cell.short_description = WORDS.get(field.name) or capfirst(field.verbose_name)  # type: ignore[attr-defined]
    cell.admin_order_field = field.name  # type: ignore[attr-defined]
    return cell


class OperatorsAdmin(ModelAdmin):
    """What all of the admin's pages have in common."""

    empty_value_display = EMPTY

    @property
    def media(self) -> Media:
        """Without what writes one field from another (50 kB): no form here has such a field."""
        whole = super().media
        return Media(css=whole._css, js=[one for one in whole._js if not str(one).endswith(PREPOPULATING)])

    def get_list_display(self, request: HttpRequest) -> Any:
        return [self._column(one, is_first=not place) for place, one in enumerate(super().get_list_display(request))]

    def _column(self, one: Any, *, is_first: bool) -> Any:
        if not isinstance(one, str) or hasattr(self, one):
            return one
        try:
            field = self.opts.get_field(one)
        except FieldDoesNotExist:
            return one
        return column(field, is_first=is_first) if isinstance(field, Field) else one

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change=change, **({"labels": WORDS} | kwargs))

    @property
    def readonly_preprocess_fields(self) -> dict[str, Callable[[SafeString], Any]]:
        """Of django-unfold: what is made of a value that is looked at."""
        found: dict[str, Callable[[SafeString], Any]] = {"transcript": _as_it_stands}
        for field in self.opts.concrete_fields:
            if isinstance(field, UUIDField) and field.name.endswith("_id") and (model := meant_by(field.name)):
                found[field.name] = partial(_as_link, model)
        return found


class NamedInline(TabularInline):
    """Its fields have their column's name: django-unfold gives them none, so that screen readers say nothing."""

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs.setdefault("aria-label", capfirst(db_field.verbose_name))
        return field


def _as_link(model: type[Model], text: SafeString) -> SafeString:
    return link_to(model, text, text) if text != EMPTY else text


def _as_it_stands(text: SafeString) -> SafeString:
    return format_html('<pre class="op-pre">{}</pre>', text)
