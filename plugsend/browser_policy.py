"""What browsers are told of every page: what it may load, who may frame it, what of the machine it may use.

Answers below `/api/` are told less, since no browser renders them (`accounts.rest.shell`). A view that sets a field itself
keeps it: previews of customers' HTML are stricter (`relay.reading.preview`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port

CONTENT_URLS = "relay.content_urls"  # all that there is at CONTENT_HOST

# Content Security Policy Level 3. Scripts and styles are files of ours, never inline.
PAGES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",  # icons in the stylesheet
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "frame-src": "'self'",  # previews
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
}
# django-unfold is built on Alpine, which compiles the expressions in its attributes (so `eval`, but still no inline script),
# and writes the theme's colours into a style element.
ADMIN = PAGES | {"script-src": "'self' 'unsafe-eval'", "style-src": "'self' 'unsafe-inline'", "frame-src": "'none'"}

_NEEDED = ("clipboard-write", "publickey-credentials-create", "publickey-credentials-get")  # copy buttons, passkeys
_UNNEEDED = (
    "accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "fullscreen", "geolocation",
    "gyroscope", "hid", "magnetometer", "microphone", "midi", "payment", "picture-in-picture", "screen-wake-lock", "serial",
    "usb", "xr-spatial-tracking",
)  # fmt: skip
PERMISSIONS = ", ".join([*(f"{name}=(self)" for name in _NEEDED), *(f"{name}=()" for name in _UNNEEDED)])


def browser_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware. Stands around all others, so that their refusals are told the same."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if settings.CONTENT_HOST and _name_of(request.META.get("HTTP_HOST", "")) == _name_of(settings.CONTENT_HOST):
            request.urlconf = CONTENT_URLS
        return tell(get_response(request), is_admin=request.path_info.startswith("/admin/"))

    return middleware


def _name_of(host: str) -> str:
    """Without the port and the final dot, by which the same host has other spellings."""
    return split_domain_port(host)[0]


def tell(response: HttpResponse, *, is_admin: bool = False) -> HttpResponse:
    """Also for pages that the middleware does not see: those below `/api/`."""
    policy = _written(is_admin, settings.CONTENT_HOST, settings.WEB_URL, settings.SECURE)
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Permissions-Policy", PERMISSIONS)
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    return response


@lru_cache(maxsize=8)
def _written(is_admin: bool, content_host: str, web_url: str, is_secure: bool) -> str:
    directives: Mapping[str, str] = ADMIN if is_admin else PAGES
    words = dict(directives)
    if content_host and not is_admin:
        words["frame-src"] += f" {'https' if is_secure else 'http'}://{content_host}"
    if not is_admin:
        words["form-action"] = f"'self' {web_url}"  # ours by its proper name, for whoever came by another
    return "; ".join([f"{name} {value}" for name, value in words.items()] + ["upgrade-insecure-requests"] * is_secure)
