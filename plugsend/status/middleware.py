"""The status pages are served before sessions, accounts and everything else that asks the database: they must open when that is
away."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve


def status_stands_alone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD") and request.path_info.startswith("/status"):
            try:
                match = resolve(request.path_info)
            except Resolver404:
                return get_response(request)
            if getattr(match.func, "stands_alone", False):
                answer: HttpResponse = match.func(request, *match.args, **match.kwargs)
                return answer
        return get_response(request)

    return middleware
