"""How django-allauth signs people up and in here."""

from __future__ import annotations

import logging
import time
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.models import EmailAddress
from allauth.mfa.utils import is_mfa_enabled
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts import devices
from accounts.audit import Actor, note
from accounts.catalogue import Refused
from accounts.client import client_address
from accounts.feature_settings import value_of
from accounts.models import User
from accounts.walls import across_organizations

logger = logging.getLogger(__name__)

# What is told in a mail stands in the audit log of each of the person's organizations, too.
AUDITED = {
    "account/email/new_device": "user.signed_in_on_new_device",
    "account/email/password_changed": "user.password_changed",
    "account/email/password_set": "user.password_set",
    "account/email/password_reset": "user.password_reset",
    "account/email/email_changed": "user.address_changed",
    "account/email/email_confirm": "user.address_verified",
    "account/email/email_deleted": "user.address_removed",
    "mfa/email/totp_activated": "user.authenticator_app_added",
    "mfa/email/totp_deactivated": "user.authenticator_app_removed",
    "mfa/email/webauthn_added": "user.passkey_added",
    "mfa/email/webauthn_removed": "user.passkey_removed",
    "mfa/email/recovery_codes_generated": "user.recovery_codes_made",
    "socialaccount/email/account_connected": "user.account_connected",
    "socialaccount/email/account_disconnected": "user.account_disconnected",
}


class AccountAdapter(DefaultAccountAdapter):
    """A person and their place in an organization come into being together, or neither does."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "Address or password are not correct. Try again, or reset the password.",
        "too_many_login_attempts": "Too many failed tries. Wait five minutes, or use a passkey if you have one.",
        "incorrect_code": "This code is not correct. Look at the newest mail and type its code.",
        "incorrect_password": "This password is not correct.",
        "rate_limited": "Too many tries. Wait a minute and try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Who was invited comes in at any time."""
        return hasattr(request, "is_invited") or bool(value_of("sign_ups_open"))

    @transaction.atomic
    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        user = super().save_user(request, user, form, commit=commit)
        if commit:
            form.give_place(request, user)
        return user

    def send_account_already_exists_mail(self, email: str) -> None:
        """In place of signing up. The hash, which nobody needs, makes it take as long."""
        make_password("nobody's")
        super().send_account_already_exists_mail(email)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Who has just signed in with a secret of theirs is not asked for it again."""
        return super().is_reauthentication_required(app=app, **kwargs) and not _has_just_signed_in(self.request)

    @across_organizations()  # asked from within members' pages, too
    def get_reauthentication_methods(self, user: User) -> list[dict[str, Any]]:
        words = {
            "reauthenticate": "Use your password",
            "mfa_reauthenticate": "Use a code from your app, or a recovery code",
            "mfa_reauthenticate:webauthn": "Use a passkey or security key",
        }
        methods = super().get_reauthentication_methods(user)
        return [method | {"description": words[method["id"]]} for method in methods]

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        """Who signed up with a passkey alone is led to where recovery codes are made."""
        return reverse("mfa_index") if is_mfa_enabled(request.user) else super().get_signup_redirect_url(request)

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        if not kwargs["signup"] and not devices.is_known(request, user):
            self.send_notification_mail("account/email/new_device", user)
        else:
            self._note(user, "user.signed_in")
        devices.remember(request, response, user)
        return response

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Tells of what has happened already: that the mail cannot go out now must not make it fail."""
        self._note(user, AUDITED[template_prefix])
        device = devices.device_name(self.get_http_user_agent(self.request))
        try:
            super().send_notification_mail(template_prefix, user, {"device": device} | (context or {}), email)
        except Refused:
            logger.exception("The mail %s could not be sent", template_prefix)

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        is_new = bool(super().confirm_email(request, email_address))
        others = EmailAddress.objects.filter(user=email_address.user, verified=True).exclude(pk=email_address.pk)
        if is_new and others.exists():  # not when they sign up
            self.send_notification_mail("account/email/email_confirm", email_address.user)
        return is_new

    def _note(self, user: User, action: str) -> None:
        actor = Actor("user", user.pk, user.email, client_address(self.request.META) or None)
        for organization_id in user.memberships.values_list("organization_id", flat=True):
            note(actor, action, user, organization_id=organization_id)


def _has_just_signed_in(request: HttpRequest) -> bool:
    own = {"password", "mfa"}
    records = [record for record in get_authentication_records(request, request.user) if record["method"] in own]
    return bool(records) and time.time() - records[-1]["at"] < app_settings.REAUTHENTICATION_TIMEOUT
