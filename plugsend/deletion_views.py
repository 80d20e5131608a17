"""Deleting an organization: the page that says what goes, and undoing it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.api_keys import is_live
from accounts.audit import actor_of
from accounts.deletion import grace_period, request_deletion, undo_deletion
from accounts.http import OrganizationRequest, member_required, shown_again_required
from accounts.models import ApiKey, Organization
from accounts.permissions import Permission
from domains.models import SendingDomain, SmtpUser
from relay.models import Message, Recipient, Template

COUNTED_MOST = 100_000


class DeleteForm(forms.Form):
    """Typing the name is the confirmation."""

    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, organization: Organization, *args: Any) -> None:
        super().__init__(*args)
        self._organization = organization
        self.fields["name"].label = f"Type “{organization.name}” to confirm"

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"]).strip()
        if name != self._organization.name:
            raise forms.ValidationError(f"That is not the name. Type “{self._organization.name}” exactly as it is.")
        return name


@require_http_methods(["GET", "POST"])
@member_required(Permission.DELETE_ORGANIZATION)
@shown_again_required
def organization_delete(request: OrganizationRequest) -> HttpResponse:
    """GET tells what goes and asks, POST sets the deletion going."""
    organization = request.organization
    form = DeleteForm(organization, request.POST or None)
    if request.method == "POST" and form.is_valid():
        request_deletion(organization, by=actor_of(request))
        return redirect("overview")
    context = {
        "form": form,
        "counts": counts_of(organization),
        "erase_at": timezone.now() + grace_period(),
    }
    return render(request, "accounts/organization_delete.html", context)


@require_POST
@member_required(Permission.DELETE_ORGANIZATION, while_deleted=True)
def organization_delete_undo(request: OrganizationRequest) -> HttpResponse:
    if undo_deletion(request.organization, by=actor_of(request)):
        messages.success(
            request, f"{request.organization.name} is not deleted. Keys work again, and held mail goes out."
        )
    elif request.organization.is_being_deleted:
        messages.error(request, "Erasing has begun and cannot be undone any more.")
    return redirect("overview")


def counts_of(organization: Organization) -> list[tuple[str, str]]:
    """What goes, in words, with how many; large tables are counted so far only."""
    waiting = Recipient.objects.of(organization).filter(next_attempt_at__isnull=False)
    rows: list[tuple[str, QuerySet[Any]]] = [
        ("Members, who keep their own accounts", organization.memberships.all()),
        ("Sending domains with their DKIM keys", SendingDomain.objects.of(organization)),
        ("SMTP users", SmtpUser.objects.of(organization)),
        ("Keys that work now", ApiKey.objects.of(organization).filter(is_live())),
        ("Templates", Template.objects.of(organization)),
        ("Messages with contents and timelines", Message.objects.of(organization)),
        ("Recipients that still wait for delivery", waiting),
    ]
    return [(title, _count(query)) for title, query in rows]


def _count(query: QuerySet[Any]) -> str:
    found = query.order_by()[: COUNTED_MOST + 1].count()
    return f"{found:,}" if found <= COUNTED_MOST else f"more than {COUNTED_MOST:,}"
