"""What stands around every request below `/api/`: its id, its rate, its size, and a problem document for every accident.

The outermost middleware. What the others do is for people with sessions, so a request of the API goes straight from here to
its view: no cookie is read, and none authorizes it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.middleware.security import SecurityMiddleware
from django.urls import Resolver404, get_resolver

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.ids import uuid7
from accounts.rest.bodies import UNKNOWN_LENGTH, Body
from accounts.rest.problems import no_such_address, plain_problem, refusal_of
from accounts.rest.rates import Rate, Standing, rates_of, rates_of_address, shared_limiter
from accounts.walls import around_request

logger = logging.getLogger(__name__)

RETRY_AFTER_S = "5"  # of a 503
DISCARDED_MOST = 64 * 1024 * 1024  # octets of a body that nobody reads
DISCARD_WITHIN_S = 10.0
POLICY = "default-src 'none'; frame-ancestors 'none'"  # should a browser ever show it
_CLIENTS_OWN_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_WHOSE = {"key": "with this API key", "organization": "of your organization", "address": "without a valid API key"}


class ApiRequest(HttpRequest):
    """A request below `/api/`."""

    request_id: UUID
    standing: Standing | None  # None: not limited
    is_known: bool  # by its key
    is_counted: bool
    _stream: Body  # type: ignore[assignment]  # what `read` and `body` read from; none on an event loop


def api_shell(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponseBase]:
    answer_api = SecurityMiddleware(_answer)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith("/api/") or request.path_info == "/api":
            return cast(HttpResponseBase, answer_api(request))
        return get_response(request)

    return middleware


def charge(request: HttpRequest, credential: Credential) -> None:
    """Counts a request on its key and its organization. Raises `Refused`."""
    ours = cast(ApiRequest, request)
    ours.is_known = True
    _take(ours, rates_of(credential))


def begin(request: ApiRequest) -> None:
    request.request_id, request.standing = uuid7(), None
    request.is_known = request.is_counted = False


def _answer(plain: HttpRequest) -> HttpResponseBase:
    request = cast(ApiRequest, plain)
    begin(request)
    request._stream = Body(request.META, settings.API_BODY_LIMIT)
    with around_request():
        response = _guarded(request, _serve)
    if not request.is_counted:  # whatever key it shows, nobody looked at it or knows it
        response = _guarded(request, _charge_address) or response
    finish(request, response)
    if may_discard(request):
        request._stream.discard(DISCARDED_MOST, DISCARD_WITHIN_S)
    return cast(HttpResponseBase, response)


def _guarded(request: ApiRequest, act: Callable[[ApiRequest], Any]) -> Any:
    try:
        return act(request)
    except Exception as error:
        return problem_of(error, request)


def problem_of(error: Exception, request: ApiRequest) -> HttpResponse:
    """A problem document; what is an accident is logged."""
    refused = refusal_of(error)
    if refused is None:
        got_request_exception.send(sender=None, request=request)
        logger.error("%s %s failed, request %s", request.method, request.path, _ids(request), exc_info=error)
        refused = Refused("internal_error")
    return plain_problem(refused, request)


def _serve(request: ApiRequest) -> HttpResponseBase:
    request.get_host()  # raises DisallowedHost
    if "HTTP_AUTHORIZATION" not in request.META:
        _charge_address(request)
    if request._stream.is_chunked:
        request.META["CONTENT_LENGTH"] = UNKNOWN_LENGTH
    try:
        match = get_resolver().resolve(request.path_info)
    except Resolver404:
        return no_such_address(request)
    request.resolver_match = match
    response: Any = match.func(request, *match.args, **match.kwargs)
    if isinstance(response, HttpResponseNotAllowed):  # Django's, of views that are not DRF's
        problem = plain_problem(Refused("method_not_allowed", method=request.method), request)
        problem["Allow"] = response["Allow"]
        return problem
    return cast(HttpResponseBase, response.render() if hasattr(response, "render") else response)


def _charge_address(request: ApiRequest) -> None:
    _take(request, rates_of_address(request))


def _take(request: ApiRequest, rates: list[Rate]) -> None:
    request.is_counted = True
    if rates:
        keep_to(shared_limiter().take(*rates), request)


def keep_to(standing: Standing, request: ApiRequest) -> None:
    """Raises `Refused` where a rate is used up."""
    request.standing = standing
    if standing.is_refused:
        rate = standing.rate
        raise Refused("rate_limited", rate=rate.per_second, whose=_WHOSE[rate.policy])


def finish(request: ApiRequest, response: HttpResponseBase) -> None:
    """The header fields that every answer has."""
    headers = response.headers
    headers["X-Request-Id"] = str(request.request_id)
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Content-Security-Policy", POLICY)
    if isinstance(response, HttpResponse) and response.status_code not in {204, 304}:
        headers.setdefault("Content-Length", str(len(response.content)))
    if "Allow" in headers:  # DRF's, on every answer
        allowed = headers["Allow"].removesuffix(", OPTIONS")
        del headers["Allow"]
        if response.status_code == 405:
            headers["Allow"] = allowed
    if request.standing:
        for name, value in request.standing.headers().items():
            headers[name] = value
    if response.status_code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="PlugSend API"'  # RFC 6750, 3
    elif response.status_code == 503:
        headers.setdefault("Retry-After", RETRY_AFTER_S)
    response._has_been_logged = True  # type: ignore[attr-defined]  # a client's mistakes are no news to us


def may_discard(request: ApiRequest) -> bool:
    """Whether to read what is left of its body: strangers must not hold a thread, and who waits for 100 Continue has sent
    nothing yet."""
    return request.is_known and "HTTP_EXPECT" not in request.META


def _ids(request: ApiRequest) -> str:
    """Ours, and the client's own where it is fit for a log."""
    own = request.META.get("HTTP_X_REQUEST_ID", "")
    return f"{request.request_id} (the client's: {own})" if _CLIENTS_OWN_ID.fullmatch(own) else str(request.request_id)
