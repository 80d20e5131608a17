"""Which browser somebody signs in with: its name for people, and whether it was here before."""

from __future__ import annotations

import re
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import User

COOKIE = "plugsend_devices"
COOKIE_AGE = timedelta(days=400)  # the most that browsers keep
PEOPLE_KEPT = 5

# The first that is found is meant: others call themselves Chrome and Safari, too.
BROWSERS = [
    (r"Edg(e|A|iOS)?/", "Edge"),
    (r"OPR/|Opera", "Opera"),
    (r"SamsungBrowser/", "Samsung Internet"),
    (r"Firefox/|FxiOS/", "Firefox"),
    (r"Chrome/|Chromium/|CriOS/", "Chrome"),
    (r"Safari/", "Safari"),
    (r"^curl/", "curl"),
]
SYSTEMS = [
    (r"iPhone", "iPhone"),
    (r"iPad", "iPad"),
    (r"Android", "Android"),
    (r"Windows", "Windows"),
    (r"Macintosh|Mac OS X", "macOS"),
    (r"CrOS", "ChromeOS"),
    (r"Linux|X11", "Linux"),
]


def device_name(user_agent: str) -> str:
    """In our own words only: what a browser says of itself may be anything, and stands in mails."""
    browser = next((name for pattern, name in BROWSERS if re.search(pattern, user_agent)), "")
    system = next((name for pattern, name in SYSTEMS if re.search(pattern, user_agent)), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "A browser that we do not know"


def is_known(request: HttpRequest, user: User) -> bool:
    """Whether this browser has signed in this person before."""
    return any(constant_time_compare(mark, _mark(user)) for mark in _marks(request))


def remember(request: HttpRequest, response: HttpResponse, user: User) -> None:
    mine = _mark(user)
    marks = [mine, *(mark for mark in _marks(request) if mark != mine)][:PEOPLE_KEPT]
    response.set_cookie(
        COOKIE,
        ".".join(marks),
        max_age=COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _marks(request: HttpRequest) -> list[str]:
    return request.COOKIES.get(COOKIE, "").split(".")[:PEOPLE_KEPT]


def _mark(user: User) -> str:
    """Tells nothing about the person, and nobody else can make it."""
    return salted_hmac("accounts.devices", str(user.pk), algorithm="sha256").hexdigest()
