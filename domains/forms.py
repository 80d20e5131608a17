"""Forms about sending domains, SMTP users and API keys. The rules themselves are in `domains.services`."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms

from accounts.api_keys import reduced
from accounts.catalogue import Refused
from accounts.models import Organization, Scope
from domains.cidr import MOST_NETWORKS, read_network
from domains.models import DomainStatus, SendingDomain
from domains.smtp_users import MOST_MESSAGES, Limits
from domains.streams import STREAM_RULE, STREAM_WORD


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


class KeepOldField(forms.TypedChoiceField):
    """How many hours the keys that there are go on beside the new one."""

    def __init__(self, label: str) -> None:
        choices = [
            (0, "Stop at once: have your app’s settings at hand"),
            (24, "Stop after 24 hours: time to change the settings everywhere"),
            (168, "Stop after 7 days"),
        ]
        super().__init__(label=label, choices=choices, coerce=int, initial=0, widget=forms.RadioSelect)


class PasswordForm(KeyForm):
    """A new password, and how long those that there are go on beside it."""

    keep_old_hours = KeepOldField("The passwords that it has now")
    field_order = ("keep_old_hours", "name")


class NetworksForm(forms.Form):
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


class LimitsForm(NetworksForm):
    hourly_limit = forms.IntegerField(
        label="Messages an hour", min_value=1, max_value=MOST_MESSAGES, required=False, help_text="Empty: no limit."
    )
    daily_limit = forms.IntegerField(
        label="Messages a day (UTC)", min_value=1, max_value=MOST_MESSAGES, required=False, help_text="Empty: no limit."
    )
    stream = forms.RegexField(
        rf"^{STREAM_WORD}$",
        required=False,
        help_text="A word such as news, for mail that people may have had enough of: they can unsubscribe from it by one "
        "click, and your other mail still reaches them. Empty for receipts, codes and the like.",
        error_messages={"invalid": f"{STREAM_RULE[:1].upper()}{STREAM_RULE[1:]}."},
        widget=forms.TextInput(attrs={"placeholder": "news", "autocapitalize": "none", "autocomplete": "off"}),
    )
    field_order = ("hourly_limit", "daily_limit", "allowed_networks", "stream")

    def limits(self) -> Limits:
        data = self.cleaned_data
        return Limits(
            hourly_limit=data["hourly_limit"],
            daily_limit=data["daily_limit"],
            allowed_networks=data["allowed_networks"],
            stream=data["stream"],
        )


# ---- API keys --------------------------------------------------------------------------------------------------------

NEVER, ON_A_DATE = "never", "date"


class ChangeApiKeyForm(NetworksForm):
    name = forms.CharField(
        max_length=120,
        help_text="Where the key is used, so that you know it again.",
        widget=forms.TextInput(attrs={"placeholder": "Production web app", "autocomplete": "off"}),
    )
    field_order = ["name", "allowed_networks"]


class RestrictionChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.display_name} and its subdomains" if obj.allow_subdomains else str(obj.display_name)


class ApiKeyForm(ChangeApiKeyForm):
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        choices=[(scope.value, f"{scope.label}: {scope.in_words}") for scope in Scope],
        initial=[Scope.SEND],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )
    domain = RestrictionChoice(
        queryset=SendingDomain.objects.none(),
        required=False,
        empty_label="Every domain",
        help_text="A key for one domain sends from that domain only, and sees and changes only what belongs to it.",
    )
    expiry = forms.ChoiceField(
        label="It works",
        choices=[
            (NEVER, "Until it is revoked"),
            ("30", "For 30 days"),
            ("90", "For 90 days"),
            ("365", "For 365 days"),
            (ON_A_DATE, "Until the end of a day (UTC): choose it below"),
        ],
        initial=NEVER,
        widget=forms.RadioSelect,
    )
    expires_on = forms.DateField(
        label="Last day",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    field_order = ["name", "scopes", "domain", "expiry", "expires_on", "allowed_networks"]

    def __init__(self, organization: Organization, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["domain"]
        assert isinstance(field, RestrictionChoice)
        field.queryset = SendingDomain.objects.of(organization).order_by("name")

    def clean_scopes(self) -> list[str]:
        return reduced(self.cleaned_data["scopes"])

    def clean_expires_on(self) -> date | None:
        day: date | None = self.cleaned_data["expires_on"]
        if self.cleaned_data.get("expiry") != ON_A_DATE:
            return None
        if day is None:
            raise forms.ValidationError("Choose the day.")
        if not datetime.now(UTC).date() <= day < date.max:
            raise forms.ValidationError("Choose today or a day to come.")
        return day

    def expires_at(self) -> datetime | None:
        if day := self.cleaned_data["expires_on"]:
            return datetime.combine(day + timedelta(days=1), time(), UTC)
        expiry = self.cleaned_data["expiry"]
        return None if expiry == NEVER else datetime.now(UTC) + timedelta(days=int(expiry))


class RotateApiKeyForm(forms.Form):
    keep_old_hours = KeepOldField("The old key")


class RevokeApiKeyForm(forms.Form):
    reason = forms.CharField(
        label="Why (optional)",
        max_length=200,
        required=False,
        help_text="For the audit log and for those who wonder later.",
        widget=forms.TextInput(attrs={"placeholder": "Leaked in a public repository", "autocomplete": "off"}),
    )
