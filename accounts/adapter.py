"""How django-allauth signs people up and in here."""

from __future__ import annotations

import time
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from accounts import devices
from accounts.models import User
from accounts.services import create_organization


class AccountAdapter(DefaultAccountAdapter):
    """A person and their organization come into being together, or neither does."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "Address or password are not correct. Try again, or reset the password.",
        "too_many_login_attempts": "Too many failed tries. Wait five minutes, or use a passkey if you have one.",
        "incorrect_code": "This code is not correct. Look at the newest mail and type its code.",
        "incorrect_password": "This password is not correct.",
        "rate_limited": "Too many tries. Wait a minute and try again.",
    }

    @transaction.atomic
    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        user = super().save_user(request, user, form, commit=commit)
        if commit:
            create_organization(form.cleaned_data["organization_name"], user)
        return user

    def send_account_already_exists_mail(self, email: str) -> None:
        """In place of signing up. The hash, which nobody needs, makes it take as long."""
        make_password("nobody's")
        super().send_account_already_exists_mail(email)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Who has just signed in with a secret of theirs is not asked for it again."""
        return super().is_reauthentication_required(app=app, **kwargs) and not _has_just_signed_in(self.request)

    def get_reauthentication_methods(self, user: User) -> list[dict[str, Any]]:
        words = {
            "reauthenticate": "Use your password",
            "mfa_reauthenticate": "Use a code from your app, or a recovery code",
            "mfa_reauthenticate:webauthn": "Use a passkey or security key",
        }
        methods = super().get_reauthentication_methods(user)
        return [method | {"description": words[method["id"]]} for method in methods]

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        if not kwargs["signup"] and not devices.is_known(request, user):
            self.send_notification_mail("account/email/new_device", user)
        devices.remember(request, response, user)
        return response

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        device = devices.device_name(self.get_http_user_agent(self.request))
        super().send_notification_mail(template_prefix, user, {"device": device} | (context or {}), email)


def _has_just_signed_in(request: HttpRequest) -> bool:
    own = {"password", "mfa"}
    records = [record for record in get_authentication_records(request, request.user) if record["method"] in own]
    return bool(records) and time.time() - records[-1]["at"] < app_settings.REAUTHENTICATION_TIMEOUT
