"""Forms about sending domains and SMTP users. The rules themselves are in `domains.services`."""

import re
from typing import Any

from django import forms

from accounts.catalogue import Refused
from accounts.models import Organization
from domains.cidr import MOST_NETWORKS, read_network
from domains.models import DomainStatus, SendingDomain
from domains.smtp_users import MOST_MESSAGES, Limits


class DomainForm(forms.Form):
    name = forms.CharField(
        label="Domain",
        max_length=255,
        help_text="The part after the @ of the addresses you send from. A subdomain such as mail.example.com is fine.",
        widget=forms.TextInput(
            attrs={"placeholder": "example.com", "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


class DomainChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return f"@{obj.display_name}"


class SmtpUserForm(forms.Form):
    local_part = forms.CharField(
        label="Name",
        max_length=64,
        initial="admin",
        widget=forms.TextInput(
            attrs={
                "placeholder": "admin",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "aria-label": "User name: what stands before the @",
            }
        ),
    )
    domain = DomainChoice(
        queryset=SendingDomain.objects.none(),
        empty_label=None,
        widget=forms.Select(attrs={"aria-label": "User name: the domain"}),
    )

    def __init__(self, organization: Organization, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        verified = SendingDomain.objects.of(organization).filter(status=DomainStatus.VERIFIED).order_by("name")
        field = self.fields["domain"]
        assert isinstance(field, DomainChoice)
        field.queryset = verified


class KeyForm(forms.Form):
    name = forms.CharField(
        label="Name (optional)",
        max_length=120,
        required=False,
        help_text="Where the key is used, so that you know later which one it is.",
        widget=forms.TextInput(attrs={"placeholder": "Web shop", "autocomplete": "off"}),
    )


class PasswordForm(KeyForm):
    """A new password, and how long those that there are go on beside it."""

    keep_old_hours = forms.TypedChoiceField(
        label="The passwords that it has now",
        choices=[
            (0, "Stop at once: have your app’s settings at hand"),
            (24, "Stop after 24 hours: time to change the settings everywhere"),
            (168, "Stop after 7 days"),
        ],
        coerce=int,
        initial=0,
        widget=forms.RadioSelect,
    )
    field_order = ("keep_old_hours", "name")


class LimitsForm(forms.Form):
    hourly_limit = forms.IntegerField(
        label="Messages an hour", min_value=1, max_value=MOST_MESSAGES, required=False, help_text="Empty: no limit."
    )
    daily_limit = forms.IntegerField(
        label="Messages a day (UTC)", min_value=1, max_value=MOST_MESSAGES, required=False, help_text="Empty: no limit."
    )
    allowed_networks = forms.CharField(
        label="May be used from",
        required=False,
        help_text="Addresses and networks, one a line, as in 192.0.2.7 or 2001:db8::/32. Empty: from anywhere.",
        widget=forms.Textarea(attrs={"rows": 4, "autocapitalize": "none", "spellcheck": "false"}),
    )

    def clean_allowed_networks(self) -> list[str]:
        typed = re.split(r"[\s,;]+", self.cleaned_data["allowed_networks"].strip())
        networks, problems = [], []
        for text in filter(None, typed):
            try:
                networks.append(read_network(text))
            except Refused as refused:
                problems.append(refused.detail)
        if problems:
            raise forms.ValidationError(problems)
        if len(networks) > MOST_NETWORKS:
            raise forms.ValidationError(f"At most {MOST_NETWORKS} networks: put neighbours together into larger ones.")
        return list(dict.fromkeys(networks))

    def limits(self) -> Limits:
        data = self.cleaned_data
        return Limits(
            hourly_limit=data["hourly_limit"],
            daily_limit=data["daily_limit"],
            allowed_networks=data["allowed_networks"],
        )
