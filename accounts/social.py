"""Signing in with an account elsewhere: Google, GitHub, any OpenID Connect provider.

Only an address that the provider has verified counts, and even that opens no account which is there already: whoever holds that
account connects the other one to it, signed in. Else somebody could prepare an account with another's address, and wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import requests
from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.account.internal.userkit import filter_users_by_email
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount import forms as social_forms
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import User

logger = logging.getLogger(__name__)


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Raises ImmediateHttpResponse with the page that says why, where this opens nothing."""
        told = sociallogin.account.extra_data
        subjects = {part["sub"] for name in ("userinfo", "id_token") if "sub" in (part := told.get(name) or {})}
        if len(subjects) > 1:  # OpenID Connect Core 1.0, 5.3.2: then the one is not about the other's person
            _refuse(request, sociallogin, "mismatch")
        if sociallogin.is_existing or sociallogin.state.get("process") == AuthProcess.CONNECT:
            return
        address = _verified_address(sociallogin)
        if address is None:
            _refuse(request, sociallogin, "unverified")
        elif filter_users_by_email(address):
            _refuse(request, sociallogin, "taken", address)
        else:
            sociallogin.user.email = address
            sociallogin.email_addresses = [EmailAddress(email=address, verified=True, primary=True)]

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        parts = (data.get("first_name"), data.get("last_name"))
        user.name = str(data.get("name") or " ".join(part for part in parts if part))[:120]
        return user

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        return user


def _verified_address(sociallogin: SocialLogin) -> str | None:
    # Some providers send their booleans as words.
    verified = [address for address in sociallogin.email_addresses if address.verified in (True, "true")]
    verified.sort(key=lambda address: not address.primary)
    return verified[0].email.lower() if verified else None


def _refuse(request: HttpRequest, sociallogin: SocialLogin, why: str, address: str = "") -> None:
    context = {"why": why, "provider": sociallogin.provider.name, "address": address}
    raise ImmediateHttpResponse(render(request, "socialaccount/refused.html", context, status=403))


def or_away(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Of a view that asks the provider about itself: that one is away, or tells nonsense, is told and is no error of ours."""

    @wraps(view)
    def patient(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (requests.RequestException, KeyError) as error:
            logger.warning("%s: %r", request.path, error)
            return render(request, "socialaccount/refused.html", {"why": "away"}, status=503)

    return patient


class SignupForm(social_forms.SignupForm):
    """The address is the one that the provider has verified, and no other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].disabled = True


class DisconnectForm(social_forms.DisconnectForm):
    def save(self) -> None:
        try:
            super().save()
        except SocialApp.DoesNotExist:  # the provider is not configured any more
            raise_if_reauthentication_required(self.request, app="allauth.socialaccount")
            self.cleaned_data["account"].delete()
