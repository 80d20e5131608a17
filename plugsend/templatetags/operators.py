"""Parts of the operators' admin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.db.models.options import Options
from django.urls import reverse
from django.utils.text import capfirst

from plugsend.admin_navigation import place_of

register = template.Library()


@dataclass(frozen=True, slots=True)
class Crumb:
    title: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Trail:
    """The page's title, and the way to it."""

    title: str
    before: list[Crumb]


@register.simple_tag(takes_context=True)
def crumbs(context: template.RequestContext) -> Trail:
    """A list, one of its rows, and what is done with the row: each page's place, in the words of the sidebar."""
    opts: Options[Any] | None = context.get("opts")
    if opts is None:
        return Trail(str(context.get("title") or "Dashboard"), [])
    name = f"{opts.app_label}.{opts.model_name}"
    group, title = place_of(name) or ("", capfirst(str(opts.verbose_name_plural)))
    before = [Crumb(group)] if group else []
    if "cl" in context:
        return Trail("Review queue" if context["cl"].params.get("review") else title, before)
    url = add_preserved_filters(context, reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"))
    row = context.get("original") or context.get("object")
    if isinstance(row, Model) and row.pk:
        before.append(Crumb(title, url))
        if "adminform" in context:
            return Trail(str(row), before)
        before.append(
            Crumb(str(row), reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(row.pk)]))
        )
        return Trail(_act(context), before)
    page = str(context.get("title") or title)
    return Trail(title, before) if page == title else Trail(page, [*before, Crumb(title, url)])


def _act(context: template.Context) -> str:
    """What Django's own pages say at length stands below."""
    if "deletable_objects" in context or "deleted_objects" in context:
        return "Delete"
    return "History" if "action_list" in context else str(context.get("title") or "")
