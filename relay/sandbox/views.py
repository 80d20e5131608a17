"""The mailbox of the sandbox's internet, and the buttons that publish a domain's records in its DNS zone.

Everything here exists in sandbox mode only; elsewhere these addresses are 404.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from domains.dns.zones import CACHE
from domains.looking import check_again
from domains.models import SendingDomain
from relay.reading.list_views import html_preview, raw_download, wants_images
from relay.reading.preview import preview
from relay.sandbox import zone
from relay.sandbox.forms import PublishForm
from relay.sandbox.mistakes import MISTAKES
from relay.sandbox.models import ReceivedMail

PAGE_SIZE = 50
P = ParamSpec("P")


def sandbox_only(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not settings.SANDBOX:
            raise Http404
        return view(request, *args, **kwargs)

    return guarded


@sandbox_only
def inbox(request: HttpRequest) -> HttpResponse:
    """Newest first; `?to=` keeps one address's mail, `?before=<id>` is the next page. Open to everyone."""
    address = request.GET.get("to", "").strip().lower()
    mails = ReceivedMail.objects.defer("raw").order_by("-id")
    if address:
        mails = mails.filter(recipients__contains=[address])
    before = request.GET.get("before", "")
    if before:
        try:
            mails = mails.filter(id__lt=UUID(before))
        except ValueError:
            raise Http404 from None
    found = list(mails[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    mark = str(shown[0].pk) if shown else "none"
    if request.headers.get("HX-Request") and request.GET.get("seen") == mark:
        return HttpResponse(status=204)
    context = {
        "mails": shown,
        "next": shown[-1].pk if len(found) > PAGE_SIZE else None,
        "to": address,
        "before": before,
        "mark": mark,
    }
    return render(request, "sandbox/rows.html" if request.headers.get("HX-Request") else "sandbox/inbox.html", context)


@sandbox_only
def mail(request: HttpRequest, mail_id: UUID) -> HttpResponse:
    received = get_object_or_404(ReceivedMail, pk=mail_id)
    return render(request, "sandbox/mail.html", {"received": received, "mail": preview(bytes(received.raw))})


@sandbox_only
def mail_html(request: HttpRequest, mail_id: UUID) -> HttpResponse:
    raw = bytes(get_object_or_404(ReceivedMail, pk=mail_id).raw)
    return html_preview(raw, remote_images=wants_images(request))


@sandbox_only
def mail_raw(request: HttpRequest, mail_id: UUID) -> HttpResponse:
    return raw_download(bytes(get_object_or_404(ReceivedMail, pk=mail_id).raw), f"{mail_id}.eml")


@sandbox_only
@require_POST
@member_required(Permission.MANAGE_DOMAINS)
def publish(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """Puts the records that the domain needs into the sandbox's zone, as they should be or with the mistake that was chosen,
    then looks for them by real queries."""
    domains = SendingDomain.objects.of(request.organization)
    domain = get_object_or_404(domains, pk=domain_id)
    form = PublishForm(request.POST)
    if not form.is_valid():
        messages.error(request, "There is no such mistake or DNS host. Choose one of those in the list.")
        return redirect("domain", domain.pk)
    mistake = form.cleaned_data["mistake"]
    zone.publish(domain, mistake=mistake, host=form.cleaned_data["host"])
    CACHE.clear()  # it may be another DNS host now
    check_again(domain, actor_of(request), good_since=timezone.now())
    domain = get_object_or_404(domains, pk=domain_id)
    if mistake:
        messages.info(request, f"Published in the sandbox zone with a mistake: {MISTAKES[mistake].words}.")
    elif not domain.is_verified:  # else the page says it
        messages.info(request, "The records are published in the sandbox zone. “Check again” looks for them.")
    return redirect("domain", domain.pk)


@sandbox_only
@require_POST
@member_required(Permission.MANAGE_DOMAINS)
def withdraw(request: OrganizationRequest, domain_id: UUID) -> HttpResponse:
    """Takes the domain's records out of the sandbox's zone, as if they were lost, and looks."""
    domains = SendingDomain.objects.of(request.organization)
    domain = get_object_or_404(domains, pk=domain_id)
    zone.withdraw(domain)
    CACHE.clear()
    check_again(domain, actor_of(request), good_since=timezone.now())
    messages.info(request, "The records are taken out of the sandbox zone.")
    return redirect("domain", get_object_or_404(domains, pk=domain_id).pk)
