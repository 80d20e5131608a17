"""Who looks at domains, and when: pages that are open, people who ask for it, and the clock. Nobody else waits for DNS.

Looks that start by themselves are made by a few threads of the process. A domain is looked at by one at a time, wherever that
is (a lock of PostgreSQL's that ends with its connection). The clock's are claimed by moving `next_check_at`, so that of a
process that dies nothing is lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import connection, connections, transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor
from domains import surroundings
from domains.course import watched_every
from domains.models import SendingDomain
from domains.verification import check_domain, check_domains

logger = logging.getLogger(__name__)

# Longer than DNS can keep a batch waiting. Should this process die meanwhile, the domains are due again after it.
CLAIM = timedelta(minutes=2)
DOMAINS_AT_ONCE = 20
SHOWN_AGAIN = timedelta(seconds=2)  # a look so young is as good as a new one
WAIT_S, WAIT_STEP_S = 10.0, 0.05  # for a look that is under way
LOCKS = 0x444E  # the first half of our advisory locks' keys


class Lookers:
    """Threads that are started for a piece of work and end with it: at most so many at a time, and no more wait."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def hand_over(self, work: Callable[[], None]) -> bool:
        """Returns at once. False: all are at work, and this is not done."""
        if not self._free.acquire(blocking=False):
            return False
        try:
            threading.Thread(target=self._run, args=(work,), name="looker", daemon=True).start()
        except RuntimeError:  # the machine has no more threads, or the process ends
            self._free.release()
            return False
        return True

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            logger.exception("A look at DNS failed; it is made again")
        finally:
            connections.close_all()
            self._free.release()


FOR_PAGES = Lookers(8)
FOR_THE_CLOCK = Lookers(2)
IN_REQUESTS = threading.BoundedSemaphore(3)  # of the web process's eight threads, so many may wait for DNS


# ---- Asked for -------------------------------------------------------------------------------------------------------


def check_again(domain: SendingDomain, by: Actor = SYSTEM, *, good_since: datetime | None = None) -> SendingDomain:
    """Looks now, and returns the domain as then stored (or as given: it is gone).

    A look of the last two seconds, or since `good_since`, is not repeated, and one that is under way is waited for: whoever
    presses again and again learns the same, at no cost. Where too many wait already, a thread looks, and what is stored is
    returned.
    """
    if not IN_REQUESTS.acquire(blocking=False):
        FOR_PAGES.hand_over(partial(_look_if_due, domain.pk, SHOWN_AGAIN))
        return SendingDomain.objects.of(domain.organization_id).filter(pk=domain.pk).first() or domain
    try:
        stored = _check_again(domain, by, good_since or timezone.now() - SHOWN_AGAIN)
    finally:
        IN_REQUESTS.release()
    FOR_PAGES.hand_over(partial(surroundings.refresh, [stored], at_once=True))
    return stored


def _check_again(domain: SendingDomain, by: Actor, good_since: datetime) -> SendingDomain:
    until = time.monotonic() + WAIT_S
    while True:
        with _looking_at([domain.pk]) as ours:
            stored = SendingDomain.objects.of(domain.organization_id).filter(pk=domain.pk).first()
            if stored is None:
                return domain
            if stored.checked_at and stored.checked_at >= good_since:
                return stored
            if ours:
                return check_domain(stored, by)
        if time.monotonic() >= until:
            return stored
        time.sleep(WAIT_STEP_S)


def look_while_open(domain: SendingDomain, open_for: timedelta) -> None:
    """Somebody has the domain's page open, for so long: lets a thread look if the last look is old enough."""
    every = watched_every(open_for)
    if _is_due(domain, every):
        FOR_PAGES.hand_over(partial(_look_if_due, domain.pk, every))


def _look_if_due(domain_id: UUID, every: timedelta) -> None:
    with _looking_at([domain_id]) as ours:
        domain = SendingDomain.objects.filter(pk=domain_id).first() if ours else None
        is_due = domain is not None and _is_due(domain, every)
        if domain and is_due:
            check_domain(domain)
    if domain and is_due:
        surroundings.refresh([domain])


def _is_due(domain: SendingDomain, every: timedelta) -> bool:
    return domain.checked_at is None or domain.checked_at <= timezone.now() - every


# ---- By the clock ----------------------------------------------------------------------------------------------------


def look_at_due() -> None:
    """Lets a thread look at all domains whose next check is due."""
    if SendingDomain.objects.filter(next_check_at__lte=timezone.now()).exists():
        FOR_THE_CLOCK.hand_over(work_off_due)


def work_off_due(at_once: int = DOMAINS_AT_ONCE) -> None:
    """Looks at what is due until nothing is."""
    while domains := claim_due(at_once):
        with _looking_at([domain.pk for domain in domains]) as ours:
            _check([domain for domain in domains if domain.pk in ours])
        surroundings.refresh(domains)


def _check(domains: Sequence[SendingDomain]) -> None:
    """One at which our own code fails does not keep the others from their looks."""
    began_at = timezone.now()
    try:
        check_domains(domains)
    except Exception:
        logger.exception("A look at %s failed", ", ".join(domain.name for domain in domains))
        if len(domains) > 1:
            stored = SendingDomain.objects.filter(pk__in=[domain.pk for domain in domains], checked_at__gte=began_at)
            done = set(stored.values_list("pk", flat=True))
            for domain in domains:
                if domain.pk not in done:
                    _check([domain])


def claim_due(limit: int) -> list[SendingDomain]:
    """Takes due domains for this process, the longest waiting first: no other takes them until the claim runs out."""
    with transaction.atomic():
        now = timezone.now()
        due = list(
            SendingDomain.objects.select_for_update(skip_locked=True)
            .filter(next_check_at__lte=now)
            .order_by("next_check_at")[:limit]
        )
        SendingDomain.objects.filter(pk__in=[domain.pk for domain in due]).update(next_check_at=now + CLAIM)
    return due


# ---- One at a time ---------------------------------------------------------------------------------------------------


@contextmanager
def _looking_at(domain_ids: Iterable[UUID]) -> Iterator[set[UUID]]:
    """Yields those that nobody else is looking at, for us alone until the block ends."""
    ours: set[UUID] = set()
    try:
        for domain_id in domain_ids:
            if _lock("pg_try_advisory_lock", domain_id):
                ours.add(domain_id)
        yield ours
    finally:
        for domain_id in ours:
            _lock("pg_advisory_unlock", domain_id)


def _lock(function: str, domain_id: UUID) -> bool:
    key = int.from_bytes(domain_id.bytes[-4:], signed=True)  # random bits (RFC 9562, 5.7)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [LOCKS, key])
        return bool(cursor.fetchone()[0])
