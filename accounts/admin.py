"""Operators' view of people, organizations and API keys."""

from typing import Any

from allauth.account.admin import EmailAddressAdmin as PlainEmailAddressAdmin
from allauth.account.models import EmailAddress
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminPasswordWidget

from accounts.audit import actor_of
from accounts.models import ApiKey, Membership, Organization, Plan, User
from accounts.plans import note_plan_change, note_plan_choice

admin.site.unregister(Group)
admin.site.unregister(EmailAddress)


class MembershipInline(TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user", "organization"]
    readonly_fields = ["created_at"]


@admin.register(Organization)
class OrganizationAdmin(ModelAdmin):
    list_display = ["name", "id", "plan", "created_at", "suspended_at", "is_system"]
    list_select_related = ["plan"]
    list_filter = ["plan", "is_system", ("suspended_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "id__exact", "memberships__user__email"]
    search_help_text = "A name, an id, or a member's address."
    readonly_fields = ["id", "created_at", "is_system"]
    fieldsets = [
        (None, {"fields": ["name", "plan", "suspended_at"]}),
        ("Delivery", {"fields": ["delivery_weight", "message_size_limit", "outgoing_tls", "never_twice"]}),
        ("Facts", {"fields": ["id", "created_at", "is_system"]}),
    ]
    inlines = [MembershipInline]
    ordering = ["-created_at"]
    show_full_result_count = False

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        before = Organization.objects.select_related("plan").filter(pk=obj.pk).first()
        super().save_model(request, obj, form, change)
        note_plan_choice(obj, before.plan if before else None, by=actor_of(request, operator=True))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # its messages and events would be left behind without an owner; suspend it instead


@admin.register(Plan)
class PlanAdmin(ModelAdmin):
    """Changes hold within seconds, for all organizations on the plan."""

    list_display = [
        "name", "is_default", "messages_per_day", "messages_per_month", "messages_per_second", "recipients_per_message",
        "domains", "members",
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
        ("Retention: noted, not in force yet", {"fields": ["content_days", "event_days"]}),
    ]  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        before = Plan.objects.filter(pk=obj.pk).first()
        super().save_model(request, obj, form, change)
        note_plan_change(before, obj, by=actor_of(request, operator=True))

    def delete_model(self, request: HttpRequest, obj: Plan) -> None:
        note_plan_change(obj, None, by=actor_of(request, operator=True))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for plan in queryset:
            self.delete_model(request, plan)


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
class UserAdmin(PlainUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["email", "name", "is_staff", "is_active", "date_joined", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active"]
    search_fields = ["email", "name", "id__exact"]
    ordering = ["-date_joined"]
    readonly_fields = ["id", "date_joined", "last_login"]
    filter_horizontal = []
    autocomplete_fields = ["groups"]
    show_full_result_count = False
    fieldsets = [
        (None, {"fields": ["email", "name", "password"]}),
        ("Access", {"fields": ["is_active", "is_staff", "is_superuser", "groups"]}),
        ("Facts", {"fields": ["id", "date_joined", "last_login"]}),
    ]
    add_fieldsets = [(None, {"fields": ["email", "password"]})]
    inlines = [MembershipInline]

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return list(self.inlines) if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # switch the account off instead: what it did stays explained


@admin.register(EmailAddress)
class EmailAddressAdmin(PlainEmailAddressAdmin, ModelAdmin):
    raw_id_fields = ["user"]


@admin.register(Group)
class GroupAdmin(PlainGroupAdmin, ModelAdmin):
    pass


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """Keys can be looked at and revoked; nobody can make one or read its digest here."""

    list_display = [
        "name",
        "prefix",
        "organization",
        "scopes",
        "created_at",
        "last_used_at",
        "last_used_from",
        "revoked_at",
    ]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["organization"]
    search_fields = ["prefix", "name", "organization__name", "id__exact"]
    readonly_fields = fields = [
        "name", "prefix", "organization", "scopes", "only_domain", "created_by", "created_at", "last_used_at",
        "last_used_from", "expires_at", "revoked_at",
    ]  # fmt: skip
    ordering = ["-created_at"]
    show_full_result_count = False
    actions = ["revoke"]

    @admin.action(description="Revoke: programs that use the key are refused at once", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        from accounts.api_keys import revoke_api_key

        for api_key in queryset:
            revoke_api_key(api_key)
        self.message_user(request, f"{len(queryset)} revoked.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
