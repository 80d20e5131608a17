"""What the OpenAPI document says of every operation: its refusals, its headers, how it is summed up.

drf-spectacular reads requests and answers from the views; all that the shell around them does is added here, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from string import Formatter
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension
from drf_spectacular.utils import extend_schema

from accounts.catalogue import REFUSALS, Refused
from accounts.rest.negotiation import JSON, PROBLEM
from accounts.rest.problems import problem

EXTENSION = "x-refusals"

# Which rows of the catalogue any operation may answer with, by what it is like.
_ALWAYS = [
    "bad_request", "not_acceptable", "rate_limited", "internal_error", "temporarily_unavailable",
]  # fmt: skip
_WITH_KEY = [
    "authentication_required", "invalid_credentials", "api_key_revoked", "api_key_expired", "insufficient_scope",
    "organization_being_deleted", "smtp_user_disabled", "network_not_allowed",
]  # fmt: skip
_WITH_BODY = ["malformed_json", "request_too_large", "unsupported_media_type", "validation_failed"]
_CREATING = ["invalid_idempotency_key", "invalid_idempotent_request", "concurrent_idempotent_requests"]
_SENDING = [
    "organization_suspended", "organization_on_hold", "first_days_limit_reached", "sender_not_allowed",
    "sender_domain_unknown", "sender_domain_not_verified", "sender_domain_stopped", "sender_domain_taken_over",
    "sender_subdomain_not_allowed", "invalid_sender",
    "invalid_recipient", "no_recipients", "too_many_recipients", "message_too_large", "malformed_header", "header_too_large",
    "line_too_long", "mime_too_complex", "malformed_option_header", "smtp_user_limit_reached", "insufficient_storage",
    "quota_day_reached", "quota_month_reached", "rate_of_messages_exceeded",
]  # fmt: skip

_TAGS = {
    "emails": ("Emails", "Send, schedule, find and follow emails."),
    "events": ("Events", "What happened to emails, in order: a consumer resumes where it stopped."),
    "domains": ("Domains", "The domains that you send from, and the DNS records that they need."),
    "smtp-users": ("SMTP users", "Addresses that sign in at the SMTP door; the password of each is an API key."),
    "api-keys": ("API keys", "Credentials of programs. A secret is shown once."),
    "suppressions": ("Suppressions", "Addresses that get no more mail from you."),
    "templates": ("Templates", "Subjects, HTML and text with variables; drafts and published versions."),
    "audit-log": ("Audit log", "Who did what in your organization, when and from where."),
    "usage": ("Usage", "What your organization has used of its plan."),
    "statistics": ("Statistics", "What became of mail, counted by hours and days."),
    "webhooks": ("Webhooks", "Events sent to you."),
}

_INTRODUCTION = """
JSON over HTTP. Where [Resend](https://resend.com/docs/api-reference)'s API has the same thing, names and shapes are the same, so that
its SDKs work here with another base URL and key.

**Authorization.** Each request carries `Authorization: Bearer <API key>`. Keys have the scopes *send*, *read* and *full*.

**Errors** are problem documents (RFC 9457). Programs match on `code`, which is stable; `type` is a page that says how to mend
it; `errors` points at each bad field (RFC 6901). Unknown fields are refused by name. Who accepts `application/json` alone gets
the same document under that media type.

**Never twice.** Repeat a request that creates something with the same `Idempotency-Key` within 24 hours, and you get the first
answer again.

**Rates** are counted by key and by organization. `RateLimit-Remaining` tells how many requests may follow at once; after a 429
wait for the seconds in `Retry-After`.

**Requests** are named by the `X-Request-Id` of their answer; tell it when you ask us about one.
""".strip()  # noqa: E501

_HEADERS = {
    "X-Request-Id": ("The id of this request, a UUIDv7.", {"type": "string", "format": "uuid"}),
    "RateLimit-Limit": ("Requests that may come at once after a pause.", {"type": "integer"}),
    "RateLimit-Remaining": ("Requests that may follow at once.", {"type": "integer"}),
    "RateLimit-Reset": ("Seconds until `RateLimit-Limit` requests may come at once.", {"type": "integer"}),
    "Retry-After": ("Seconds to wait before the next try.", {"type": "integer"}),
    "Idempotent-Replayed": ("`true`: this is the first answer again.", {"type": "string", "enum": ["true"]}),
    "WWW-Authenticate": ("RFC 6750, 3.", {"type": "string"}),
}
_SOME_ID = "0198c5a0-7c1e-7000-8000-000000000000"
_ON_EVERY_ANSWER = ["X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457, and the members that Resend's SDKs read.",
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "A page that explains this code."},
        "title": {"type": "string"},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong, with the values at hand."},
        "instance": {"type": "string", "format": "uri", "description": "The request's id as a URN."},
        "code": {"type": "string", "description": "Stable: for programs."},
        "advice": {"type": "string", "description": "What to do about it."},
        "name": {"type": "string", "description": "Resend's word for it."},
        "message": {"type": "string", "description": "The same as `detail`."},
        "statusCode": {"type": "integer", "description": "The same as `status`."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON pointer (RFC 6901) into the body; empty: all of it."},
                    "detail": {"type": "string"},
                    "code": {"type": "string"},
                },
                "required": ["pointer", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code", "advice", "name", "message", "statusCode"],
}  # fmt: skip


def may_refuse(*codes: str) -> Any:
    """Decorates a view's method: rows of the catalogue that it answers with beside those of every operation."""
    return extend_schema(extensions={EXTENSION: list(codes)})


def complete(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    for schema in components["schemas"].values():
        if "oneOf" in schema and "discriminator" not in schema:  # answers may have further members, so several may fit
            schema["anyOf"] = schema.pop("oneOf")
    components["headers"] = {
        name: {"description": description, "schema": schema} for name, (description, schema) in _HEADERS.items()
    }
    _link(result["paths"])
    answers = components.setdefault("responses", {})
    used, tags = set(), set()
    for path, operations in result["paths"].items():
        for operation in operations.values():
            used |= _complete(operation, path, answers)
            tags |= set(operation["tags"])
    components["examples"] = {code: _example(code) for code in sorted(used)}
    result["info"]["description"] = _INTRODUCTION
    result["servers"] = [{"url": settings.WEB_URL}]
    result["tags"] = [
        {"name": tag, "x-displayName": name, "description": description}
        for tag, (name, description) in _TAGS.items()
        if tag in tags
    ]
    return result


def _link(paths: dict[str, Any]) -> None:
    """From what makes a thing to all that is done with it by its id (OpenAPI 3.1, 4.8.20)."""
    for path in paths:
        responses = paths[path].get("post", {}).get("responses", {})
        made = next((answer for status, answer in responses.items() if status.startswith("2")), None)
        for below, operations in paths.items():
            if made is None or not below.startswith(f"{path}/{{"):
                continue
            name = below.removeprefix(f"{path}/{{").partition("}")[0]
            for operation in operations.values():
                link = {"operationId": operation["operationId"], "parameters": {name: "$response.body#/id"}}
                made.setdefault("links", {})[operation["operationId"]] = link


def _complete(operation: dict[str, Any], path: str, shared: dict[str, Any]) -> set[str]:
    """Adds to one operation; returns the codes that it may refuse with. Many refuse alike, so those answers are `shared`."""
    parameters = operation.get("parameters", [])
    is_creating = any(parameter["name"] == "Idempotency-Key" for parameter in parameters)
    operation["summary"], _, rest = operation.pop("description", operation["operationId"]).partition(". ")
    operation["summary"] = operation["summary"].rstrip(".")
    if rest:
        operation["description"] = rest
    for answer in operation["responses"].values():
        answer["description"] = answer.get("description") or "Done."
        names = [*_ON_EVERY_ANSWER, *(["Idempotent-Replayed"] if is_creating else [])]
        answer["headers"] = _headers(names) | answer.get("headers", {})
    codes = [*_ALWAYS, *operation.pop(EXTENSION, [])]
    codes += _WITH_KEY if operation.get("security") else []
    codes += _WITH_BODY if "requestBody" in operation else []
    codes += _CREATING if is_creating else []
    codes += _SENDING if is_creating and operation["tags"] == ["emails"] else []
    codes += ["not_found"] if "{" in path else []
    codes += ["validation_failed"] if any(parameter["in"] == "query" for parameter in parameters) else []
    known = {code for code in codes if code in REFUSALS}
    for status in sorted({REFUSALS[code].http for code in known}):
        here = sorted(code for code in known if REFUSALS[code].http == status)
        if str(status) not in operation["responses"]:
            name = next((n for n, codes in _codes_of(shared) if codes == here), f"Refused{status}_{len(shared)}")
            shared.setdefault(name, _refusal_answer(status, here))
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    return known


def _codes_of(shared: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name, answer in shared.items():
        yield name, list(answer["content"][PROBLEM]["examples"])


def _refusal_answer(status: int, codes: list[str]) -> dict[str, Any]:
    more = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
    }
    return {
        "description": "; ".join(dict.fromkeys(REFUSALS[code].title for code in codes)),
        "headers": _headers([*_ON_EVERY_ANSWER, *more]),
        "content": {PROBLEM: content, JSON: {"schema": content["schema"]}},
    }


def _example(code: str) -> dict[str, Any]:
    values: dict[str, Any] = {name: f"<{name}>" for _, name, _, _ in Formatter().parse(REFUSALS[code].detail) if name}
    document = problem(Refused(code, **values), _SOME_ID)
    if code == "validation_failed":
        document["errors"] = [{"pointer": "/to/0", "detail": "Must be a string.", "code": "invalid"}]
    return {"summary": code, "value": document}


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


class StrictSerializers(OpenApiSerializerExtension):
    target_class = "accounts.rest.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return schema | {"additionalProperties": False}


class Addresses(OpenApiSerializerFieldExtension):
    target_class = "accounts.rest.fields.AddressesField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Any:
        many = auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)
        return {"oneOf": [many["items"], many]}
