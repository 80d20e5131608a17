"""Forms about templates. The editor's own fields: `relay.template_pages.editor`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from domains.models import SmtpUser
from relay.submission.addresses import domain_of, parse_mailboxes
from relay.templates import NAME_LENGTH
from relay.templating.starting import STARTS


class CreateTemplateForm(forms.Form):
    start = forms.ChoiceField(
        label="Begin with",
        required=False,
        choices=[
            *((one.code, f"{one.name}: {one.what_for}") for one in STARTS.values()),
            ("", "Nothing: an empty page"),
        ],
        widget=forms.RadioSelect,
    )
    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="For your team; recipients do not see it.",
        widget=forms.TextInput(attrs={"placeholder": "Receipt", "autocomplete": "off"}),
    )


class TestForm(forms.Form):
    """`sender`: the From that the template has, by which the SMTP user is proposed."""

    to = forms.ChoiceField(label="To", help_text="Your own address, or another member’s.")
    smtp_user = forms.ModelChoiceField(
        label="In the name of", queryset=SmtpUser.objects.none(), empty_label=None,
        help_text="The test is counted as every message of this SMTP user.",
    )  # fmt: skip

    def __init__(self, data: Any, *, senders: QuerySet[SmtpUser], addresses: list[str], sender: str) -> None:
        super().__init__(data)
        to, smtp_user = self.fields["to"], self.fields["smtp_user"]
        assert isinstance(to, forms.ChoiceField)
        assert isinstance(smtp_user, forms.ModelChoiceField)
        to.choices = [(address, address) for address in addresses]
        smtp_user.queryset = senders
        wanted = [address.lower() for _, address in parse_mailboxes(sender) or ()]
        domains = {domain_of(address) for address in wanted}
        fitting = sorted(senders, key=lambda one: (one.address not in wanted, one.domain.name not in domains))
        smtp_user.initial = fitting[0].pk if fitting else None
