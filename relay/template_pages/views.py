"""Pages about templates: the list, the editor with its live preview, versions, and tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.db.models import Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.http import OrganizationRequest, member_required
from accounts.models import AuditEntry
from accounts.permissions import Permission
from domains.models import SmtpUser
from relay import templates
from relay.models import Template, TemplateVersion
from relay.reading.list_views import page_key
from relay.reading.preview import preview_policy
from relay.statistics.models import Dimension, Rollup, Step
from relay.template_pages import previews as template_previews
from relay.template_pages.editor import BLANK, Entered, Look, changes_to, excerpt, how_to_send, look, problems_of
from relay.template_pages.forms import CreateTemplateForm, TestForm
from relay.template_pages.testing import addresses_of_members, send_test, senders
from relay.templating.problems import Problem
from relay.templating.starting import STARTS
from relay.templating.variables import TYPES
from relay.usage import start_of

PAGE_SIZE = 50
USED_DAYS = 7
FRAME_SALT = "relay.template_preview"


@member_required(Permission.READ)
def template_list(request: OrganizationRequest) -> HttpResponse:
    """The newest first; `?before=<id>` is the next page; `?q=` looks in names and aliases."""
    asked, before = request.GET.get("q", "").strip()[:120], page_key(request.GET.get("before", ""))
    rows = templates.list_templates(request.organization)
    if asked:
        rows = rows.filter(Q(name__icontains=asked) | Q(alias__icontains=asked))
    if before:
        rows = rows.filter(id__lt=before)
    page = list(rows.order_by("-id")[: PAGE_SIZE + 1])
    shown = page[:PAGE_SIZE]
    used = _used(request, [one.pk for one in shown])
    context = {
        "rows": [{"template": one, "used": used.get(str(one.pk), 0)} for one in shown],
        "next": shown[-1].pk if len(page) > PAGE_SIZE else None,
        "before": before,
        "asked": asked,
        "used_days": USED_DAYS,
    }
    return render(request, "templates/list.html", context)


def _used(request: OrganizationRequest, template_ids: list[UUID]) -> dict[str, int]:
    """How many recipients' mail was made from each in the last days, by its id, as far as it is counted."""
    since = start_of(Step.DAY, timezone.now()) - timedelta(days=USED_DAYS - 1)
    rows = Rollup.objects.of(request.organization).filter(
        dimension=Dimension.TEMPLATE, step=Step.DAY, starts_at__gte=since, value__in=[str(one) for one in template_ids]
    )
    return dict(rows.values_list("value").annotate(sent=Sum("submitted")))


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_TEMPLATES)
def template_create(request: OrganizationRequest) -> HttpResponse:
    """From nothing, or from one of the templates to begin with (`?from=`)."""
    chosen = STARTS.get(request.GET.get("from", ""))
    initial = {"start": chosen.code, "name": chosen.name} if chosen else {"start": next(iter(STARTS))}
    form = CreateTemplateForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        start = STARTS.get(form.cleaned_data["start"])
        content = (
            BLANK
            if start is None
            else templates.TemplateContent(
                subject=start.subject, html=start.html, text=start.text, variables=start.variables
            )
        )
        try:
            template = templates.create_template(
                request.organization,
                form.cleaned_data["name"],
                content,
                test_values=start.test_values if start else {"name": "Ada"},
                by=actor_of(request),
            )
        except Refused as refused:
            form.add_error("name" if refused.code == "template_exists" else None, refused.detail)
        else:
            return redirect("template", template.pk)
    return render(request, "templates/create.html", {"form": form, "starts": STARTS.values()})


# ---- The editor ------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@member_required(Permission.READ, to_change=Permission.MANAGE_TEMPLATES)
def template_page(request: OrganizationRequest, template_id: UUID) -> HttpResponse:
    """GET shows the newest version; POST saves it as the draft, and with `act=publish` publishes it."""
    template = _find(request, template_id)
    found = templates.newest_of(template)
    if request.method != "POST":
        return _editor(request, template, found.newest, Entered.stored(template, found.newest))
    entered = Entered.posted(request.POST)
    serializer, errors = entered.check()
    problems: list[Problem] = []
    is_stale = False
    if not errors:
        try:
            told = _save(request, template, found.newest, entered, serializer)
        except Refused as refused:
            is_stale = refused.code == "template_changed_meanwhile"
            problems = problems_of(refused)
            if refused.code == "template_exists":
                errors = {error["pointer"].strip("/"): [f"{refused.detail}"] for error in refused.errors}
            elif not is_stale and not problems:
                errors = {"form": [refused.detail]}
        else:
            messages.add_message(request, *told)
            return redirect("template", template.pk)
    template.refresh_from_db()
    return _editor(request, template, templates.newest_of(template).newest, entered, errors, problems, is_stale)


def _save(
    request: OrganizationRequest, template: Template, newest: TemplateVersion, entered: Entered, serializer: Any
) -> tuple[int, str]:
    """What its writer is told. Raises `Refused`."""
    checked = serializer.validated_data
    by = actor_of(request)
    with transaction.atomic():
        templates.update_template(
            template,
            changes_to(newest, serializer),
            name=checked["name"],
            alias=checked["alias"],
            test_values=entered.test_values(),
            seen=_seen(request) or template.updated_at,
            by=by,
        )
        if request.POST.get("act") != "publish":
            return messages.SUCCESS, "Saved."
        try:
            version = templates.publish_template(template, by=by)
        except Refused as refused:
            return messages.WARNING, f"Saved as a draft, but not published. {refused.detail}"
        return messages.SUCCESS, f"Version {version.number} is published. It is what is sent within three seconds."


def _seen(request: HttpRequest) -> datetime | None:
    try:
        return parse_datetime(request.POST.get("seen", ""))
    except ValueError:
        return None


def _editor(
    request: OrganizationRequest,
    template: Template,
    newest: TemplateVersion,
    entered: Entered,
    errors: dict[str, list[str]] | None = None,
    problems: list[Problem] | None = None,
    is_stale: bool = False,
) -> HttpResponse:
    published = template.versions.filter(published_at__isnull=False).order_by("-number").first()
    context = {
        "template": template,
        "newest": newest,
        "published": published,
        "errors": errors or {},
        "is_stale": is_stale,
        "changed_by": _changed_by(template) if is_stale else None,
        **_preview(request, entered),
    }
    context["use"] = how_to_send(template, entered, context["look"].values)
    if problems:
        context["problems"] = _with_lines(entered, problems)
    return render(request, "templates/editor.html", context)


def _changed_by(template: Template) -> AuditEntry | None:
    entries = AuditEntry.objects.of(template.organization_id).filter(object_type="template", object_id=template.pk)
    return entries.order_by("-id").first()


@require_POST
@member_required(Permission.READ)
def template_preview(request: OrganizationRequest, template_id: UUID) -> HttpResponse:
    """What stands in the fields, filled in. Nothing is kept. Without htmx: the whole page with it."""
    template = _find(request, template_id)
    entered = Entered.posted(request.POST)
    if not request.htmx:
        return _editor(request, template, templates.newest_of(template).newest, entered)
    context = _preview(request, entered)
    # Fields that somebody types in stay as they are, unless the list itself is another.
    context["brings_variables"] = request.POST.get("shown", "") != entered.keys
    return render(request, "templates/preview.html", {"template": template, **context})


def _preview(request: OrganizationRequest, entered: Entered) -> dict[str, Any]:
    try:
        seen = look(entered)
    except Refused as refused:
        seen = Look((Problem("template", refused.detail),), None)
    html = seen.rendered.html if seen.rendered else None
    return {
        "entered": entered,
        "look": seen,
        "problems": _with_lines(entered, list(seen.problems)),
        "types": TYPES,
        "frame": _frame_address(request, html) if html else "",
    }


def _with_lines(entered: Entered, problems: list[Problem]) -> list[dict[str, Any]]:
    return [{"problem": problem, "excerpt": excerpt(entered.source, problem)} for problem in problems]


def _frame_address(request: OrganizationRequest, html: str) -> str:
    """Of the preview. Where previews have a host of their own it is there, and open to whoever was given it."""
    digest = template_previews.keep(request.membership.pk, html)
    token = signing.dumps([request.membership.pk.hex, digest], salt=FRAME_SALT)
    if settings.CONTENT_HOST:
        return f"{urlsplit(settings.WEB_URL).scheme}://{settings.CONTENT_HOST}/templates/{token}/"
    return reverse("template_preview_frame", args=[token])


@member_required(Permission.READ)
def template_preview_frame(request: OrganizationRequest, token: str) -> HttpResponse:
    """A member's own preview, in the frame of the page; `?scheme=dark` for those who prefer that."""
    return _frame(request, token, only_for=request.membership.pk, framed_by="'self'")


def template_preview_at_content_host(request: HttpRequest, token: str) -> HttpResponse:
    """The same at CONTENT_HOST, where there are no cookies."""
    return _frame(request, token, only_for=None, framed_by=settings.WEB_URL)


def _frame(request: HttpRequest, token: str, *, only_for: UUID | None, framed_by: str) -> HttpResponse:
    html = template_previews.GONE
    try:
        member_id, digest = signing.loads(token, salt=FRAME_SALT, max_age=template_previews.KEPT_S)
    except signing.BadSignature:
        pass
    else:
        if only_for in (None, UUID(member_id)):
            is_dark = request.GET.get("scheme") == "dark"
            html = template_previews.kept(UUID(member_id), digest, is_dark=is_dark)
    answer = HttpResponse(
        html,
        headers={
            "Content-Security-Policy": preview_policy(framed_by=framed_by, remote_images=True),
            "Cache-Control": "private, no-store",
            "Referrer-Policy": "no-referrer",
        },
    )
    answer.xframe_options_exempt = True  # frame-ancestors says it, and can name another origin
    return answer


# ---- Acts ------------------------------------------------------------------------------------------------------------


@require_POST
@member_required(Permission.MANAGE_TEMPLATES)
def template_duplicate(request: OrganizationRequest, template_id: UUID) -> HttpResponse:
    copy = templates.duplicate_template(_find(request, template_id), by=actor_of(request))
    messages.success(request, "This is the copy, a draft without alias.")
    return redirect("template", copy.pk)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_TEMPLATES)
def template_remove(request: OrganizationRequest, template_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    template = _find(request, template_id)
    if request.method == "POST":
        templates.delete_template(template, by=actor_of(request))
        messages.success(request, f"{template.name} is deleted.")
        return redirect("templates")
    used = _used(request, [template.pk]).get(str(template.pk), 0)
    context = {"template": template, "used": used, "used_days": USED_DAYS}
    return render(request, "templates/remove.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.READ, to_change=Permission.ACT_ON_MAIL)
def template_test(request: OrganizationRequest, template_id: UUID) -> HttpResponse:
    """Sends what is saved, with the test values, to a member's own address."""
    template = _find(request, template_id)
    version = templates.newest_of(template).newest
    entered = Entered.stored(template, version)
    users = senders(request.organization).select_related("domain", "organization__plan")
    form = TestForm(
        request.POST if request.method == "POST" else None,
        senders=users,
        addresses=addresses_of_members(request.organization, request.user.pk),
        sender=version.sender,
    )
    preview = _preview(request, entered)
    if request.method == "POST" and form.is_valid():
        smtp_user: SmtpUser = form.cleaned_data["smtp_user"]
        try:
            message_id = send_test(
                template,
                version,
                preview["look"].values,
                smtp_user=smtp_user,
                to=form.cleaned_data["to"],
                by=actor_of(request),
            )
        except Refused as refused:
            form.add_error(None, f"{refused.detail} {refused.refusal.advice}")
        else:
            messages.success(request, f"The test is on its way to {form.cleaned_data['to']}. This page follows it.")
            return redirect("message", message_id)
    context = {"template": template, "version": version, "form": form, "has_senders": users.exists(), **preview}
    return render(request, "templates/test.html", context)


# ---- Versions --------------------------------------------------------------------------------------------------------


@member_required(Permission.READ)
def template_versions(request: OrganizationRequest, template_id: UUID) -> HttpResponse:
    template = _find(request, template_id)
    before = request.GET.get("before", "")
    rows = template.versions.defer("html", "text").order_by("-number")
    if before.isdecimal() and len(before) < 6:
        rows = rows.filter(number__lt=int(before))
    page = list(rows[: PAGE_SIZE + 1])
    current = template.versions.filter(published_at__isnull=False).order_by("-number").values_list("number").first()
    context = {
        "template": template,
        "rows": page[:PAGE_SIZE],
        "current": current[0] if current else None,
        "next": page[PAGE_SIZE - 1].number if len(page) > PAGE_SIZE else None,
    }
    return render(request, "templates/versions.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.READ, to_change=Permission.MANAGE_TEMPLATES)
def template_version(request: OrganizationRequest, template_id: UUID, number: int) -> HttpResponse:
    """GET shows it; POST makes the draft say what it says."""
    template = _find(request, template_id)
    version = get_object_or_404(template.versions, number=number)
    if request.method == "POST":
        try:
            content = templates.content_of(version)
            fields = content.fields() | {"variables": content.variables, "reply_to": content.reply_to}
            templates.update_template(template, fields, by=actor_of(request))
        except Refused as refused:
            messages.error(request, f"{refused.detail} {refused.refusal.advice}")
            return redirect("template_version", template.pk, number)
        messages.success(request, f"The draft says what version {number} says. Publish it to have it sent.")
        return redirect("template", template.pk)
    entered = Entered.stored(template, version)
    context = {"template": template, "version": version, **_preview(request, entered)}
    return render(request, "templates/version.html", context)


def _find(request: OrganizationRequest, template_id: UUID) -> Template:
    return get_object_or_404(Template.objects.of(request.organization).select_related("organization"), pk=template_id)
