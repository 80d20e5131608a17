"""Forms about members and invitations."""

from __future__ import annotations

import re
from typing import Any

from allauth.account.forms import SignupForm
from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from email_validator import EmailNotValidError, validate_email

from accounts import invitations
from accounts.audit import person
from accounts.models import Invitation, Role, User

AT_ONCE = 50
ROLE_TEXTS = {
    Role.OWNER: "everything, also other owners and the end of the organization.",
    Role.ADMIN: "settings, members and the audit log, and all that developers may.",
    Role.DEVELOPER: "domains, SMTP users, API keys, templates, suppressions and mail.",
    Role.VIEWER: "sees what happens and changes nothing; the content of messages stays hidden.",
}


def role_field(roles: list[Role]) -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=[(role.value, f"{role.label}: {ROLE_TEXTS[role]}") for role in roles],
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": "Choose one of the roles in the list."},
    )


class RoleForm(forms.Form):
    def __init__(self, roles: list[Role], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"] = role_field(roles)

    def role(self) -> Role:
        return Role(self.cleaned_data["role"])


class InviteForm(RoleForm):
    addresses = forms.CharField(
        label="E-mail addresses",
        help_text="Several at once: separated by commas, spaces or new lines.",
        max_length=20_000,
        widget=forms.Textarea(
            attrs={"rows": 3, "autocapitalize": "none", "autocomplete": "off", "placeholder": "ada@example.com"}
        ),
    )

    def clean_addresses(self) -> list[str]:
        typed = [one.strip("<>") for one in re.split(r"[\s,;]+", self.cleaned_data["addresses"]) if one.strip("<>")]
        if not typed:
            raise ValidationError("Type at least one address.")
        if len(typed) > AT_ONCE:
            raise ValidationError(f"At most {AT_ONCE} addresses at once.")
        wrong = [one for one in typed if not _is_address(one)]
        if wrong:
            raise ValidationError([f"“{one}” is not an e-mail address." for one in wrong[:5]])
        return typed


class InvitedSignupForm(SignupForm):
    """For who came by an invitation's link: the address is the one it was sent to, and the place is there already."""

    def __init__(self, *args: Any, invitation: Invitation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.invitation = invitation
        del self.fields["organization_name"]
        self.fields["email"].disabled = True  # what is sent for it is not read

    def give_place(self, request: HttpRequest, user: User) -> None:
        invitations.accept(self.invitation, user, by=person(user, request))


def _is_address(text: str) -> bool:
    """By the rules of the door that the mail goes through; .test is the sandbox's (RFC 6761)."""
    try:
        validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return len(text) <= 254
