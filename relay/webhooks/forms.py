"""Forms about webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import Organization
from domains.models import SendingDomain
from relay.webhooks.models import DeliveryState, WebhookEndpoint
from relay.webhooks.payload import NAMES, TYPES, meaning_of

KEEP_FORMER = {
    "24": "For 24 hours: put the new secret into your program meanwhile",
    "168": "For 7 days",
    "0": "Not at all: what your program verifies with the old one is refused from now on",
}
SPANS = {"1": "The last hour", "24": "The last 24 hours", "72": "The last 3 days", "168": "The last 7 days"}
ENDED = (DeliveryState.FAILED, DeliveryState.DELIVERED, DeliveryState.CANCELLED)


class EndpointForm(forms.Form):
    url = forms.CharField(
        label="Address",
        max_length=2048,
        help_text="Events are sent there by POST. Any answer from 200 to 299 within 15 seconds says that one was taken.",
        widget=forms.TextInput(
            attrs={
                "type": "url",
                "placeholder": "https://example.com/webhooks",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    description = forms.CharField(
        label="Description", max_length=200, required=False, help_text="For you: what it is for."
    )
    event_types = forms.MultipleChoiceField(
        label="Events",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all, also those that come to be later.",
    )
    domain = forms.ModelChoiceField(
        queryset=SendingDomain.objects.none(), required=False, empty_label="All domains", label="Domain"
    )

    def __init__(self, organization: Organization, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        types = self.fields["event_types"]
        assert isinstance(types, forms.MultipleChoiceField)
        types.choices = [(type_, f"{name}: {meaning_of(name)}") for type_, name in NAMES.items()]
        domain = self.fields["domain"]
        assert isinstance(domain, forms.ModelChoiceField)
        domain.queryset = SendingDomain.objects.of(organization).order_by("name")

    def changes(self) -> dict[str, Any]:
        """For `endpoints.change_endpoint`."""
        asked = self.cleaned_data
        types = [] if len(asked["event_types"]) == len(NAMES) else sorted(asked["event_types"])
        return {
            "url": asked["url"],
            "description": asked["description"],
            "event_types": types,
            "domain_id": asked["domain"].pk if asked["domain"] else None,
        }


def initial_of(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": endpoint.event_types,
        "domain": endpoint.domain_id,
    }


class RotateForm(forms.Form):
    keep = forms.ChoiceField(
        label="The old secret signs, too", choices=list(KEEP_FORMER.items()), initial="24", widget=forms.RadioSelect
    )

    def keep_former(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["keep"]))


class ReplayForm(forms.Form):
    """What is to be sent again."""

    hours = forms.ChoiceField(label="From", choices=list(SPANS.items()), initial="24")
    state = forms.ChoiceField(
        label="State", choices=[("", "Any that has ended"), *((one.value, one.label) for one in ENDED)], required=False,
        initial=DeliveryState.FAILED.value,
    )  # fmt: skip
    type = forms.ChoiceField(
        label="Event", choices=[("", "All"), *((one, one) for one in sorted(TYPES))], required=False
    )

    def terms(self) -> dict[str, Any]:
        """For `replays.request_replay`."""
        asked = self.cleaned_data
        since = timezone.now() - timedelta(hours=int(asked["hours"]))
        return {"since": since, "state": asked["state"], "type_": asked["type"]}
