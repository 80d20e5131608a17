"""What is asked about a domain beside its records, and less often: its own SPF record, and what its DNS host offers."""

from collections.abc import Sequence

from django.core.cache import cache

from domains.connect import client as domain_connect
from domains.models import SendingDomain
from domains.spf import reading as spf

SPF_EVERY_S = 600


def refresh(domains: Sequence[SendingDomain], *, at_once: bool = False) -> None:
    """Asks, and keeps what is said; of each domain at most every ten minutes, so that it may be called after every look.

    `at_once`: somebody wants to know now what its SPF record says. For threads, outside of transactions.
    """
    domain_connect.refresh(domains)
    for domain in domains:
        if cache.add(f"spf:{domain.pk}", True, SPF_EVERY_S) or at_once:
            SendingDomain.objects.filter(pk=domain.pk).update(spf=spf.read_spf(domain.name))
