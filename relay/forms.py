"""Forms about mail."""

from django import forms

from domains.streams import STREAM_RULE, STREAM_WORD
from relay.models import NOTE_LENGTH
from relay.reading.timeline_links import IN_WORDS
from relay.suppressing.soft_bounces import DAYS_MOST, MESSAGES_MOST


class SuppressionForm(forms.Form):
    address = forms.CharField(
        label="Address",
        max_length=254,
        help_text="Mail from your organization to this address is not sent any more.",
        widget=forms.TextInput(
            attrs={"type": "email", "placeholder": "ada@example.com", "autocapitalize": "none", "autocomplete": "off"}
        ),
    )


def _stream_field(help_text: str) -> forms.RegexField:
    return forms.RegexField(
        rf"^{STREAM_WORD}$",
        label="Stream",
        required=False,
        help_text=help_text,
        error_messages={"invalid": f"{STREAM_RULE[:1].upper()}{STREAM_RULE[1:]}."},
        widget=forms.TextInput(attrs={"placeholder": "news", "autocapitalize": "none", "autocomplete": "off"}),
    )


class NotedForm(forms.Form):
    stream = _stream_field("Only mail of this stream is not sent any more. Empty: no mail at all.")
    note = forms.CharField(
        required=False,
        max_length=NOTE_LENGTH,
        help_text="For whoever reads the list.",
        widget=forms.TextInput(attrs={"placeholder": "Asked by phone", "autocomplete": "off"}),
    )


class AddSuppressionForm(SuppressionForm, NotedForm):
    field_order = ("address", "stream", "note")


class RemoveSuppressionForm(forms.Form):
    because = forms.CharField(
        label="Why",
        required=False,
        max_length=NOTE_LENGTH,
        help_text="Kept in the audit log.",
        widget=forms.TextInput(attrs={"placeholder": "The mailbox works again", "autocomplete": "off"}),
    )


class ImportForm(NotedForm):
    file = forms.FileField(
        help_text="An address on each line, or CSV in UTF-8 whose first line names the columns: email, and if you like stream, "
        "reason and note. At most 1,000,000 lines and 40 MB.",
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,text/csv,text/plain"}),
    )
    field_order = ("file", "stream", "note")


class SoftBounceForm(forms.Form):
    is_on = forms.BooleanField(label="Suppress addresses that bounce again and again", required=False)
    messages = forms.IntegerField(label="Soft bounces in a row", min_value=2, max_value=MESSAGES_MOST)
    days = forms.IntegerField(
        label="Days",
        min_value=0,
        max_value=DAYS_MOST,
        help_text="At least so many between the first and the last of them.",
    )


class ShareTimelineForm(forms.Form):
    good_for = forms.ChoiceField(label="The link works for", choices=list(IN_WORDS.items()), widget=forms.RadioSelect)
