"""The health of what was sent from a domain: figures from recipients and events, judged, shown and told over REST."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.ids import first_id_at
from domains.models import RecordStatus, SendingDomain
from events.models import Event
from relay import domain_health as module
from relay.domain_health import MEASURES, Dmarc, DomainHealth, Measure, dmarc_of, domain_health, is_aligned
from relay.models import Message, Recipient
from tests.factories import DELIVERED, Tenant, add_recipient, make_domain, make_message, make_tenant
from tests.rest import make_api, refused

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
SENT = DELIVERED | {
    "dkim": {"domain": "acme.test", "selector": "ps1", "selectors": ["ps1", "pse1"]},
    "return_path": "b+abc.def@psrp.acme.test",
}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def domain(tenant: Tenant) -> SendingDomain:
    return make_domain(tenant.organization)


def delivered(domain: SendingDomain, header_from: str = "Ada <ada@acme.test>", **detail: Any) -> Message:
    """`detail`: in place of what SENT has; None: nothing."""
    merged = {key: value for key, value in (SENT | detail).items() if value is not None}
    return make_message(domain, header_from=header_from, events=[("delivered", merged)], raw=None)


def complain(message: Message) -> None:
    recipient = Recipient.objects.get(message_id=message.pk)
    Event.objects.create(
        organization_id=message.organization_id, message_id=message.pk, recipient_id=recipient.pk,
        address=recipient.address, type="complained", occurred_at=timezone.now(),
    )  # fmt: skip


def counts(health: DomainHealth, *codes: str) -> dict[str, tuple[int, int]]:
    return {measure.code: (measure.count, measure.of) for measure in health.measures if measure.code in codes}


# ---- Counting --------------------------------------------------------------------------------------------------------


def test_recipients_are_counted_by_what_became_of_them(domain: SendingDomain) -> None:
    complained = delivered(domain)
    complain(complained)
    complain(complained)  # once more about the same mail
    delivered(domain)
    make_message(domain, state="bounced", reason="no_such_address")
    make_message(domain, state="bounced", reason="policy")
    make_message(domain, state="deferred", reason="greylisted")
    for state in ("submitted", "scheduled", "held", "suppressed", "cancelled"):
        make_message(domain, state=state)
    health = domain_health(domain)
    assert (health.messages, health.recipients, health.is_sample) == (10, 10, False)
    assert [measure.code for measure in health.measures] == list(MEASURES)
    assert counts(health, "delivered", "hard_bounces", "other_bounces", "deferred", "complaints") == {
        "delivered": (2, 5),
        "hard_bounces": (1, 5),
        "other_bounces": (1, 5),
        "deferred": (1, 5),
        "complaints": (1, 2),
    }
    assert health.selectors == (("ps1", 2), ("pse1", 2))


def test_what_is_delivered_after_a_deferral_was_deferred(domain: SendingDomain) -> None:
    make_message(domain, events=[("deferred", {}), ("delivered", SENT)])
    assert counts(domain_health(domain), "delivered", "deferred") == {"delivered": (1, 1), "deferred": (1, 1)}


def test_only_the_domain_and_the_last_days_count(tenant: Tenant, domain: SendingDomain) -> None:
    complain(delivered(make_domain(tenant.organization, "other.test")))
    complain(delivered(make_domain(make_tenant("Globex").organization, "globex.test")))
    assert domain_health(domain).messages == 0
    old = first_id_at(timezone.now() - timedelta(days=7, minutes=1))
    make_message(domain, id=old, raw=None)
    assert domain_health(domain).messages == 0
    make_message(domain, id=first_id_at(timezone.now() - timedelta(days=6)), raw=None)
    health = domain_health(domain)
    assert (health.messages, counts(health, "delivered", "complaints")) == (
        1,
        {"delivered": (1, 1), "complaints": (0, 1)},
    )


def test_more_than_is_looked_at_is_a_sample_of_the_newest(
    domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGES_MOST", 3)
    make_message(domain, state="bounced", reason="no_such_address")
    messages = [delivered(domain) for _ in range(3)]
    health = domain_health(domain)
    assert (health.messages, health.is_sample) == (3, True)
    assert counts(health, "delivered", "hard_bounces") == {"delivered": (3, 3), "hard_bounces": (0, 3)}
    assert abs((health.since - messages[0].submitted_at).total_seconds() - 60) < 5  # of the id, not of the request

    monkeypatch.setattr(module, "MESSAGES_MOST", 100)
    assert (domain_health(domain).messages, domain_health(domain).is_sample) == (4, False)
    monkeypatch.setattr(module, "RECIPIENTS_MOST", 2)
    assert (domain_health(domain).messages, domain_health(domain).is_sample) == (2, True)


def test_a_message_to_more_than_are_looked_at_is_looked_at_all_the_same(
    domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECIPIENTS_MOST", 2)
    message = make_message(domain, recipient_count=3)
    for name in ("eve", "ina"):
        add_recipient(message, f"{name}@inbox.test", "delivered")
    assert counts(domain_health(domain), "delivered") == {"delivered": (3, 3)}


def test_encryption_is_counted(domain: SendingDomain) -> None:
    delivered(domain)
    delivered(domain, tls={"version": "TLSv1.3", "cipher": "x", "verdict": "verified"})
    delivered(domain, tls={"version": "TLSv1.3", "cipher": "x", "verdict": "dane_verified"})
    delivered(domain, tls={"version": "TLSv1.3", "cipher": "x"})  # as events of old have it
    make_message(domain, events=[("delivered", {"reply": {"code": 250, "enhanced": "", "text": "Ok"}})])
    assert counts(domain_health(domain), "tls", "tls_verified") == {"tls": (4, 5), "tls_verified": (2, 5)}


# ---- Alignment -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("author", "authenticated", "relaxed", "strict"),
    [
        ("acme.test", "acme.test", True, True),
        ("news.acme.test", "acme.test", True, False),
        ("acme.test", "psrp.acme.test", True, False),
        ("a.example.co.uk", "b.example.co.uk", True, False),
        ("one.co.uk", "two.co.uk", False, False),
        ("acme.test", "notacme.test", False, False),
        ("acme.test", "", False, False),
        ("", "", False, False),
    ],
)
def test_alignment(author: str, authenticated: str, relaxed: bool, strict: bool) -> None:
    assert is_aligned(author, authenticated, strict=False) is relaxed
    assert is_aligned(author, authenticated, strict=True) is strict


def publish_dmarc(domain: SendingDomain, *values: str, status: str = RecordStatus.FOUND) -> None:
    domain.records.filter(purpose="dmarc").update(found=list(values), status=status)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=DMARC1; p=none", Dmarc("v=DMARC1; p=none", "none")),
        (" v=DMARC1;p=Reject; adkim=S ;aspf=r", Dmarc(" v=DMARC1;p=Reject; adkim=S ;aspf=r", "reject", True, False)),
        ("v=DMARC1; p=quarantine; aspf=s", Dmarc("v=DMARC1; p=quarantine; aspf=s", "quarantine", False, True)),
        ("some other text", Dmarc()),
    ],
)
def test_dmarc_record_is_the_one_last_found(domain: SendingDomain, record: str, expected: Dmarc) -> None:
    publish_dmarc(domain, record)
    assert dmarc_of(domain) == expected
    publish_dmarc(domain, record, status=RecordStatus.MISSING)
    assert dmarc_of(domain) == Dmarc()


@pytest.mark.parametrize(
    ("record", "header_from", "detail", "expected"),
    [
        ("v=DMARC1; p=none", "Ada <ada@acme.test>", {}, (1, 1, 1)),
        ("v=DMARC1; p=none; aspf=s", "Ada <ada@acme.test>", {}, (1, 0, 1)),
        ("v=DMARC1; p=none; adkim=s; aspf=s", "ada@news.acme.test", {}, (0, 0, 0)),
        ("v=DMARC1; p=none; adkim=s", "ada@NEWS.acme.test", {}, (0, 1, 1)),
        ("v=DMARC1; p=none", '"ada@acme.test" <eve@evil.test>', {}, (0, 0, 0)),
        ("v=DMARC1; p=none", "ada@acme.test", {"dkim": None}, (0, 1, 1)),
        ("v=DMARC1; p=none", "ada@acme.test", {"return_path": "b@elsewhere.test"}, (1, 0, 1)),
        ("v=DMARC1; p=none", "undisclosed", {}, (0, 0, 0)),
    ],
)
def test_dmarc_passes_where_one_of_the_two_is_aligned(
    domain: SendingDomain, record: str, header_from: str, detail: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    publish_dmarc(domain, record)
    delivered(domain, header_from, **detail)
    found = counts(domain_health(domain), "dkim", "spf", "dmarc")
    assert found == {code: (count, 1) for code, count in zip(("dkim", "spf", "dmarc"), expected, strict=True)}


def test_dmarc_words_follow_the_policy(domain: SendingDomain) -> None:
    delivered(domain, "eve@evil.test")
    assert domain_health(domain).measure("dmarc").level == "warn"
    assert "No DMARC record was found" in domain_health(domain).measure("dmarc").advice
    publish_dmarc(domain, "v=DMARC1; p=reject; adkim=s")
    measure = domain_health(domain).measure("dmarc")
    assert measure.level == "error"
    assert "(p=reject, with strict alignment of DKIM) mail that fails is refused" in measure.advice


# ---- Judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "count", "of", "level"),
    [
        ("complaints", 0, 10, "info"),
        ("complaints", 1, 999, "info"),
        ("complaints", 0, 0, "info"),
        ("complaints", 9, 10_000, "ok"),
        ("complaints", 10, 10_000, "warn"),
        ("complaints", 29, 10_000, "warn"),
        ("complaints", 30, 10_000, "error"),
        ("hard_bounces", 19, 1000, "ok"),
        ("hard_bounces", 20, 1000, "warn"),
        ("hard_bounces", 50, 1000, "error"),
        ("hard_bounces", 50, 99, "info"),
    ],
)
def test_thresholds(code: str, count: int, of: int, level: str) -> None:
    states = [
        module._State("delivered", "", False, of if code == "complaints" else of - count),
        module._State("bounced", "no_such_address", False, 0 if code == "complaints" else count),
    ]
    measures = {one.code: one for one in module._measures(states, [], count if code == "complaints" else 0, Dmarc())}
    assert (measures[code].count, measures[code].of, measures[code].level) == (count, of, level)


@pytest.mark.parametrize(
    ("count", "of", "percent"),
    [
        (0, 0, "–"), (0, 5, "0 %"), (5, 5, "100 %"), (1, 3, "33.3 %"), (1, 1000, "0.1 %"), (1, 1_000_000, "0.01 %"),
        (999_999, 1_000_000, "99.9 %"), (1, 2, "50 %"), (7, 10_000, "0.07 %"), (10, 10, "100 %"),
    ],
)  # fmt: skip
def test_percent_never_rounds_to_all_or_nothing(count: int, of: int, percent: str) -> None:
    assert Measure("x", "X", count, of, "ok", "").percent == percent


# ---- Shown -----------------------------------------------------------------------------------------------------------


def test_the_page_shows_the_figures(tenant: Tenant, domain: SendingDomain) -> None:
    address = reverse("domain_health", args=[domain.pk])
    assert f'href="{address}"' in tenant.client.get(reverse("domain", args=[domain.pk])).content.decode()
    assert "Nothing was sent from acme.test" in tenant.client.get(address).content.decode()
    complain(delivered(domain))
    page = tenant.client.get(address).content.decode()
    assert "1 message to 1 recipient in the last 7 days" in page
    assert "Gmail and Yahoo ask for less than 0.1 %" in page


def test_sample_is_called_one(tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MESSAGES_MOST", 1)
    for _ in range(2):
        delivered(domain)
    page = tenant.client.get(reverse("domain_health", args=[domain.pk])).content.decode()
    assert "The newest 1 messages to 1 recipient, since" in page
    assert "a sample of the last 7 days" in page


def test_what_takes_too_long_is_ended_and_told(
    tenant: Tenant, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(domain)
    monkeypatch.setattr(module, "_STATES", "SELECT 'delivered', pg_sleep(20)::text, false, 1 FROM taken")
    monkeypatch.setattr(module, "SECONDS", 0.2)
    page = tenant.client.get(reverse("domain_health", args=[domain.pk])).content.decode()
    assert "took too long to gather" in page
    refused(make_api(tenant.organization).get(f"domains/{domain.pk}/health"), 503, "temporarily_unavailable")


def test_rest_tells_the_same(tenant: Tenant, domain: SendingDomain) -> None:
    publish_dmarc(domain, "v=DMARC1; p=none")
    delivered(domain)
    told = make_api(tenant.organization).get(f"domains/{domain.pk}/health").json()
    assert (told["object"], told["id"], told["messages"], told["is_sample"]) == (
        "domain_health",
        str(domain.pk),
        1,
        False,
    )
    assert {one["code"]: (one["count"], one["of"], one["rate"]) for one in told["measures"]}["dmarc"] == (1, 1, 1.0)
    assert told["selectors"] == [{"selector": "ps1", "recipients": 1}, {"selector": "pse1", "recipients": 1}]
    assert told["dmarc"] == {"record": "v=DMARC1; p=none", "policy": "none", "strict_dkim": False, "strict_spf": False}


def test_another_organization_finds_nothing(domain: SendingDomain) -> None:
    theirs = make_tenant("Globex")
    assert theirs.client.get(reverse("domain_health", args=[domain.pk])).status_code == 404
    refused(make_api(theirs.organization).get(f"domains/{domain.pk}/health"), 404, "not_found")
    restricted = make_api(domain.organization, only_domain="other.test")
    refused(restricted.get(f"domains/{domain.pk}/health"), 404, "not_found")
