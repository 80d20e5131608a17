"""The rule for soft bounces: against a plain model, and by the task that reads the event log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.ids import uuid7
from accounts.models import AuditEntry
from domains.models import SendingDomain
from relay.models import Recipient, SoftBounceMark, Suppression
from relay.suppressing import soft_bounces
from relay.suppressing.soft_bounces import COUNTED, Result, Rule, change_rule, heed_next, is_hopeless, rule_of
from relay.suppressing.suppressions import remove_suppressions, suppress
from tests.factories import make_domain, make_message, make_tenant

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
KINDS = {"delivered": "", "full": "mailbox_full", "policy": "policy", "expired": "expired", "expired full": "expired"}


def result(kind: str, hours: int) -> Result:
    reply = "452 4.2.2 Mailbox full" if kind == "expired full" else ""
    return Result(NOON + timedelta(hours=hours), kind == "delivered", KINDS[kind], reply=reply)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 200)), max_size=12, unique_by=lambda one: one[1]),
    st.integers(1, 4),
    st.integers(0, 4),
    st.none() | st.integers(0, 200),
)
def test_it_is_what_a_plain_count_says(
    history: list[tuple[str, int]], messages: int, days: int, pardon: int | None
) -> None:
    count, first, last = 0, 0, 0
    for kind, hours in sorted(history, key=lambda one: one[1]):
        if pardon is not None and hours <= pardon:
            continue
        if kind == "delivered":
            count = 0
        elif kind in ("full", "expired full"):
            first = first if count else hours
            count, last = count + 1, hours
    expected = count >= messages and (last - first) >= 24 * days if count else False
    since = None if pardon is None else NOON + timedelta(hours=pardon)
    assert is_hopeless([result(*one) for one in history], Rule(messages, days), since) == expected


def test_only_what_tells_of_the_address_counts() -> None:
    assert {"mailbox_full", "mailbox_busy"} <= COUNTED
    assert not COUNTED & {"no_such_address", "policy", "suppressed", "expired", "outcome_unknown"}


@pytest.fixture
def domain(db: None) -> SendingDomain:
    return make_domain(make_tenant().organization)


def bounce(domain: SendingDomain, days_ago: float, *, to: str = "full@inbox.test", state: str = "bounced") -> None:
    reason = "mailbox_full" if state == "bounced" else ""
    detail = {} if state == "bounced" else {"exchanger": {"host": "mx.inbox.test", "address": "127.0.0.1", "port": 25}}
    message = make_message(
        domain, to=to, state=state, reason=reason, events=[(state, detail)], seconds_ago=int(days_ago * 86400)
    )
    at = message.submitted_at
    Recipient.objects.filter(message_id=message.pk).update(state_at=at, last_reply="552 5.2.2 Full")


def heed() -> int:
    """All there is."""
    total = 0
    while (found := heed_next(uuid7())) is not None:
        total += found
    return total


def begin() -> None:
    SoftBounceMark.objects.create(looked_before=uuid7())


def test_the_task_suppresses_once_and_forgives_what_was_before(domain: SendingDomain) -> None:
    begin()
    for days in (5, 4, 3):
        bounce(domain, days)
    bounce(domain, 2, to="FULL@inbox.test")
    assert heed() == 0
    bounce(domain, 1)
    bounce(domain, 1, to="other@inbox.test")
    assert heed() == 1
    assert heed() == 0
    [made] = Suppression.objects.all()
    assert (made.address, made.reason, made.stream, made.reply) == (
        "full@inbox.test", "soft_bounces", "", "552 5.2.2 Full",
    )  # fmt: skip
    assert made.message_id is not None

    remove_suppressions(domain.organization, ids=[made.pk])
    bounce(domain, -0.01)
    assert heed() == 0
    assert not Suppression.objects.exists()


def test_a_delivery_begins_the_count_anew_and_history_is_left_alone(domain: SendingDomain) -> None:
    for days in (9, 8, 7, 6, 5, 4):
        bounce(domain, days, to="old@inbox.test")
    assert heed_next(uuid7()) is None  # the first time: from now on
    for days in (9, 8, 7):
        bounce(domain, days)
    bounce(domain, 6.5, state="delivered")
    for days in (6, 5, 4):
        bounce(domain, days)
    assert heed() == 0


def test_each_organization_has_its_rule(domain: SendingDomain) -> None:
    begin()
    change_rule(domain.organization, None)
    for days in (6, 5, 4, 3, 2, 1):
        bounce(domain, days)
    assert (rule_of(domain.organization), heed()) == (None, 0)
    change_rule(domain.organization, Rule(2, 0))
    change_rule(domain.organization, Rule(2, 0))
    bounce(domain, 0.5)
    assert heed() == 1
    entries = AuditEntry.objects.filter(action="soft_bounce_rule.changed")
    assert [one.after["is_on"] for one in entries.order_by("id")] == [False, True]
    suppress(domain.organization, "x@inbox.test")
    assert soft_bounces.heed_bounces(0.1) == 0
