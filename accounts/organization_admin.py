"""Operators' page of an organization. What its mail tells adds `relay.operators.organization_admin`, which registers it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from accounts import impersonation, second_factor, suspension
from accounts.admin_asking import ReasonForm, ask
from accounts.admin_audit import AuditedAdmin
from accounts.admin_deletion import DELETION_ACTIONS
from accounts.admin_lists import KeysetAdmin, as_uuid
from accounts.admin_words import NamedInline
from accounts.audit import actor_of
from accounts.http import expect_it_is_they
from accounts.models import Membership, OperatorNote, Organization, ReviewCause, Role, User

MEMBERS_MOST = 100  # people whose organizations a search gives
REVIEW = "review"  # of the list's address


class MembershipInline(NamedInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user", "organization"]
    readonly_fields = ["created_at"]
    ordering = ["created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "organization")


class ReviewFilter(admin.SimpleListFilter):
    title = "review"
    parameter_name = "review"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "To be reviewed"), ("new", "New, to be reviewed"), ("rates", "Held, to be reviewed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        waiting = queryset.filter(review_since__isnull=False, is_system=False)
        return waiting if self.value() == "waiting" else waiting.filter(review_cause=self.value())


class OrganizationAdmin(KeysetAdmin, AuditedAdmin):
    """The review queue is this list, filtered: `?review=waiting`."""

    list_display = ["name", "plan", "standing", "created_at", "id"]
    list_select_related = ["plan"]
    list_filter = [
        "plan",
        ReviewFilter,
        "suspension",
        "is_system",
        ("deletion_requested_at", admin.EmptyFieldListFilter),
    ]
    actions = ["approve_chosen", *DELETION_ACTIONS]
    actions_detail = ["suspend", "resume", "approve", "add_note", "look"]
    search_fields = ["name"]  # makes the search box appear; `get_search_results` does the search
    search_help_text = "A part of a name, an id, or the beginning of a member's address."
    readonly_fields = [
        "id", "created_at", "is_system", "deletion_requested_at", "deletion_requested_by", "erase_at", "mail_hold",
        "reviewed_at",
    ]  # fmt: skip
    fieldsets = [
        (None, {"fields": ["name", "plan"]}),
        (
            "Delivery",
            {"fields": ["delivery_weight", "message_size_limit", "api_rate_limit", "outgoing_tls", "never_twice"]},
        ),
        ("Deletion", {"fields": ["deletion_requested_at", "deletion_requested_by", "erase_at"]}),
        ("Facts", {"fields": ["id", "created_at", "reviewed_at", "mail_hold", "is_system"]}),
    ]
    inlines = [MembershipInline]
    ordering = ["-id"]
    change_form_before_template = "admin/accounts/organization/standing.html"

    def get_list_display(self, request: HttpRequest) -> Any:
        if REVIEW in request.GET:
            shown = ["name", "standing", "suspension_reason", "owner", "review_since", "created_at"]
            return [self._column(one, is_first=not place) for place, one in enumerate(shown)]
        return super().get_list_display(request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The review queue has an order of its own, and is short."""
        return ChangeList if REVIEW in request.GET else super().get_changelist(request, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if identifier := as_uuid(term):
            return queryset.filter(pk=identifier), False
        if "@" in term:
            people = User.objects.filter(email__startswith=term.lower()).values_list("pk", flat=True)[:MEMBERS_MOST]
            theirs = Membership.objects.filter(user__in=list(people)).values("organization")
            return queryset.filter(pk__in=theirs), False
        return queryset.filter(name__icontains=term), False

    def get_ordering(self, request: HttpRequest) -> list[str]:
        return ["-review_cause", "review_since"] if REVIEW in request.GET else list(self.ordering)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found = super().get_queryset(request)
        if REVIEW not in request.GET:
            return found
        owners = Membership.objects.filter(organization=OuterRef("pk"), role=Role.OWNER).order_by("created_at")
        return found.annotate(_owner=Subquery(owners.values("user__email")[:1]))

    @admin.display(description="Owner")
    def owner(self, organization: Organization) -> str:
        return str(organization._owner or "–")  # type: ignore[attr-defined]  # annotated

    @admin.display(description="Standing", ordering="suspended_at")
    def standing(self, organization: Organization) -> str:
        words = []
        if organization.is_suspended:
            words.append("held for its rates" if organization.is_held_for_rates else "suspended")
        if organization.erase_at:
            words.append(f"to be erased on {organization.erase_at:%-d %b %Y, %H:%M}")
        if organization.review_since:
            words.append("new, to be reviewed" if organization.review_cause == ReviewCause.NEW else "to be reviewed")
        return ", ".join(words) or "–"

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # its messages and events would be left behind; an owner deletes it (accounts.deletion)

    def has_suspend_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return bool(request.user.has_perm("accounts.suspend_organization"))

    def has_look_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return bool(request.user.has_perm("accounts.look_as_organization"))

    def has_note_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return bool(request.user.has_perm("accounts.add_operatornote"))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Those that apply."""
        organization = self._organization(request, object_id)
        no = {
            "suspend": organization.is_system or (organization.is_suspended and not organization.is_held_for_rates),
            "resume": not organization.is_suspended,
            "approve": organization.review_since is None or organization.is_suspended,
            "look": organization.is_system or organization.is_being_deleted,
        }
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        offered = super().get_actions_detail(request, object_id)
        return [one for one in offered if not no.get(one.action_name.removeprefix(prefix))]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponseBase:
        if object_id and request.method == "GET":
            extra_context = (extra_context or {}) | self.facts(request, self._organization(request, object_id))
        answer: HttpResponseBase = super().changeform_view(request, object_id, form_url, extra_context)
        return answer

    def facts(self, request: HttpRequest, organization: Organization) -> dict[str, Any]:
        """What stands above the form."""
        notes = OperatorNote.objects.of(organization).order_by("-id")[:50]
        return {"notes": notes, "organization": organization}

    @admin.action(description="Approve: find them in order", permissions=["suspend"])
    def approve_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        by = actor_of(request, operator=True)
        done = sum(suspension.approve(organization, by=by) for organization in queryset)
        self.message_user(request, f"{done} reviewed. What was held for its rates goes out.")

    # ---- Acts --------------------------------------------------------------------------------------------------------

    @action(
        description="Suspend…", url_path="suspend", icon="block", permissions=["suspend"], variant=ActionVariant.DANGER
    )
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        organization = self._organization(request, object_id)
        read_by = "Its owners get it by mail, and its members see it on every page."
        form = ReasonForm(request.POST or None, read_by=read_by)
        if form.is_valid():
            done = suspension.suspend(organization, form.cleaned_data["reason"], by=actor_of(request, operator=True))
            text = f"{organization.name} is suspended." if done else f"{organization.name} was suspended already."
            return self._back(request, organization, text)
        return ask(
            self,
            request,
            title=f"Suspend {organization.name}?",
            meaning=[
                "Both doors refuse its mail within five seconds, in open SMTP sessions too. What waits in its queue is held, "
                "and its retry period stands still, for 30 days at most. Nothing is lost: it goes out when sending is resumed.",
                "Its members can still sign in and look at everything.",
            ],
            confirm="Suspend",
            form=form,
            back=self._url(organization),
            obj=organization,
            is_dangerous=True,
        )

    @action(
        description="Resume…",
        url_path="resume",
        icon="play_circle",
        permissions=["suspend"],
        variant=ActionVariant.PRIMARY,
    )
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        organization = self._organization(request, object_id)
        if request.method == "POST":
            done = suspension.resume(organization, by=actor_of(request, operator=True))
            return self._back(
                request, organization, f"{organization.name} {'sends again' if done else 'was not suspended'}."
            )
        return ask(
            self,
            request,
            title=f"Resume sending for {organization.name}?",
            meaning=[
                f"It is suspended since {organization.suspended_at:%-d %B %Y, %H:%M} UTC: “{organization.suspension_reason}”"
                if organization.suspended_at
                else "It is not suspended any more.",
                "The same keys work at once, and what was held goes out. It counts as reviewed. Its owners get a mail.",
            ],
            confirm="Resume",
            back=self._url(organization),
            obj=organization,
        )

    @action(
        description="Approve",
        url_path="approve",
        icon="verified",
        permissions=["suspend"],
        variant=ActionVariant.SUCCESS,
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        organization = self._organization(request, object_id)
        if request.method == "POST":
            suspension.approve(organization, by=actor_of(request, operator=True))
            return self._back(request, organization, f"{organization.name} is reviewed.")
        return ask(
            self,
            request,
            title=f"Find {organization.name} in order?",
            meaning=["It leaves the review queue, and the limits of its first days end."],
            confirm="Approve",
            back=self._url(organization),
            obj=organization,
        )

    @action(description="Add a note…", url_path="note", icon="note_add", permissions=["note"])
    def add_note(self, request: HttpRequest, object_id: str) -> HttpResponse:
        organization = self._organization(request, object_id)
        form = NoteForm(request.POST or None)
        if form.is_valid():
            actor = actor_of(request, operator=True)
            OperatorNote.objects.create(organization=organization, text=form.cleaned_data["note"], author=actor.name)
            return self._back(request, organization, "The note is added.")
        return ask(
            self,
            request,
            title=f"A note on {organization.name}",
            confirm="Add the note",
            form=form,
            back=self._url(organization),
            obj=organization,
        )

    @action(description="Look as it…", url_path="look", icon="visibility", permissions=["look"])
    def look(self, request: HttpRequest, object_id: str) -> HttpResponse:
        organization = self._organization(request, object_id)
        assert isinstance(request.user, User)
        if second_factor.has_second_factor(request.user):
            if not second_factor.was_just_shown(request):
                return redirect(f"{reverse('mfa_reauthenticate')}?{urlencode({'next': request.get_full_path()})}")
        elif settings.SANDBOX:
            expect_it_is_they(request)
        else:
            messages.warning(request, "Set up a second factor first: it is asked for before each look.")
            return redirect("mfa_index")
        form = LookForm(
            request.POST or None, read_by="It stands in the organization's audit log, which its members read."
        )
        if not request.user.has_perm("accounts.act_as_organization"):
            del form.fields["may_change"]
        if form.is_valid() and not organization.is_system:
            with transaction.atomic():
                may_change = bool(form.cleaned_data.get("may_change"))
                impersonation.begin(request, organization, form.cleaned_data["reason"], may_change=may_change)
            return redirect("overview")
        return ask(
            self,
            request,
            title=f"Look as {organization.name}?",
            meaning=[
                f"You see its pages as its members do, for {impersonation.LASTS.seconds // 60} minutes or until you end it. "
                "You reach no secret, no content of mail, and nobody's account. Meanwhile the admin is closed to you.",
            ],
            confirm="Look",
            form=form,
            back=self._url(organization),
            obj=organization,
        )

    # ---- Small parts -------------------------------------------------------------------------------------------------

    def _organization(self, request: HttpRequest, object_id: str) -> Organization:
        found = self.get_object(request, object_id)
        if found is None:
            raise Http404
        assert isinstance(found, Organization)
        return found

    def _url(self, organization: Organization) -> str:
        return reverse("admin:accounts_organization_change", args=[organization.pk])

    def _back(self, request: HttpRequest, organization: Organization, text: str) -> HttpResponse:
        messages.success(request, text)
        return redirect(self._url(organization))


class NoteForm(forms.Form):
    note = forms.CharField(
        max_length=4000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}),
        help_text="Only operators see it. Notes cannot be changed or removed.",
    )


class LookForm(ReasonForm):
    may_change = forms.BooleanField(
        required=False,
        label="I have to change something",
        help_text="Mail in the queue, domains and suppressions. Each change stands in its audit log as an operator's.",
        widget=UnfoldBooleanSwitchWidget,
    )
