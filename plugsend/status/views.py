"""The public status page, its JSON and its feed. They know no reader: everybody is shown the same, and it may be cached."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render
from django.utils.feedgenerator import Atom1Feed

from plugsend.status.board import Board, board
from plugsend.status.models import Incident

MAX_AGE_S = 3

View = Callable[..., HttpResponse]


def public_page(view: View) -> View:
    """Read only, cacheable, and served without sessions (`plugsend.status.middleware`)."""

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = view(request, **kwargs)
        response.headers.setdefault("Cache-Control", f"public, max-age={MAX_AGE_S}")
        return response

    guarded.stands_alone = True  # type: ignore[attr-defined]
    return guarded


@public_page
def status(request: HttpRequest) -> HttpResponse:
    return render(request, "status/page.html", {"board": board()})


@public_page
def status_live(request: HttpRequest) -> HttpResponse:
    """What an open page asks for every few seconds."""
    now = board()
    if request.GET.get("seen") == now.mark:
        return HttpResponse(status=204)
    return render(request, "status/live.html", {"board": now})


@public_page
def status_incident(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    now = board()
    known = [one for one in (*now.present, *now.planned, *now.past) if one.pk == incident_id]
    if not known and now.has_history:
        known = list(Incident.objects.filter(pk=incident_id).prefetch_related("updates"))
    code = 200 if known else 404 if now.has_history else 503
    return render(request, "status/incident.html", {"board": now, "incident": known[0] if known else None}, status=code)


@public_page
def status_json(request: HttpRequest) -> HttpResponse:
    now = board()
    response = JsonResponse(
        {
            "status": now.state,
            "description": now.headline,
            "checked_at": _time(now.looked_at),
            "is_current": now.is_current,
            "components": [
                {
                    "code": row.component.code,
                    "name": row.component.name,
                    "status": row.state,
                    "since": _time(row.since),
                    "uptime_90_days": None if row.uptime is None else round(row.uptime, 6),
                }
                for row in now.rows
            ],
            "incidents": [_incident(one) for one in (*now.present, *now.past)],
            "planned_maintenance": [_incident(one) for one in now.planned],
        }
    )
    _for_other_sites(response)
    return response


@public_page
def status_feed(request: HttpRequest) -> HttpResponse:
    now: Board = board()
    if not now.has_history and not (now.present or now.past):
        return HttpResponse("The incidents cannot be read right now.\n", status=503, headers={"Retry-After": "60"})
    page = f"{settings.WEB_URL}/status/"
    feed = Atom1Feed(
        title="PlugSend status",
        link=page,
        description="Incidents and maintenance.",
        feed_url=f"{settings.WEB_URL}/status.atom",
    )
    for one in (*now.planned, *now.present, *now.past):
        updates = list(one.updates.all())
        address = f"{page}incidents/{one.pk}/"
        feed.add_item(
            title=one.title,
            link=address,
            description="\n".join(
                f"<p><b>{update.at:%-d %b %Y, %H:%M} UTC</b> {_escaped(update.text)}</p>" for update in updates
            ),
            unique_id=address,
            pubdate=one.started_at,
            updateddate=max([one.started_at, *(update.at for update in updates)]),
            categories=one.names,
        )
    response = HttpResponse(feed.writeString("utf-8"), content_type="application/atom+xml; charset=utf-8")
    _for_other_sites(response)
    return response


def _incident(one: Incident) -> dict[str, Any]:
    return {
        "id": str(one.pk),
        "kind": one.kind,
        "title": one.title,
        "impact": one.impact,
        "components": one.components,
        "started_at": _time(one.started_at),
        "ended_at": _time(one.ended_at),
        "url": f"{settings.WEB_URL}/status/incidents/{one.pk}/",
        "updates": [{"at": _time(update.at), "text": update.text} for update in one.updates.all()],
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")


def _for_other_sites(response: HttpResponse) -> None:
    """It is everybody's."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
