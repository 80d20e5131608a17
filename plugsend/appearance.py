"""Light or dark: as the reader's system says, or as the reader has chosen.

The choice is in a cookie, so that the first byte of a page says it already (`data-theme` of `<html>`), to strangers, too: a
script would come after the first paint in the other colours.
"""

from __future__ import annotations

from enum import StrEnum

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.http import page_before

A_YEAR_S = 365 * 24 * 3600


class Theme(StrEnum):
    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"

    @property
    def icon(self) -> str:
        return {"system": "monitor", "light": "sun", "dark": "moon"}[self]


def theme_of(request: HttpRequest) -> Theme:
    try:
        return Theme(request.COOKIES.get(settings.THEME_COOKIE_NAME, ""))
    except ValueError:
        return Theme.SYSTEM


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """`theme`: of Theme. Leads back to the page with the form, as the browser names it."""
    chosen = request.POST.get("theme", "")
    if chosen not in set(Theme):
        return HttpResponseBadRequest("theme: system, light or dark", content_type="text/plain")
    response = redirect(page_before(request, "home"))
    if chosen == Theme.SYSTEM:
        response.delete_cookie(settings.THEME_COOKIE_NAME, samesite="Lax")
    else:
        response.set_cookie(
            settings.THEME_COOKIE_NAME, chosen, max_age=A_YEAR_S, secure=settings.SECURE, httponly=True, samesite="Lax"
        )
    return response
