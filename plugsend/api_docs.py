"""The API's own description: the OpenAPI document, and the page that shows it. Open to everyone."""

from __future__ import annotations

import hashlib
import json
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import condition, require_safe
from drf_spectacular.generators import SchemaGenerator
from rest_framework.renderers import JSONRenderer

from plugsend.api_reference import Group, read
from plugsend.browser_policy import tell

KEPT = "public, max-age=300"


@cache
def document() -> bytes:
    """OpenAPI 3.1 as JSON. Made once in each process: it depends on the code and the settings alone."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"), cls=JSONRenderer.encoder_class).encode()


@cache
def groups() -> list[Group]:
    return read(json.loads(document()))


@require_safe
@condition(etag_func=lambda request: f'"{hashlib.sha256(document()).hexdigest()[:32]}"')
def openapi(request: HttpRequest) -> HttpResponse:
    headers = {"Content-Type": "application/json", "Cache-Control": KEPT, "Access-Control-Allow-Origin": "*"}
    return HttpResponse(document(), headers=headers)


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """A page of our own: Redoc asks a CDN for its logo, and has no dark form; Swagger UI is for trying, not for reading."""
    page = render(request, "api/reference.html", {"groups": groups(), "base_url": f"{settings.WEB_URL}/api/v1"})
    page["Cache-Control"] = KEPT
    return tell(page)
