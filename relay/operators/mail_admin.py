"""Operators' view of messages and recipients: found by anything, acted on by choice or by filter, read with a reason only."""

from __future__ import annotations

from collections.abc import Callable
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action

from accounts.admin_asking import ReasonForm, ask
from accounts.admin_audit import note_operator
from accounts.admin_lists import PATIENCE_S, GrowingTableAdmin, TookTooLong, as_uuid, within
from accounts.admin_words import when
from accounts.audit import actor_of
from events.admin import EventAdmin as PlainEventAdmin
from events.admin import cause
from events.models import Event
from relay.acting import actions
from relay.acting.actions import Action
from relay.acting.words import WORDS, notice, recipients
from relay.models import Content, Message, Recipient
from relay.operators.mail_admin_filters import DoorFilter, QueueFilter, StateFilter
from relay.operators.search import NotFound, message_condition, recipient_condition

RECIPIENTS_SHOWN = 20  # on the page of a message
SHOWN_CHARACTERS = 200_000  # of a content
READ_BY = "It stands in the organization's audit log, which its members read."
TOO_MUCH = "That goes through too much. Choose a state, an organization or a destination as well."


class FoundByAnything(GrowingTableAdmin):
    condition: Callable[[str], Q]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(type(self).condition(search_term)), False
        except NotFound as problem:
            return self.not_found(request, queryset, str(problem))


class ReadWithReason(GrowingTableAdmin):
    """Rows with what somebody wrote. It is shown to operators with the permission, after they have given a reason."""

    actions_detail = ["read_content"]

    def content_of(self, obj: Any) -> bytes | None:
        raise NotImplementedError

    def has_read_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return bool(request.user.has_perm("relay.read_content"))

    @action(description="Read the content…", url_path="content", icon="mail_lock", permissions=["read"])
    def read_content(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id])
        content = self.content_of(obj)
        if content is None:
            self.message_user(request, "Its content is not kept, or not any more.", "WARNING")
            return redirect(back)
        form = ReasonForm(request.POST or None, read_by=READ_BY)
        if not form.is_valid():
            return ask(
                self,
                request,
                title="Why do you have to read it?",
                meaning=[
                    "What customers write to people is theirs. Read it only where there is no other way to help them."
                ],
                confirm="Read it",
                form=form,
                back=back,
                obj=obj,
            )
        if organization_id := getattr(obj, "organization_id", None):
            with transaction.atomic():  # written before anything is shown
                note_operator(
                    request, "content_read", obj, [organization_id], after={"reason": form.cleaned_data["reason"]}
                )
        context = {
            **self.admin_site.each_context(request),
            "title": f"Content of {obj}",
            "original": obj,
            "opts": self.opts,
            "parts": parts_of(content),
            "back": back,
        }
        answer = TemplateResponse(request, "admin/relay/content.html", context)
        answer.headers["Cache-Control"] = "no-store"
        return answer


def parts_of(content: bytes) -> list[tuple[str, str]]:
    """(name, text) of what can be read; all of it is shown as text."""
    parsed: EmailMessage = BytesParser(policy=policy.compat32).parsebytes(content)  # type: ignore[assignment]  # as it came
    header, _, _ = content.partition(b"\r\n\r\n")
    parts = [("Header", header.decode("utf-8", "replace"))]
    for part in parsed.walk():
        if part.is_multipart():
            continue
        kind, name = part.get_content_type(), part.get_filename()
        if part.get_content_maintype() != "text" or name:
            parts.append((f"{kind}, {name}" if name else kind, "(not shown)"))
            continue
        octets = part.get_payload(decode=True)
        try:
            text = bytes(octets or b"").decode(part.get_content_charset("utf-8"), "replace")
        except LookupError:
            text = bytes(octets or b"").decode("utf-8", "replace")
        parts.append((kind, text[:SHOWN_CHARACTERS]))
    return parts


@admin.register(Message)
class MessageAdmin(FoundByAnything, ReadWithReason):
    """Subject, tags and metadata are content: they stand on a message's own page alone. Who opens that leaves an entry in the
    organization's audit log."""

    condition = staticmethod(message_condition)
    list_display = ["submitted_at", "header_from", "recipient_count", "door", "organization", "id"]
    list_filter = [("door", DoorFilter)]
    list_select_related = ["organization"]
    search_help_text = (
        "Words that all apply: an id of anything, a Message-ID, a recipient's or SMTP user's address, a sending domain, an "
        "organization's name."
    )
    fields = [
        "id", "organization", "submitted_at", "door", "header_from", "envelope_sender", "subject", "message_id_header",
        "size_bytes", "recipient_count", "tags", "metadata", "scheduled_at", "domain_id", "smtp_user_id", "api_key_id", "trace",
    ]  # fmt: skip
    readonly_fields = ["trace"]
    change_form_before_template = "admin/relay/message/recipients.html"

    def content_of(self, obj: Any) -> bytes | None:
        raw = Content.objects.filter(pk=obj.pk).values_list("raw", flat=True).first()
        return bytes(raw) if raw is not None else None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        message = self.get_object(request, unquote(object_id))
        if not isinstance(message, Message):
            return super().change_view(request, object_id, form_url, extra_context)
        found = Recipient.objects.filter(message_id=message.pk, id__gte=message.pk).order_by("id")
        shown = [(one, cause(one)) for one in found[:RECIPIENTS_SHOWN]]
        facts = {"recipients": shown, "more": message.recipient_count - len(shown)}
        with transaction.atomic():
            answer = super().change_view(request, object_id, form_url, (extra_context or {}) | facts)
            note_operator(request, "read", message, [message.organization_id])
        return answer

    @admin.display(description="What happened")
    def trace(self, message: Message) -> SafeString:
        return format_html(
            '<a class="text-primary-700 dark:text-primary-500" href="{}?q={}">Recipients</a> · '
            '<a class="text-primary-700 dark:text-primary-500" href="{}?q={}">Events</a> · '
            '<a class="text-primary-700 dark:text-primary-500" href="{}?q={}">What came back</a>',
            reverse("admin:relay_recipient_changelist"),
            message.pk,
            reverse("admin:events_event_changelist"),
            message.pk,
            reverse("admin:relay_returnedmessage_changelist"),
            message.pk,
        )


def _admin_action(action: Action) -> Any:
    """An action of `relay.acting.actions` over the chosen rows: counts and asks first."""

    @admin.action(description=WORDS[action].label, permissions=["act"])
    def ask_or_act(
        model_admin: RecipientAdmin, request: HttpRequest, queryset: QuerySet[Recipient]
    ) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            more = {
                "action_name": action.value,
                "across": request.POST.get("select_across", "0"),
                "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
                "checkbox_name": ACTION_CHECKBOX_NAME,
            }
            return model_admin.ask_to_act(request, action, queryset, request.get_full_path(), **more)
        model_admin.act(request, action, queryset)
        return None

    ask_or_act.__name__ = action.value
    return ask_or_act


@admin.register(Recipient)
class RecipientAdmin(FoundByAnything):
    """Recipients are not edited; they can be retried, held, released and cancelled."""

    condition = staticmethod(recipient_condition)
    list_display = [
        "address",
        "standing",
        cause,
        "next_attempt_at",
        "organization",
        "message_id",
    ]
    list_filter = [QueueFilter, ("state", StateFilter)]
    list_select_related = ["organization"]
    list_before_template = "admin/relay/recipient/all.html"
    search_help_text = (
        "Words that all apply: an id of anything, a Message-ID, an address, an organization's name, a destination "
        "(example.com). A destination without an organization finds what is in the queue."
    )
    actions = [_admin_action(action) for action in Action]
    change_form_before_template = "admin/relay/recipient/acts.html"
    fields = [
        "id", "message", "organization", "address", "destination", "state", "state_at", "attempts", cause,
        "last_reply", "next_attempt_at", "expires_at", "leased_by", "events",
    ]  # fmt: skip
    readonly_fields = ["message", cause, "events"]

    def has_act_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("relay.change_recipient"))

    def get_urls(self) -> list[URLPattern]:
        own = path("all/<str:action>/", self.admin_site.admin_view(self.act_on_all), name="relay_recipient_all")
        return [own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(
            request, (extra_context or {}) | {"acts": WORDS if self.has_act_permission(request) else {}}
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With what can be done about it while it is in the queue."""
        recipient = self.get_object(request, unquote(object_id))
        is_open = isinstance(recipient, Recipient) and recipient.next_attempt_at is not None
        acts = WORDS if is_open and self.has_act_permission(request) else {}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | {"acts": acts})

    def act_on_all(self, request: HttpRequest, action: str) -> HttpResponse:
        """On all that the list's filter and search find: counts and asks first."""
        if not self.has_act_permission(request):
            raise PermissionDenied
        try:
            chosen = Action(action)
        except ValueError:
            raise Http404 from None
        back = f"{reverse('admin:relay_recipient_changelist')}?{request.GET.urlencode()}"
        changes = self.get_changelist_instance(request)
        if not (changes.query or changes.get_filters_params()):
            self.message_user(request, "Search or filter first: this would be the mail of everybody.", "WARNING")
            return redirect(back)
        try:
            if request.method == "POST":
                self.act(request, chosen, changes.queryset)
                return redirect(back)
            return self.ask_to_act(request, chosen, changes.queryset, back)
        except TookTooLong:
            self.message_user(request, TOO_MUCH, "WARNING")
            return redirect(back)

    def ask_to_act(
        self, request: HttpRequest, action: Action, chosen: QuerySet[Recipient], back: str, **more: Any
    ) -> HttpResponse:
        """Raises TookTooLong."""
        with within(PATIENCE_S):
            counted = actions.count(action, chosen)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{WORDS[action].question} {recipients(counted.possible, is_cut=counted.is_cut)}?",
            "words": WORDS[action],
            "count": counted,
            "opts": self.opts,
            "back": back,
            **more,
        }
        return TemplateResponse(request, "admin/relay/recipient/act.html", context)

    def act(self, request: HttpRequest, action: Action, chosen: QuerySet[Recipient]) -> None:
        acted = actions.act(action, chosen, by=actor_of(request, operator=True))
        more = " More match: apply the action again." if acted.more else ""
        told = notice(action, acted)
        self.message_user(request, told.text + more, "SUCCESS" if told.is_good else "WARNING")

    @admin.display(description="Message")
    def message(self, recipient: Recipient) -> SafeString:
        return format_html(
            '<a class="text-primary-700 dark:text-primary-500" href="{}">{}</a>',
            reverse("admin:relay_message_change", args=[recipient.message_id]),
            recipient.message_id,
        )

    @admin.display(description="State")
    def standing(self, recipient: Recipient) -> SafeString:
        return format_html("{}<br>{}", recipient.get_state_display(), when(recipient.state_at))

    @admin.display(description="What happened")
    def events(self, recipient: Recipient) -> SafeString:
        return format_html(
            '<a class="text-primary-700 dark:text-primary-500" href="{}?q={}">Events</a>',
            reverse("admin:events_event_changelist"),
            recipient.pk,
        )


admin.site.unregister(Event)


@admin.register(Event)
class EventAdmin(PlainEventAdmin):
    """Events have no index by recipient: a recipient's are among those of its message."""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        identifier = as_uuid(search_term)
        of = (
            Recipient.objects.filter(pk=identifier).values_list("message_id", flat=True).first() if identifier else None
        )
        if of is not None:
            return queryset.filter(message_id=of, recipient_id=identifier), False
        return super().get_search_results(request, queryset, search_term)


__all__ = ["EventAdmin", "MessageAdmin", "ReadWithReason", "RecipientAdmin"]
