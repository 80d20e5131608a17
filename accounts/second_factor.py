"""The second factor: authenticator apps, passkeys and security keys, recovery codes (django-allauth's MFA)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from allauth.account import app_settings as account_settings
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.base import forms as base_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import Membership, User
from accounts.sealed_box import seal, unseal
from accounts.walls import across_organizations

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


@across_organizations()  # it is the person's, whatever they belong to
def has_second_factor(user: User | AnonymousUser) -> bool:
    """Whether this person's password alone opens nothing: an app, a passkey or a security key is asked for, too."""
    return bool(is_mfa_enabled(user, [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]))


@across_organizations()
def among(users: Iterable[User]) -> set[UUID]:
    """Which of them have one."""
    factors = Authenticator.objects.filter(user__in=list(users)).exclude(type=Authenticator.Type.RECOVERY_CODES)
    return set(factors.values_list("user_id", flat=True))


def was_just_shown(request: HttpRequest) -> bool:
    """Whether this session's person has shown a second factor or a passkey in the last minutes."""
    records = get_authentication_records(request, request.user)
    at = max((record["at"] for record in records if record["method"] == "mfa"), default=0.0)
    return bool(time.time() - at < account_settings.REAUTHENTICATION_TIMEOUT)


def is_missing(membership: Membership) -> bool:
    """Whether the organization asks for one that this member has not."""
    return membership.organization.require_mfa and not has_second_factor(membership.user)


def set_up_url() -> str:
    """The page where one sets it up."""
    return reverse("mfa_index")


class MfaAdapter(DefaultMFAAdapter):
    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "The code or passkey is not right, or the code was used already. Try again, with a new code.",
        "unverified_email": "Verify your addresses first, under Profile: who has not shown that an address is theirs "
        "must not be able to lock its owner out.",
        "cannot_generate_recovery_codes": "Add an authenticator app or a passkey first. Recovery codes stand in for it.",
    }

    def encrypt(self, text: str) -> str:
        return seal(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text.encode()).decode()

    def build_totp_svg(self, url: str) -> str:
        """For inside a page, so that no policy must allow `data:` images."""
        import qrcode
        from qrcode.image.svg import SvgPathImage

        return qrcode.make(url, image_factory=SvgPathImage, border=2).to_string(encoding="unicode")

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return f"Passkey {number}" if number > 1 else "Passkey"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Passkeys belong to the name under which people reach us, whatever a proxy calls us (WebAuthn, 5.1.2)."""
        return {"id": urlsplit(settings.WEB_URL).hostname or "", "name": "PlugSend"}


class _OnceOnly:
    """A code of an app is good once (RFC 6238, 5.2), as long as the clock's tolerance lets it live."""

    user: User
    authenticator: Authenticator

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        lifetime_s = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)
        is_app = self.authenticator.type == Authenticator.Type.TOTP
        if is_app and not cache.add(f"totp-used:{self.user.pk}:{normalize_user_code(code)}", 1, lifetime_s):
            raise get_adapter().validation_error("incorrect_code")
        return code


class AuthenticateForm(_OnceOnly, base_forms.AuthenticateForm):
    pass


class ReauthenticateForm(_OnceOnly, base_forms.ReauthenticateForm):
    pass


class AddKeyForm(AddWebAuthnForm):
    """`passwordless`: a passkey, which signs in alone; else a security key that is asked for after the password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].help_text = "Where it is kept, so that you know it again."
        self.fields["name"].max_length = 60
        passwordless = self.fields["passwordless"]
        passwordless.initial = True
        passwordless.label = "It signs me in alone, without my password"
        passwordless.help_text = (
            "A passkey: your phone, computer or password manager asks for your fingerprint, face or PIN. Switch this off for "
            "a security key without a PIN."
        )
