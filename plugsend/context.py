"""What every page knows: the platform's mode and where its doors are."""

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.feature_settings import value_of
from accounts.middleware import membership_of
from plugsend.appearance import Theme, theme_of
from plugsend.navigation import Entry, sidebar


def platform(request: HttpRequest) -> dict[str, object]:
    """Context processor. `layout` lets a page that is open to everyone keep the frame its reader is used to."""
    user = getattr(request, "user", None)  # absent where an error page is rendered before the middleware ran
    return {
        "mode": settings.MODE,
        "sandbox": settings.SANDBOX,
        "maintenance_banner": SimpleLazyObject(_banner),
        "smtp_host": settings.SMTP_PUBLIC_HOST,
        "smtp_port": settings.SMTP_PORT,
        "smtps_port": settings.SMTPS_PORT,
        "web_url": settings.WEB_URL,
        "example_recipient": "hello@example.test" if settings.SANDBOX else "you@example.com",
        # What clients that check certificates must trust in the sandbox (`relay.certificates` makes it).
        "sandbox_certificate": settings.SMTP_TLS_CERT or settings.VAR / "tls" / f"{settings.HOSTNAME}.crt",
        "theme": theme_of(request) if hasattr(request, "session") else "",  # below /api/ no cookie is read
        "themes": list(Theme),
        "navigation": SimpleLazyObject(lambda: _navigation(request)),
        "layout": "app.html" if user is not None and user.is_authenticated else "public.html",
    }


def _navigation(request: HttpRequest) -> dict[str, list[Entry]]:
    """Where the page's reader can go. Django looks up items of it, so it is a plain dict."""
    match = request.resolver_match
    return sidebar(membership_of(request) if hasattr(request, "user") else None, match.view_name if match else "")


def _banner() -> str:
    """None while the database is away: pages that do without it are still there."""
    try:
        return str(value_of("maintenance_banner"))
    except DatabaseError:
        return ""


def mode_for_admin(request: HttpRequest) -> list[str]:
    """The badge that stands on every page of the admin: text and colour."""
    return ["Sandbox", "warning"] if settings.SANDBOX else ["Live", "success"]
