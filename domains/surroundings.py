"""What is asked about a domain beside its records, and less often: its own SPF record, and what its DNS host offers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.core.cache import cache

from domains.connect import client as domain_connect
from domains.models import SendingDomain
from domains.spf import reading as spf

SPF_EVERY_S = 600
SPF_AT_ONCE_EVERY_S = 10  # for people who press again and again
READ_AT_ONCE = 5  # each reading asks many questions of its own, for some seconds at worst


def refresh(domains: Sequence[SendingDomain], *, at_once: bool = False) -> None:
    """Asks, and keeps what is said; of each domain at most every ten minutes, so that it may be called after every look.

    `at_once`: somebody wants to know now what its SPF record says. For threads, outside of transactions.
    """
    domain_connect.refresh(domains)
    due = [domain for domain in domains if _is_due(domain, at_once=at_once)]
    with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="spf") as threads:
        readings = list(threads.map(spf.read_spf, [domain.name for domain in due]))
    for domain, reading in zip(due, readings, strict=True):
        SendingDomain.objects.filter(pk=domain.pk).update(spf=reading)


def _is_due(domain: SendingDomain, *, at_once: bool) -> bool:
    is_old = cache.add(f"spf:{domain.pk}", True, SPF_EVERY_S)
    return is_old or (at_once and bool(cache.add(f"spf-at-once:{domain.pk}", True, SPF_AT_ONCE_EVERY_S)))
