"""Forms about people and organizations."""

from django import forms
from django.http import HttpRequest

from accounts.audit import person
from accounts.models import Organization, OutgoingTls, User
from accounts.services import create_organization


class SignupForm(forms.Form):
    """What sign-up asks beside address and password. django-allauth puts its own fields on top of this class."""

    organization_name = forms.CharField(
        label="Organization",
        max_length=120,
        help_text="Your company, team or project. You can change it later.",
        widget=forms.TextInput(attrs={"autocomplete": "organization", "placeholder": "Acme"}),
    )
    field_order = ["email", "password1", "organization_name"]

    def signup(self, request: HttpRequest, user: User) -> None:
        """Called late: the organization is made with the user, in one transaction (`accounts.adapter`)."""

    def give_place(self, request: HttpRequest, user: User) -> None:
        create_organization(self.cleaned_data["organization_name"], user, by=person(user, request))


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["name"]
        labels = {"name": "Your name"}
        help_texts = {"name": "As the members of your organizations see it."}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"})}


class OrganizationForm(forms.ModelForm):
    class Meta:
        model = Organization
        fields = ["name"]
        labels = {"name": "Name"}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "organization"})}


class SettingsForm(OrganizationForm):
    class Meta(OrganizationForm.Meta):
        fields = ["name", "safe_resend", "show_client_address", "never_twice", "outgoing_tls"]
        labels = {
            **OrganizationForm.Meta.labels,
            "safe_resend": "Safe resend over SMTP",
            "show_client_address": "Name the client's address",
            "never_twice": "Never twice",
        }
        help_texts = {
            "show_client_address": "The Received field of your mail tells receivers the IP address of the program that "
            "submitted it. Off, nobody outside learns it.",
            "never_twice": "Rarely a connection ends after a message was sent and before the receiver's answer came: nobody "
            "knows whether it arrived. Off, PlugSend tries again, so it may arrive twice. On, it does not, so it may not "
            "arrive at all; the recipient ends as “outcome unknown”.",
            "safe_resend": "A message that the same SMTP user submits again within 24 hours (same Message-ID, sender, "
            "recipients and body) counts as the first: a program that lost our reply and tries again sends nothing twice.",
        }

    outgoing_tls = forms.ChoiceField(
        label="Encryption of outgoing mail",
        help_text="Where a receiver publishes rules of its own (MTA-STS, DANE), they are kept in any case.",
        widget=forms.RadioSelect,
        choices=[
            (
                OutgoingTls.OPPORTUNISTIC,
                "Where the receiver offers it: encrypted with nearly all receivers, in the clear with the few others, so "
                "that all are reached.",
            ),
            (
                OutgoingTls.ENCRYPTED,
                "Always encrypted: nothing is sent in the clear. Mail to a receiver without encryption bounces.",
            ),
            (
                OutgoingTls.VERIFIED,
                "Always encrypted, to a verified exchanger: the receiver also proves by a certificate who it is. Mail to "
                "those who cannot bounces; some small receivers cannot.",
            ),
        ],
    )
