"""Operators' view of destinations: what waits for which, why, and whether anything may go there."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from accounts.admin_asking import ReasonForm, ask
from accounts.admin_lists import ReadOnlyAdmin
from accounts.audit import actor_of
from domains.names import DomainRefused, normalize_domain
from events.reasons import REASONS
from relay import destinations
from relay.models import ExchangerGroup, PausedDestination, Recipient

REPLIES = 10


@admin.register(PausedDestination)
class DestinationAdmin(ReadOnlyAdmin):
    """The list is of all that something waits for; a row of the table is made where one is paused."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("relay.change_pauseddestination"))

    def get_urls(self) -> list[URLPattern]:
        def of(view: Any) -> Any:
            return self.admin_site.admin_view(view)

        at = "at/<str:destination>/"
        return [
            path(at, of(self.destination_view), name="relay_pauseddestination_at"),
            path(f"{at}pause/", of(self.pause_view), name="relay_pauseddestination_pause"),
            path(f"{at}resume/", of(self.resume_view), name="relay_pauseddestination_resume"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if query := request.GET.get("q", "").strip():
            try:
                return redirect(_url(normalize_domain(query.removeprefix("@"))))
            except DomainRefused:
                self.message_user(request, f"“{query}” is no domain.", "WARNING")
        after = request.GET.get("after", "")[:253]
        waiting = destinations.waiting(after)
        groups = ExchangerGroup.objects.order_by("-changed_at")[:20] if not after else []
        names = {one.destination for one in waiting}
        trouble = {
            name: group
            for group in ExchangerGroup.objects.filter(destinations__overlap=list(names))
            for name in group.destinations
        }
        paused = {one.pk: one for one in PausedDestination.objects.all()}
        context = {
            **self.admin_site.each_context(request),
            "title": "Destinations",
            "opts": self.opts,
            "rows": [(one, paused.get(one.destination), trouble.get(one.destination)) for one in waiting],
            "paused": list(paused.values()) if not after else [],
            "groups": [(group, _words(group.reason)) for group in groups],
            "after": after,
            "next": waiting[-1].destination if len(waiting) == destinations.PAGE else "",
        }
        return TemplateResponse(request, "admin/relay/pauseddestination/change_list.html", context)

    def destination_view(self, request: HttpRequest, destination: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = _name(destination)
        replied = Recipient.objects.filter(destination=name, next_attempt_at__isnull=False).exclude(last_reply="")
        context = {
            **self.admin_site.each_context(request),
            "title": name,
            "opts": self.opts,
            "waiting": destinations.waiting_for(name),
            "paused": PausedDestination.objects.filter(pk=name).first(),
            "group": (group := ExchangerGroup.objects.filter(destinations__contains=[name]).first()),
            "cause": _words(group.reason) if group else "",
            "replies": [(one, _words(one.reason)) for one in replied.select_related("organization")[:REPLIES]],
            "may_pause": self.has_pause_permission(request),
        }
        return TemplateResponse(request, "admin/relay/pauseddestination/destination.html", context)

    def pause_view(self, request: HttpRequest, destination: str) -> HttpResponse:
        name = self._expect(request, destination)
        form = ReasonForm(
            request.POST or None, read_by="Everybody whose mail waits for it reads it, on the page of the message."
        )
        if form.is_valid():
            done = destinations.pause(name, form.cleaned_data["reason"], by=actor_of(request, operator=True))
            self.message_user(request, f"Mail to {name} is paused." if done else f"Mail to {name} was paused already.")
            return redirect(_url(name))
        return ask(
            self,
            request,
            title=f"Pause mail to {name}?",
            meaning=[
                "Within some seconds nothing is tried there, whosever mail it is; what is being delivered at this moment is "
                "finished. It waits in the queue, and what comes to the end of its retry period meanwhile ends as expired.",
            ],
            confirm="Pause",
            form=form,
            back=_url(name),
        )

    def resume_view(self, request: HttpRequest, destination: str) -> HttpResponse:
        name = self._expect(request, destination)
        if request.method == "POST":
            done = destinations.resume(name, by=actor_of(request, operator=True))
            self.message_user(request, f"Mail to {name} {'goes out again' if done else 'was not paused'}.")
            return redirect(_url(name))
        meaning = ["What waits goes out within some seconds, at the pace that the receiver bears."]
        return ask(self, request, title=f"Resume mail to {name}?", meaning=meaning, confirm="Resume", back=_url(name))

    def _expect(self, request: HttpRequest, name: str) -> str:
        if not self.has_pause_permission(request):
            raise PermissionDenied
        return _name(name)


def _url(name: str) -> str:
    return reverse("admin:relay_pauseddestination_at", args=[name])


def _name(name: str) -> str:
    try:
        return normalize_domain(name)
    except DomainRefused:
        raise Http404 from None


def _words(reason: str) -> str:
    return REASONS[reason].title if reason in REASONS else reason
