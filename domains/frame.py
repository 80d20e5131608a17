"""What a domain's pages have in common: its name, its state, and the tabs between them (templates/domains/frame.html)."""

from typing import Any

from django.urls import reverse

from domains.models import SendingDomain

TABS = {
    "domain": "DNS records",
    "domain_health": "Health",
    "domain_settings": "Settings",
    "domain_history": "History",
}


def frame(domain: SendingDomain, tab: str) -> dict[str, Any]:
    """`tab`: the name of one of the addresses in TABS."""
    tabs = [(reverse(name, args=[domain.pk]), label, name) for name, label in TABS.items()]
    return {"domain": domain, "tab": tab, "tabs": tabs}
