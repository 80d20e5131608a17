"""Forms about mail."""

from django import forms


class SuppressionForm(forms.Form):
    address = forms.CharField(
        label="Address",
        max_length=254,
        help_text="Mail from your organization to this address is not sent any more.",
        widget=forms.TextInput(
            attrs={"type": "email", "placeholder": "ada@example.com", "autocapitalize": "none", "autocomplete": "off"}
        ),
    )
