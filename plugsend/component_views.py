"""Every component in each of its states, from the very templates that pages are made of: for those who build them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.contrib.messages import constants
from django.contrib.messages.storage.base import Message
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.models import Role
from plugsend.templatetags.ui import LOOKS
from relay.statistics.charts import Series, bar_chart, line_chart

COLOURS = ["canvas", "surface", "sunken", "line", "line-strong", "ink", "muted", "faint", "accent"]
TONES = ["ok", "warn", "bad", "info", "idle"]
SIZES = ["title", "figure", "heading", "body", "small", "caption"]
LABELS = [f"{hour:02}:00" for hour in range(24)]
COUNTS = [12, 9, 4, 3, 2, 2, 6, 18, 44, 71, 83, 92, 88, 79, 94, 101, 97, 85, 64, 52, 41, 33, 24, 17]


class SampleForm(forms.Form):
    text = forms.CharField(label="Text", help_text="What helps to fill it in.", required=False)
    filled = forms.CharField(label="Filled", initial="admin@yourdomain.com", required=False)
    off = forms.CharField(label="Disabled", initial="Nobody changes this", disabled=True, required=False)
    wrong = forms.EmailField(label="With an error")
    choice = forms.ChoiceField(label="One of several", choices=Role.choices, required=False)
    long = forms.CharField(label="Several lines", widget=forms.Textarea(attrs={"rows": 3}), required=False)
    one = forms.ChoiceField(
        label="One of few",
        choices=[("all", "All mail: of every stream"), ("one", "One stream: the others go on")],
        widget=forms.RadioSelect,
        initial="all",
        required=False,
    )
    some = forms.MultipleChoiceField(
        label="Some of few",
        choices=[("sent", "Delivered"), ("lost", "Bounced")],
        widget=forms.CheckboxSelectMultiple,
        initial=["sent"],
        required=False,
    )
    agreed = forms.BooleanField(label="A choice by itself", required=False)


@login_required
def components(request: HttpRequest) -> HttpResponse:
    """For operators; to others there is no such page."""
    if not request.user.is_staff:
        raise Http404
    now = timezone.now()
    context = {
        "colours": COLOURS,
        "tones": TONES,
        "sizes": SIZES,
        "looks": LOOKS,
        "form": SampleForm({"wrong": "ada@", "filled": "admin@yourdomain.com", "one": "all", "some": ["sent"]}),
        "moments": [now - timedelta(seconds=3), now - timedelta(minutes=7), now - timedelta(days=3), now + timedelta(hours=2)],
        "charts": _charts(),
        "quotas": [_quota(120), _quota(850), _quota(1000), _quota(120) | {"most": None}],
        "messages": [
            Message(constants.SUCCESS, "The webhook is saved."),
            Message(constants.INFO, "It takes effect within five seconds."),
            Message(constants.ERROR, "This name is taken. Choose another one."),
        ],
        "organization_name": "Acme",
    }  # fmt: skip
    return render(request, "components.html", context)


def _quota(used: int) -> dict[str, Any]:
    return {"used": used, "most": 1000, "high": 800, "percent": used // 10, "is_full": used >= 1000}


def _charts() -> list[Any]:
    bounced = [count // 20 for count in COUNTS]
    rates = [count / 120 for count in COUNTS]

    def number(value: float) -> str:
        return f"{value:,.0f}"

    return [
        bar_chart(
            "bars", "Bars", LABELS, [Series("Delivered", "ok", COUNTS), Series("Bounced", "bad", bounced)], number
        ),
        line_chart("lines", "A line", LABELS, [Series("Share", "info", rates)], lambda value: f"{value:.0%}", top=1.0),
        bar_chart("nothing", "Nothing yet", LABELS, [Series("Sent", "info", [0] * len(LABELS))], number),
    ]
