"""The form that publishes a domain's records in the sandbox's zone."""

from itertools import groupby

from django import forms

from relay.sandbox.dns_hosts import DNS_HOSTS, OWN
from relay.sandbox.mistakes import MISTAKES

NO_MISTAKE = "As they should be"


def _choices() -> list[tuple[str, str | list[tuple[str, str]]]]:
    groups = groupby(MISTAKES.values(), key=lambda mistake: mistake.group)
    return [
        ("", NO_MISTAKE),
        *((group, [(one.name, _sentence(one.words)) for one in of_it]) for group, of_it in groups),
    ]


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


class PublishForm(forms.Form):
    mistake = forms.ChoiceField(label="How they are published", choices=_choices, required=False)
    host = forms.ChoiceField(
        label="DNS host", choices=[(key, host.title) for key, host in DNS_HOSTS.items()], required=False
    )

    def clean_host(self) -> str:
        return self.cleaned_data["host"] or OWN
