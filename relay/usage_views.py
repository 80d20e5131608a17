"""The page Usage: how much of the plan is used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from django.shortcuts import render

from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from relay.quotas import quotas_of

WIDTH, HEIGHT, GAP = 600, 120, 3  # of the drawing, in its own units


@dataclass(frozen=True, slots=True)
class Bar:
    day: datetime
    messages: int
    x: float
    y: float
    width: float
    height: float


@member_required(Permission.READ)
def usage_page(request: OrganizationRequest) -> HttpResponse:
    quotas = quotas_of(request.organization)
    context = {
        "quotas": quotas,
        "bars": _bars(quotas.history),
        "most": max(messages for _, messages in quotas.history),
        "total": sum(messages for _, messages in quotas.history),
        "box": f"0 0 {WIDTH} {HEIGHT}",
    }
    return render(request, "messages/usage.html", context)


def _bars(history: list[tuple[datetime, int]]) -> list[Bar]:
    """One a day, side by side; the highest fills the drawing, and a day on which something was sent shows."""
    most, step = max(messages for _, messages in history), WIDTH / len(history)
    heights = [max(2.0, HEIGHT * messages / most) if messages else 0.0 for _, messages in history]
    return [
        Bar(day, messages, round(number * step, 2), round(HEIGHT - height, 2), round(step - GAP, 2), round(height, 2))
        for number, ((day, messages), height) in enumerate(zip(history, heights, strict=True))
    ]
