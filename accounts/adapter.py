"""How django-allauth signs people up here."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.http import HttpRequest

from accounts.audit import Actor
from accounts.client import client_address
from accounts.models import User
from accounts.services import create_organization


class AccountAdapter(DefaultAccountAdapter):
    """A person and their organization come into being together, or neither does."""

    @transaction.atomic
    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        user = super().save_user(request, user, form, commit=commit)
        if commit:
            by = Actor("user", user.pk, user.email, client_address(request.META) or None)
            create_organization(form.cleaned_data["organization_name"], user, by=by)
        return user
