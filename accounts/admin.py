"""Operators' view of people, organizations and API keys."""

from itertools import groupby
from typing import Any
from uuid import UUID

from allauth.account.admin import EmailAddressAdmin as PlainEmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Model, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from unfold.forms import AdminPasswordChangeForm, UserChangeForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin_audit import AuditedAdmin
from accounts.admin_lists import GrowingTableAdmin, KeysetAdmin, NewestRowsPaginator, ReadOnlyAdmin, as_uuid
from accounts.admin_words import EMPTY, OperatorsAdmin
from accounts.audit import actor_of
from accounts.audit_words import told
from accounts.feature_settings_admin import FeatureSettingAdmin
from accounts.models import ApiKey, AuditEntry, Erasure, Organization, Plan, User
from accounts.organization_admin import MembershipInline

__all__ = ["FeatureSettingAdmin"]

admin.site.unregister([Group, EmailAddress, Authenticator, UserSession, SocialAccount])
admin.site.unregister([SocialApp, SocialToken])  # providers are set by the environment, and no token is kept


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """What is told of organizations that are gone."""

    list_display = ["organization_id", "requested_at", "began_at", "finished_at"]
    list_filter = [("finished_at", admin.EmptyFieldListFilter)]
    search_fields = ["organization_id__exact"]
    search_help_text = "The id of an organization."
    ordering = ["-began_at"]
    paginator = NewestRowsPaginator
    show_full_result_count = False


@admin.register(Plan)
class PlanAdmin(AuditedAdmin):
    """Changes hold within seconds, for all organizations on the plan."""

    list_display = [
        "name", "is_default", "messages_per_day", "messages_per_month", "messages_per_second", "domains", "members",
    ]  # fmt: skip
    search_fields = ["name"]
    ordering = ["name"]
    fieldsets = [
        (None, {"fields": ["name", "is_default"]}),
        (
            "Limits: those that are empty are none",
            {
                "fields": [
                    "messages_per_day", "messages_per_month", "messages_per_second", "recipients_per_message", "domains",
                    "members",
                ]
            },
        ),
        ("Retention", {"fields": ["content_days", "event_days"]}),
    ]  # fmt: skip

    def organizations_of(self, obj: Model) -> set[UUID]:
        """Those on the plan, and always the platform's own."""
        concerned = Organization.objects.filter(Q(is_system=True) | Q(plan=obj.pk))
        return set(concerned.values_list("pk", flat=True))


class NewUserForm(forms.ModelForm):
    """A person made by an operator."""

    password = forms.CharField(widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}))

    class Meta:
        model = User
        fields = ["email", "password"]
        widgets = {"email": UnfoldAdminEmailInputWidget()}

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()

    def save(self, commit: bool = True) -> User:
        user = super().save(commit=False)
        user.set_password(self.cleaned_data["password"])
        if commit:
            user.save()
        return user


@admin.register(User)
class UserAdmin(KeysetAdmin, AuditedAdmin, PlainUserAdmin):  # type: ignore[misc]  # stubs of Django: types of attributes
    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["email", "name", "is_staff", "is_active", "date_joined", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active"]
    search_fields = ["email"]  # makes the search box appear; `get_search_results` does the search
    search_help_text = "The beginning of an address, a part of a name, or an id."

    readonly_fields = ["id", "date_joined", "last_login"]
    filter_horizontal = []
    fieldsets = [
        (None, {"fields": ["email", "name", "password"]}),
        ("Access", {"fields": ["is_active", "is_staff", "is_superuser", "groups"]}),
        ("Facts", {"fields": ["id", "date_joined", "last_login"]}),
    ]
    add_fieldsets = [(None, {"fields": ["email", "password"]})]
    inlines = [MembershipInline]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """There are few groups."""
        return super().formfield_for_manytomany(
            db_field, request, **(kwargs | {"widget": UnfoldAdminCheckboxSelectMultipleWidget()})
        )

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            former = self.get_object(request, unquote(id))
            answer: HttpResponse = super().user_change_password(request, id, form_url)
            user = self.get_object(request, unquote(id))
            if former and user and user.password != former.password:
                self.note(request, "changed", user, after={"password": "(not shown)"})
        return answer

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if identifier := as_uuid(term):
            return queryset.filter(pk=identifier), False
        by_address = queryset.filter(email__startswith=term.lower())
        return by_address if "@" in term else by_address | queryset.filter(name__icontains=term), False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Nobody makes an operator of anybody but a superuser."""
        closed = [] if request.user.is_superuser else ["is_staff", "is_superuser", "groups"]
        return [*super().get_readonly_fields(request, obj), *closed]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_closed = obj is not None and obj.is_staff and not request.user.is_superuser
        return super().has_change_permission(request, obj) and not is_closed

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return list(self.inlines) if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # switch the account off instead: what it did stays explained


class NotOfOperators(AuditedAdmin):
    """How operators sign in is the superusers' affair."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found = super().get_queryset(request)
        return found if request.user.is_superuser else found.exclude(user__is_staff=True)


@admin.register(EmailAddress)
class EmailAddressAdmin(NotOfOperators, PlainEmailAddressAdmin):
    raw_id_fields = ["user"]
    list_select_related = ["user"]
    ordering = ["-pk"]
    paginator = NewestRowsPaginator
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["user"] if obj else []

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    @admin.action(description="Mark as verified", permissions=["change"])
    def make_verified(self, request: HttpRequest, queryset: Any) -> None:
        with transaction.atomic():
            waiting = list(queryset.filter(verified=False).select_for_update(of=("self",)))
            super().make_verified(request, queryset)
            for address in EmailAddress.objects.filter(pk__in=[one.pk for one in waiting], verified=True):
                self.note(request, "changed", address, before={"verified": False}, after={"verified": True})


class GroupForm(forms.ModelForm):
    """Rights as boxes, together where they are of the same thing: Django's two lists with filters are wider than a screen."""

    permissions = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="People of the group need “Operator”, too.",
    )

    class Meta:
        model = Group
        fields = ["name"]
        widgets = {"name": UnfoldAdminTextInputWidget()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown = {(model._meta.app_label, model._meta.model_name) for model in admin.site._registry}
        rights = Permission.objects.select_related("content_type").order_by("content_type__model", "pk")
        self._shown = [one for one in rights if one.content_type.natural_key() in shown]
        by_thing = groupby(self._shown, key=lambda right: right.content_type)
        self.fields["permissions"].choices = [  # type: ignore[attr-defined]
            (
                capfirst(thing.model_class()._meta.verbose_name_plural),
                [(str(one.pk), capfirst(one.name.removeprefix("Can "))) for one in its],
            )
            for thing, its in by_thing
        ]
        if self.instance.pk:
            self.initial["permissions"] = [str(key) for key in self.instance.permissions.values_list("pk", flat=True)]

    def clean_permissions(self) -> list[int]:
        """What is not shown stays."""
        others = self.instance.permissions.exclude(pk__in=[one.pk for one in self._shown]) if self.instance.pk else None
        kept = others.values_list("pk", flat=True) if others is not None else []
        return [*map(int, self.cleaned_data["permissions"]), *kept]


@admin.register(Group)
class GroupAdmin(OperatorsAdmin, PlainGroupAdmin):
    """What the people of a group may do, by what the admin has pages of."""

    form = GroupForm
    filter_horizontal = ()


@admin.register(ApiKey)
class ApiKeyAdmin(KeysetAdmin):
    """Keys can be looked at and revoked; nobody can make one or read its digest here."""

    list_display = [
        "name",
        "prefix",
        "organization",
        "scopes",
        "created_at",
        "last_used_at",
        "revoked_at",
    ]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["organization"]
    search_fields = ["prefix", "name", "organization__name", "id__exact"]
    readonly_fields = fields = [
        "name", "prefix", "organization", "scopes", "only_domain", "created_by", "created_with", "created_at", "last_used_at",
        "last_used_from", "allowed_networks", "expires_at", "replaced_by", "revoked_at", "revoke_reason",
    ]  # fmt: skip
    actions = ["revoke"]

    @admin.action(description="Revoke: programs that use the key are refused at once", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        from accounts.api_keys import revoke_api_key

        by = actor_of(request, operator=True)
        revoked = sum(revoke_api_key(api_key, by=by) for api_key in queryset)
        self.message_user(request, f"{revoked} revoked.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(AuditEntry)
class AuditEntryAdmin(GrowingTableAdmin):
    """Every organization's audit log, with the names of operators, which members are not told."""

    list_display = ["occurred_at", "tenant", "actor_name", "deed", "client"]
    search_help_text = "An organization's id, an object's id, or an operator's address, as a whole."
    fields = [
        "id", "occurred_at", "organization_id", "actor_kind", "actor_id", "actor_name", "client", "action", "object_type",
        "object_id", "object_name", "before", "after",
    ]  # fmt: skip
    readonly_fields = ["organization_id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        names = Organization.objects.filter(pk=OuterRef("organization_id")).values("name")
        return super().get_queryset(request).annotate(tenant=Subquery(names))

    @admin.display(description="What was done")
    def deed(self, entry: AuditEntry) -> str:
        words = told(entry)
        return f"{words.did}{words.object}{words.rest}" or EMPTY

    @admin.display(description="Organization")
    def tenant(self, entry: AuditEntry) -> str:
        return entry.tenant or str(entry.organization_id)  # type: ignore[attr-defined]  # annotated

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By one index at a time: all of them together would sort an organization's whole log."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            identifier = UUID(term)
        except ValueError:
            operator = User.objects.filter(email__iexact=term).first()
            return queryset.filter(actor_kind="operator", actor_id=operator.pk if operator else None), False
        if Organization.objects.filter(pk=identifier).exists():
            return queryset.filter(organization_id=identifier), False
        return queryset.filter(object_id=identifier), False


class OfAPerson(NotOfOperators):
    """How a person signs in: looked at, and taken away when they ask for it; never made or changed here."""

    list_select_related = ["user"]
    search_fields = ["user__email"]
    search_help_text = "A person's address."
    ordering = ["-id"]
    paginator = NewestRowsPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Authenticator)
class AuthenticatorAdmin(OfAPerson):
    list_display = fields = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type"]


@admin.register(SocialAccount)
class SocialAccountAdmin(OfAPerson):
    list_display = fields = ["user", "provider", "uid", "date_joined", "last_login"]


@admin.register(UserSession)
class UserSessionAdmin(OfAPerson):
    list_display = fields = ["user", "ip", "user_agent", "created_at", "last_seen_at"]

    def delete_model(self, request: HttpRequest, obj: UserSession) -> None:
        self.note(request, "removed", obj)
        obj.end()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for session in queryset:
            self.note(request, "removed", session)
            session.end()
