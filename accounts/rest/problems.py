"""The REST form of a refusal: a problem document (RFC 9457) that also carries the members of Resend's SDKs."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from accounts.catalogue import Refused

MEDIA_TYPE = "application/problem+json"


def problem(refused: Refused) -> dict[str, Any]:
    refusal = refused.refusal
    document: dict[str, Any] = {
        "type": refusal.help_url,
        "title": refusal.title,
        "status": refusal.http,
        "detail": refused.detail,
        "code": refusal.code,
        "advice": refusal.advice,
        "name": refusal.name,
        "message": refused.detail,
        "statusCode": refusal.http,
    }
    if refused.errors:
        document["errors"] = refused.errors
    return document


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: its own exceptions become rows of the catalogue too. None: Django's 500 handling."""
    refused = error if isinstance(error, Refused) else _translate(error)
    if refused is None:
        return None
    response = Response(problem(refused), status=refused.refusal.http, content_type=MEDIA_TYPE)
    if refused.refusal.http == 401:
        response["WWW-Authenticate"] = 'Bearer realm="PlugSend API"'  # RFC 6750, 3
    elif refused.refusal.http == 503:
        response["Retry-After"] = "5"
    elif refused.code == "concurrent_idempotent_requests":
        response["Retry-After"] = "1"
    return response


def plain_problem(refused: Refused) -> JsonResponse:
    """For answers made outside DRF (unknown addresses, accidents)."""
    return JsonResponse(problem(refused), status=refused.refusal.http, content_type=MEDIA_TYPE)


def no_such_address(request: HttpRequest) -> JsonResponse:
    """Below `/api/` every answer is JSON, that of a mistyped address too."""
    return plain_problem(Refused("not_found", thing=f"address as {request.path}"))


def _translate(error: Exception) -> Refused | None:
    match error:
        case exceptions.ParseError():
            return Refused("malformed_json", problem=str(error.detail).removeprefix("JSON parse error - "))
        case exceptions.ValidationError():
            found = field_errors(error.detail)
            summary = "; ".join(f"{e['pointer'] or 'body'}: {e['detail']}" for e in found[:3])
            return Refused("validation_failed", problem=summary, errors=found)
        case exceptions.NotAuthenticated():
            return Refused("authentication_required")
        case exceptions.AuthenticationFailed():
            return Refused("invalid_credentials")
        case exceptions.NotFound() | Http404():
            return Refused("not_found", thing="object")
        case exceptions.MethodNotAllowed():
            return Refused("method_not_allowed", method=str(error.detail).split('"')[1])
        case exceptions.UnsupportedMediaType():
            return Refused("unsupported_media_type", media_type=str(error.detail).split('"')[1])
        case exceptions.NotAcceptable():
            return Refused("not_acceptable")
        case exceptions.Throttled():
            return Refused("rate_limited")
    return None


def field_errors(detail: Any, pointer: str = "") -> list[dict[str, str]]:
    """DRF's nested error detail as a flat list; `pointer` is a JSON pointer (RFC 6901)."""
    if isinstance(detail, dict):
        return [e for key, value in detail.items() for e in field_errors(value, _below(pointer, str(key)))]
    if isinstance(detail, list):
        if all(isinstance(item, str) for item in detail):
            return [{"pointer": pointer, "detail": str(item)} for item in detail]
        return [e for n, item in enumerate(detail) for e in field_errors(item, _below(pointer, str(n)))]
    return [{"pointer": pointer, "detail": str(detail)}]


def _below(pointer: str, key: str) -> str:
    if key == "non_field_errors":
        return pointer
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
