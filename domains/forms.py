"""Forms about sending domains and SMTP users. The rules themselves are in `domains.services`."""

from typing import Any

from django import forms

from accounts.models import Organization
from domains.models import DomainStatus, SendingDomain


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
