"""What every page knows of its reader: the organizations, and what the role permits."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.middleware import membership_of, memberships_of
from accounts.permissions import Permission


class May:
    """`{% if may.manage_domains %}`: whether the reader's role has the permission. A misspelt one is a ValueError."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __getattr__(self, name: str) -> bool:
        if name.startswith("_"):  # what Python and the template engine ask of any object
            raise AttributeError(name)
        permission = Permission(name)
        membership = membership_of(self._request)
        return membership is not None and membership.may(permission)


def reader(request: HttpRequest) -> dict[str, object]:
    """Context processor. Without a session (error pages, the API's own) there is no reader."""
    if not hasattr(request, "user") or not hasattr(request, "session"):
        return {}
    return {"may": May(request), "memberships": SimpleLazyObject(lambda: memberships_of(request))}
