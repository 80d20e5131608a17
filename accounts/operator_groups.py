"""The groups of people who work for the platform. Made once; superusers edit them from then on, and put people into them."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q

SUPPORT, OPERATORS = "Support: see", "Operators"

# Beside seeing all that stands in the admin.
_SUPPORT = ["accounts.look_as_organization", "accounts.add_operatornote", "relay.read_content"]
_OPERATORS = [
    *_SUPPORT,
    "accounts.act_as_organization", "accounts.suspend_organization", "accounts.change_organization",
    "accounts.add_membership", "accounts.change_membership", "accounts.delete_membership", "accounts.change_apikey",
    "accounts.add_plan", "accounts.change_plan", "accounts.change_featuresetting", "accounts.add_user", "accounts.change_user",
    "account.change_emailaddress", "account.delete_emailaddress", "mfa.delete_authenticator",
    "usersessions.delete_usersession", "socialaccount.delete_socialaccount", "domains.change_sendingdomain",
    "relay.change_recipient", "relay.change_exchangergroup", "relay.change_pauseddestination", "relay.delete_suppression",
    "relay.add_ippool", "relay.change_ippool", "relay.add_sourceaddress", "relay.change_sourceaddress",
    "relay.delete_sourceaddress", "relay.add_poolassignment", "relay.change_poolassignment", "relay.delete_poolassignment",
    "webhooks.change_webhookendpoint", "status.add_incident", "status.change_incident", "status.add_incidentupdate",
]  # fmt: skip


@transaction.atomic
def ensure_groups() -> None:
    for name, more in ((SUPPORT, _SUPPORT), (OPERATORS, _OPERATORS)):
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            group.permissions.set(Permission.objects.filter(_to_see() | _named(more)))


def _to_see() -> Q:
    condition = Q()
    for model in admin.site._registry:
        condition |= Q(content_type__app_label=model._meta.app_label, codename=f"view_{model._meta.model_name}")
    return condition


def _named(permissions: list[str]) -> Q:
    condition = Q()
    for permission in permissions:
        app, _, codename = permission.partition(".")
        condition |= Q(content_type__app_label=app, codename=codename)
    return condition
