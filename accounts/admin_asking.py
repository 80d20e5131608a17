"""Pages of the operators' admin that ask before something is done, and for what reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget


class ReasonForm(forms.Form):
    """`reason` is needed; who reads it is said beside it."""

    reason = forms.CharField(max_length=300, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))

    def __init__(self, *args: Any, read_by: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].help_text = read_by


def ask(
    model_admin: ModelAdmin,
    request: HttpRequest,
    *,
    title: str,
    confirm: str,
    meaning: Sequence[str] = (),
    form: forms.Form | None = None,
    back: str,
    obj: Model | None = None,
    is_dangerous: bool = False,
) -> HttpResponse:
    """The question as a page; its form is posted to where it stands. `meaning`: paragraphs."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "confirm": confirm,
        "meaning": meaning,
        "form": form,
        "back": back,
        "original": obj,
        "opts": model_admin.opts,
        "is_dangerous": is_dangerous,
    }
    return TemplateResponse(request, "admin/ask.html", context)
