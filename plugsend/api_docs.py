"""The API's own description: the OpenAPI document, and the page that shows it. Open to everyone."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import condition, require_safe
from drf_spectacular.generators import SchemaGenerator
from rest_framework.renderers import JSONRenderer

from plugsend.api_reference import Group, read
from plugsend.browser_policy import tell
from plugsend.context import platform

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
@gzip_page
@condition(etag_func=lambda request: f'"{hashlib.sha256(document()).hexdigest()[:32]}"')
def openapi(request: HttpRequest) -> HttpResponse:
    headers = {"Content-Type": "application/json", "Cache-Control": KEPT, "Access-Control-Allow-Origin": "*"}
    return HttpResponse(document(), headers=headers)


@require_safe
@gzip_page
def reference(request: HttpRequest) -> HttpResponse:
    """A page of our own: Redoc asks a CDN for its logo, and has no dark form; Swagger UI is for trying, not for reading."""
    made = _reference(settings.WEB_URL, settings.MODE)
    return tell(HttpResponse(made, headers={"Cache-Control": KEPT}))


@lru_cache(maxsize=2)
def _reference(web_url: str, mode: str) -> str:
    """Some 90 operations take a while to be set. Who reads it makes no difference: below `/api/` no session is known."""
    context = platform(HttpRequest()) | {"groups": groups(), "base_url": f"{web_url}/api/v1"}
    return render_to_string("api/reference.html", context)
