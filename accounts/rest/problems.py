"""The REST form of a refusal: a problem document (RFC 9457) that also carries the members of Resend's SDKs."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.request import UnreadablePostError
from django.urls import Resolver404, resolve
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.catalogue import Refused
from accounts.rest.bodies import escape
from accounts.rest.negotiation import problem_media_type

logger = logging.getLogger(__name__)

MOST_ERRORS = 100  # entries in `errors`


def problem(refused: Refused, request_id: object = None) -> dict[str, Any]:
    """The document; `instance` names the request (RFC 9457, 3.1.5)."""
    refusal = refused.refusal
    document: dict[str, Any] = {
        "type": refusal.help_url,
        "title": refusal.title,
        "status": refusal.http,
        "detail": refused.detail,
        "instance": f"urn:uuid:{request_id}",
        "code": refusal.code,
        "advice": refusal.advice,
        "name": _name(refused),
        "message": refused.detail,
        "statusCode": refusal.http,
    }
    if request_id is None:
        del document["instance"]
    if refused.errors:
        document["errors"] = refused.errors[:MOST_ERRORS]
    return document


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None: an accident, which `accounts.rest.shell` answers."""
    refused = refusal_of(error)
    if refused is None:
        return None
    request: Request = context["request"]
    document = problem(refused, getattr(request, "request_id", None))
    media_type = problem_media_type(request.META.get("HTTP_ACCEPT", ""))
    return Response(document, status=refused.refusal.http, content_type=media_type, headers=_headers(refused))


def plain_problem(refused: Refused, request: HttpRequest) -> JsonResponse:
    """For answers made outside DRF (unknown addresses, accidents)."""
    document = problem(refused, getattr(request, "request_id", None))
    media_type = problem_media_type(request.META.get("HTTP_ACCEPT", ""))
    return JsonResponse(document, status=refused.refusal.http, content_type=media_type, headers=_headers(refused))


def _headers(refused: Refused) -> dict[str, str]:
    seconds = refused.retry_after_s
    return {} if seconds is None else {"Retry-After": str(seconds)}


def no_such_address(request: HttpRequest) -> JsonResponse:
    """Below `/api/` every answer is JSON, that of a mistyped address too."""
    thing = f"address as {request.path}"
    if request.path.endswith("/") and _is_address(request.path.rstrip("/")):
        thing = f"{thing}; leave out the slash at its end"
    return plain_problem(Refused("not_found", thing=thing), request)


def refusal_of(error: Exception) -> Refused | None:
    """Which row of the catalogue an exception of ours, DRF's or Django's is. None: an accident."""
    match error:
        case Refused():
            return error
        case exceptions.ParseError():
            return Refused("malformed_json", problem=str(error.detail))
        case exceptions.ValidationError():
            return invalid_fields(error)
        case exceptions.NotAuthenticated():
            return Refused("authentication_required")
        case exceptions.AuthenticationFailed():
            return Refused("invalid_credentials")
        case exceptions.NotFound() | Http404():
            return Refused("not_found", thing="object")
        case exceptions.MethodNotAllowed():
            return Refused("method_not_allowed", method=str(error.detail).split('"')[1])
        case exceptions.UnsupportedMediaType():
            return Refused("unsupported_media_type", media_type=str(error.detail).split('"')[1] or "(none)")
        case exceptions.NotAcceptable():
            return Refused("not_acceptable")
        case exceptions.PermissionDenied() | PermissionDenied():
            return Refused("insufficient_scope", scope="full")
        case RequestDataTooBig():
            return Refused("request_too_large", limit=f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,}")
        case DisallowedHost():
            return Refused("bad_request", problem="its Host header names none of our hosts")
        case SuspiciousOperation():
            return Refused("bad_request", problem=str(error))
        case UnreadablePostError():
            return Refused("bad_request", problem="its body ended early")
        case OperationalError() | InterfaceError():
            logger.warning("The database does not answer: %s", error)
            return Refused("temporarily_unavailable")
    return None


def invalid_fields(error: exceptions.ValidationError) -> Refused:
    found = field_errors(error.detail)
    summary = "; ".join(f"{e['pointer'] or 'body'}: {e['detail']}" for e in found[:3])
    return Refused("validation_failed", problem=summary, errors=found)


def field_errors(detail: Any, pointer: str = "") -> list[dict[str, str]]:
    """DRF's nested error detail as a flat list; `pointer` is a JSON pointer (RFC 6901), `code` DRF's word."""
    if isinstance(detail, dict):
        return [e for key, value in detail.items() for e in field_errors(value, _below(pointer, str(key)))]
    if isinstance(detail, list):
        if all(isinstance(item, str) for item in detail):
            return [_field_error(pointer, item) for item in detail]
        return [e for n, item in enumerate(detail) for e in field_errors(item, _below(pointer, str(n)))]
    return [_field_error(pointer, detail)]


def _field_error(pointer: str, detail: Any) -> dict[str, str]:
    return {"pointer": pointer, "detail": str(detail), "code": getattr(detail, "code", None) or "invalid"}


def _below(pointer: str, key: str) -> str:
    return pointer if key == "non_field_errors" else f"{pointer}/{escape(key)}"


def _name(refused: Refused) -> str:
    """Resend's SDKs have an error of its own for fields that are not there."""
    codes = {error.get("code") for error in refused.errors}
    return "missing_required_field" if codes == {"required"} else refused.refusal.name


def _is_address(path: str) -> bool:
    try:
        return resolve(path).func is not no_such_address
    except Resolver404:
        return False
