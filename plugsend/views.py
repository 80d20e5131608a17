"""The web shell: pages for what is not there, and what probes ask for."""

from __future__ import annotations

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import RequestDataTooBig
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static

from accounts.middleware import membership_of, memberships_of
from plugsend.things import whereabouts


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Where a link leads to what belongs to another of the reader's organizations, going there is offered."""
    context: dict[str, object] = {}
    match = request.resolver_match
    if match and request.method == "GET" and hasattr(request, "session") and request.user.is_authenticated:
        here = membership_of(request)
        elsewhere = [one for one in memberships_of(request) if one != here]
        if found := whereabouts(match.kwargs, elsewhere):
            context = {"thing": found[0], "place": found[1]}
    return render(request, "404.html", context, status=404)


def favicon(request: HttpRequest) -> HttpResponse:
    """Where browsers look by themselves, such as from a preview."""
    return redirect(static("logo.svg"), permanent=False)


def not_understood(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to what Django finds suspicious: of what kind it is, and no more."""
    status = 413 if isinstance(exception, RequestDataTooBig) else 400
    return HttpResponse(render_to_string(f"{status}.html"), status=status)


def healthz(request: HttpRequest) -> HttpResponse:
    """Whether this process answers; touches nothing else."""
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """Whether the web door can do its work: the database answers and is migrated. The broker may come and go."""
    problems = {}
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            problems["database"] = "migrations are waiting"
    except Exception:
        problems["database"] = "does not answer"
    notes = {}
    try:
        cache.get("readyz")
    except Exception:
        notes["broker"] = "does not answer; mail is accepted and flows again when it does"
    body = {"status": "not ready" if problems else "ready", "mode": settings.MODE, "problems": problems, "notes": notes}
    return JsonResponse(body, status=503 if problems else 200)
