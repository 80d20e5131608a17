"""What operators may do about deletions that members have asked for: undo them, or not wait for the end of the grace period."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from accounts import deletion
from accounts.audit import Actor, actor_of
from accounts.models import Organization


@dataclass(frozen=True, slots=True)
class _Act:
    """What operators may do about deletions that members have asked for."""

    name: str
    label: str
    meaning: str
    act: Callable[[Organization, Actor], bool]


_ACTS = [
    _Act(
        "undo_deletion",
        "Undo the deletion",
        "Programs may send again and held mail goes out. The owners get a mail. A suspension stays.",
        lambda organization, by: deletion.undo_deletion(organization, by=by),
    ),
    _Act(
        "erase_at_once",
        "Erase at once",
        "Everything of it is erased for good, within minutes, without the rest of the grace period. Its owners get a mail "
        "when it is done. Nobody can bring it back.",
        lambda organization, by: deletion.erase_at_once(organization, by=by),
    ),
]


def _action(act: _Act) -> Any:
    """Names the organizations and asks first."""

    @admin.action(description=f"{act.label} (of those being deleted)…", permissions=["change"])
    def ask_or_act(
        model_admin: ModelAdmin, request: HttpRequest, queryset: QuerySet[Organization]
    ) -> HttpResponse | None:
        organizations = list(queryset.filter(deletion_requested_at__isnull=False).order_by("name"))
        if "confirmed" not in request.POST:
            context = {
                **model_admin.admin_site.each_context(request),
                "title": f"{act.label}?",
                "act": act,
                "organizations": organizations,
                "opts": Organization._meta,
                "checkbox_name": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "admin/accounts/organization/deletion.html", context)
        by = actor_of(request, operator=True)
        done = [organization for organization in organizations if act.act(organization, by)]
        left = len(organizations) - len(done)
        told = f"{act.label}: {', '.join(organization.name for organization in done) or 'none'}."
        model_admin.message_user(
            request, told + (f" {left} could not be any more." if left else ""), "WARNING" if left else "SUCCESS"
        )
        return None

    ask_or_act.__name__ = act.name
    return ask_or_act


DELETION_ACTIONS = [_action(act) for act in _ACTS]
