"""What a message's page tells of a course: where the time went, what comes next and why, what receivers can verify."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from domains.models import RecordPurpose, RecordStatus
from events.models import Event
from relay.models import Content, ExchangerGroup, Recipient
from relay.reading import mail_authentication
from relay.reading.story import PHASES, Next, phases, what_next
from tests.factories import DELIVERED, RAW, Tenant, add_recipient, make_domain, make_message, make_tenant
from tests.full_tenant import ATTACHED

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
IN_A_MINUTE, IN_AN_HOUR = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
UNTIL = NOW + timedelta(hours=72)


def waiting(**fields: Any) -> Recipient:
    facts = {"state": "deferred", "attempts": 1, "next_attempt_at": IN_A_MINUTE, "expires_at": UNTIL}
    return Recipient(**facts | {"reason": "greylisted"} | fields)


SUSPENDED = ExchangerGroup(name="mx", connections=1, suspended_until=IN_AN_HOUR, reason="unreachable")
ASKED = Event(type="retry_requested", detail={"by": "ada@acme.test"})
CAME_BACK = "the receiver asked us to come back later"


@pytest.mark.parametrize(
    ("recipient", "events", "suspension", "expected"),
    [
        (waiting(next_attempt_at=None, state="delivered"), [], None, None),
        (waiting(state="held"), [], None, Next("held", None, "", UNTIL)),
        (waiting(leased_by="0198c5a0-7c1e-7000-8000-000000000000"), [], None, Next("delivering", None, "", UNTIL, 1)),
        (waiting(state="scheduled", attempts=0), [], None, Next("sends", IN_A_MINUTE, "", UNTIL)),
        (waiting(state="submitted", attempts=0, reason=""), [], None, Next("waits", None, "", UNTIL, 1)),
        (waiting(), [], None, Next("retries", IN_A_MINUTE, CAME_BACK, UNTIL, 2, timedelta(seconds=330))),
        (waiting(attempts=20, reason="mailbox_full"), [], None,
         Next("retries", IN_A_MINUTE, "the mailbox is full", UNTIL, 21, timedelta(hours=8))),
        # No room for another one after it.
        (waiting(expires_at=IN_A_MINUTE + timedelta(seconds=329)), [], None,
         Next("retries", IN_A_MINUTE, CAME_BACK, IN_A_MINUTE + timedelta(seconds=329), 2, None)),
        (waiting(), [], SUSPENDED, Next("probe", IN_AN_HOUR, "no exchanger could be reached", UNTIL, 2)),
        # The group's pause is over before its own.
        (waiting(next_attempt_at=UNTIL - timedelta(days=2)), [], SUSPENDED,
         Next("retries", UNTIL - timedelta(days=2), CAME_BACK, UNTIL, 2, timedelta(seconds=330))),
        (waiting(), [ASKED], None,
         Next("retries", IN_A_MINUTE, "ada@acme.test asked for it", UNTIL, 2, timedelta(seconds=330))),
    ],
)  # fmt: skip
def test_what_comes_next(
    recipient: Recipient, events: list[Event], suspension: ExchangerGroup | None, expected: Next | None
) -> None:
    told = what_next(recipient, events, suspension, NOW, scale=1)
    assert told == expected
    assert told is None or told.is_last is (told.step == "retries" and told.then is None)


def test_strangers_are_not_told_who_asked() -> None:
    told = what_next(waiting(), [ASKED], None, NOW, scale=1, names_people=False)
    assert told
    assert told.because == "the sender asked for it"


@given(st.dictionaries(st.sampled_from([*PHASES, "new"]), st.floats(0, 1e6)), st.none() | st.floats(0, 1e7))
def test_phases_follow_each_other_and_make_up_the_whole(durations: dict[str, float], whole: float | None) -> None:
    told = phases(durations, whole)

    names = [PHASES[name][0] for name in PHASES if name in durations]
    assert [one.name for one in told if one.name not in ("new", "Preparing")] == names
    assert all(0 <= one.start <= 100.02 and 0 <= one.share <= 100.02 for one in told)
    assert all(later.start == pytest.approx(one.start + one.share, abs=0.02) for one, later in pairwise(told))
    if whole and whole > sum(durations.values()) * 1.1:
        assert sum(one.milliseconds for one in told) == pytest.approx(whole, rel=0.01, abs=0.02)
        assert [one.name for one in told].count("Preparing") == 1


# ---- On the page -----------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.django_db
SENT = DELIVERED | {"return_path": "b+x@psrp.acme.test"}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def page_of(tenant: Tenant, message: Any) -> str:
    return tenant.client.get(reverse("message", args=[message.pk])).content.decode()


def test_a_deferred_message_says_when_why_and_what_then(tenant: Tenant, settings: Any) -> None:
    settings.RETRY_SCALE = 1
    message = make_message(make_domain(tenant.organization), state="deferred", reason="greylisted")
    page = page_of(tenant, message)
    assert "because the receiver asked us to come back later" in page
    assert "Should it fail too, the one after comes some 5.5 min later" in page
    assert "nothing to do" in page  # the advice


def test_where_the_time_went_is_told_by_step(tenant: Tenant) -> None:
    page = page_of(tenant, make_message(make_domain(tenant.organization)))
    assert page.index(">DNS</th>") < page.index(">Connect</th>") < page.index(">DATA</th>")
    assert 'width="81.59"' in page  # 68.7 of 84.2 ms


@pytest.mark.parametrize(
    ("reason", "told"), [("no_such_address", "Hard bounce: The address"), ("policy", "Soft bounce: Refused by")]
)
def test_a_bounce_is_hard_or_soft(tenant: Tenant, reason: str, told: str) -> None:
    message = make_message(make_domain(tenant.organization), state="bounced", reason=reason)
    assert told in page_of(tenant, message)


@pytest.mark.parametrize(
    ("header_from", "missing", "dmarc", "expected"),
    [
        ("Ada <ada@acme.test>", [], "v=DMARC1; p=reject",
         [("ok", "aligned"), ("ok", "aligned"), ("ok", "passes by DKIM and SPF")]),
        ("ada@news.acme.test", [], "v=DMARC1; p=none; adkim=s",
         [("warn", "not aligned with news.acme.test (strict alignment)"), ("ok", "aligned"), ("ok", "passes by SPF")]),
        ("ada@acme.test", ["ps1._domainkey.acme.test"], "",
         [("warn", "record missing"), ("ok", "aligned"), ("ok", "passes by SPF")]),
        ("ada@other.test", ["psrp.acme.test"], "",
         [("warn", "not aligned with other.test"), ("warn", "not aligned with other.test"), ("warn", "does not pass")]),
    ],
)  # fmt: skip
def test_what_receivers_can_verify(
    tenant: Tenant, header_from: str, missing: list[str], dmarc: str, expected: list[tuple[str, str]]
) -> None:
    domain = make_domain(tenant.organization)
    domain.records.filter(purpose=RecordPurpose.DMARC).update(found=[dmarc])
    for name in missing:
        kind = RecordPurpose.RETURN_PATH if name.startswith("psrp") else RecordPurpose.DKIM
        domain.records.filter(purpose=kind).update(status=RecordStatus.MISSING, name=name)
    message = make_message(domain, header_from=header_from, events=[("delivered", SENT)])
    events = Event.objects.filter(message_id=message.pk)

    told = mail_authentication.of_message(header_from, events, domain)

    assert [(one.level, one.verdict) for one in told] == expected
    page = page_of(tenant, message)
    assert all(verdict in page for _, verdict in expected)
    assert "with the selector ps1" in page


def test_what_was_never_sent_has_nothing_to_verify(tenant: Tenant) -> None:
    assert "What receivers can verify" not in page_of(
        tenant, make_message(make_domain(tenant.organization), state="held")
    )


def test_attachments_are_downloads(tenant: Tenant) -> None:
    raw = RAW.replace(b"--b--", ATTACHED.encode() + b"--b--")
    message = make_message(make_domain(tenant.organization), raw=raw)
    page = page_of(tenant, message)
    [url] = [part.partition('"')[0] for part in page.split('href="')[1:] if "/attachments/" in part.partition('"')[0]]

    answer = tenant.client.get(url)

    assert answer.content == b"MARK attached"
    assert answer["Content-Disposition"] == 'attachment; filename="MARK.csv"'
    assert answer["Content-Security-Policy"].startswith("sandbox")
    Content.objects.filter(pk=message.pk).delete()
    assert tenant.client.get(url).status_code == 404
    assert "your plan keeps it for" in page_of(tenant, message)


def test_a_look_at_what_is_known_reads_no_transcripts(tenant: Tenant, django_assert_max_num_queries: Any) -> None:
    """However many recipients there are."""
    message = make_message(make_domain(tenant.organization), state="deferred", recipient_count=31)
    for number in range(30):
        add_recipient(message, f"r{number}@inbox.test", "delivered")
    page = page_of(tenant, message)
    assert page.count("<pre") < 20
    poll = page.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    with django_assert_max_num_queries(14) as asked:
        assert tenant.client.get(poll, headers={"HX-Request": "true"}).status_code == 204
    assert "transcript" not in str(asked.captured_queries)
