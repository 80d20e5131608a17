"""Forms about mail."""

from django import forms

from relay.timeline_links import IN_WORDS


class SuppressionForm(forms.Form):
    address = forms.CharField(
        label="Address",
        max_length=254,
        help_text="Mail from your organization to this address is not sent any more.",
        widget=forms.TextInput(
            attrs={"type": "email", "placeholder": "ada@example.com", "autocapitalize": "none", "autocomplete": "off"}
        ),
    )


class ShareTimelineForm(forms.Form):
    good_for = forms.ChoiceField(label="The link works for", choices=list(IN_WORDS.items()), widget=forms.RadioSelect)
