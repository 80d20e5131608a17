"""Open to everyone; a signed-in reader's code holds the reader's own SMTP user."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRefresh

from accounts.catalogue import REFUSALS
from plugsend import api_docs
from plugsend.documentation.contents import FOLDER, INDEX, SECTIONS
from plugsend.documentation.pages import files, neighbours, pages, url_of
from plugsend.documentation.reader import reader_of, remember
from plugsend.documentation.refusals import explained, subjects
from plugsend.documentation.search import LONGEST_QUERY, find

MOST_HITS, HITS_IN_PANEL = 30, 8


@require_safe
def page(request: HttpRequest, slug: str = INDEX) -> HttpResponse:
    if slug not in pages() or slug == "errors":
        raise Http404
    shown = pages()[slug]
    reader = reader_of(request)
    before, after = neighbours(slug)
    context = {
        "page": shown,
        "body": shown.html(reader.values),
        "reader": reader if any(block.snippet or "yourdomain" in block.text for block in shown.blocks) else None,
        "before": before,
        "after": after,
        "groups": api_docs.groups() if slug == "api" else [],
    }
    return _render(request, "docs/page.html", slug, context)


@require_safe
@vary_on_headers("HX-Request", "HX-Target")
def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "")[:LONGEST_QUERY].strip()
    in_panel = bool(request.htmx) and request.htmx.target == "docs-panel"  # type: ignore[attr-defined]
    context = {"query": query, "hits": find(query, HITS_IN_PANEL if in_panel else MOST_HITS)}
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "docs/panel.html" if in_panel else "docs/hits.html", context)
    return _render(request, "docs/search.html", "", context)


@require_POST
def choose_reader(request: HttpRequest) -> HttpResponse:
    """Whose address stands in code, from now on in this session."""
    try:
        known = remember(request, UUID(request.POST.get("smtp_user", "")))
    except ValueError:
        known = False
    if not known:
        raise Http404
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRefresh()
    wanted = request.POST.get("next", "")
    return redirect(wanted if url_has_allowed_host_and_scheme(wanted, None) else "docs")


@require_safe
def file(request: HttpRequest, path: str) -> HttpResponse | FileResponse:
    if path not in files():
        raise Http404
    return FileResponse((FOLDER / path).open("rb"), headers={"Cache-Control": "public, max-age=3600"})


@require_safe
def api_group(request: HttpRequest, tag: str) -> HttpResponse:
    for group in api_docs.groups():
        if group.tag == tag:
            context = {"group": group, "api_tag": tag, "api_groups": api_docs.groups()}
            return _render(request, "docs/api_group.html", "api", context | {"base_url": f"{settings.WEB_URL}/api/v1"})
    raise Http404


@require_safe
def error_index(request: HttpRequest) -> HttpResponse:
    return _render(request, "docs/errors.html", "errors", {"subjects": subjects()})


@require_safe
def error_help(request: HttpRequest, code: str) -> HttpResponse:
    if code not in REFUSALS:
        raise Http404
    return _render(request, "docs/error.html", "errors", {"explained": explained(code)})


def _render(request: HttpRequest, template: str, slug: str, context: dict[str, Any]) -> HttpResponse:
    sections = [
        (
            section.title,
            [(title, url_of(one), one == slug) for one, title in section.pages.items()],
            slug in section.pages,
        )
        for section in SECTIONS
    ]
    return render(request, template, {"slug": slug, "sections": sections, **context})
