"""One form for the switches of the platform."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts import feature_settings
from accounts.admin_lists import ReadOnlyAdmin
from accounts.audit import actor_of
from accounts.feature_settings import FEATURES, Feature
from accounts.models import FeatureSetting


class FeaturesForm(forms.Form):
    def __init__(self, *args: Any, may_change: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, feature in FEATURES.items():
            self.fields[name] = _field(feature)
            self.fields[name].disabled = not may_change

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """(title, fields)"""
        return [
            (title, [self[feature.name] for feature in features])
            for title, features in groupby(FEATURES.values(), key=lambda feature: feature.group)
        ]


def _field(feature: Feature) -> forms.Field:
    told: dict[str, Any] = {"label": feature.title, "help_text": feature.meaning}
    if isinstance(feature.default, bool):
        return forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget, **told)
    if isinstance(feature.default, str):
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 2})
        return forms.CharField(required=False, max_length=int(feature.most), widget=widget, **told)
    told |= {"min_value": feature.least, "max_value": feature.most}
    if isinstance(feature.default, int):
        return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget, **told)
    return forms.FloatField(widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}), **told)


@admin.register(FeatureSetting)
class FeatureSettingAdmin(ReadOnlyAdmin):
    """Each change stands in the platform's own audit log."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        may_change = bool(request.user.has_perm("accounts.change_featuresetting"))
        if not (may_change or self.has_view_permission(request)):
            raise PermissionDenied
        initial = feature_settings.all_values()
        form = FeaturesForm(request.POST or None, initial=initial, may_change=may_change)
        if request.method == "POST" and may_change and form.is_valid():
            changed = feature_settings.change(form.cleaned_data, by=actor_of(request, operator=True))
            titles = ", ".join(FEATURES[name].title for name in changed)
            self.message_user(request, f"Changed: {titles}." if changed else "Nothing was changed.")
            return redirect(request.path)
        found = FeatureSetting.objects.order_by("-changed_at")
        context = {
            **self.admin_site.each_context(request),
            "title": "Feature settings",
            "opts": self.opts,
            "form": form,
            "may_change": may_change,
            "changed": [(FEATURES[one.name].title, one) for one in found if one.name in FEATURES],
        }
        return TemplateResponse(request, "admin/accounts/featuresetting/change_list.html", context)
