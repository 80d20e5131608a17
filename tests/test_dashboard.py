"""The operators' dashboard: what it shows to whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import User
from plugsend.status import dashboard
from plugsend.status.models import Throughput
from plugsend.status.templatetags.status import seconds
from relay.models import Recipient
from relay.statistics.folding import COUNTERS
from relay.statistics.models import Dimension, Rollup, Step
from relay.usage import start_of
from relay.webhooks.endpoints import create_endpoint
from tests.factories import Tenant, make_domain, make_message, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    dashboard.kept.forget()
    yield
    dashboard.kept.forget()


@pytest.fixture
def tenant() -> Tenant:
    """With mail that waits, bounces above the threshold, and a webhook that fails."""
    tenant = make_tenant()
    message = make_message(make_domain(tenant.organization), to="ada@slow.test", state="submitted")
    Recipient.objects.filter(message_id=message.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=125))
    counts = dict.fromkeys(COUNTERS, 0) | {"submitted": 2000, "delivered": 1800, "bounced_hard": 200}
    Rollup.objects.create(
        organization=tenant.organization, dimension=Dimension.ALL, step=Step.HOUR, value="", latency=[],
        starts_at=start_of(Step.HOUR, timezone.now()), **counts,
    )  # fmt: skip
    endpoint = create_endpoint(tenant.organization, "https://hooks.failing.example/")
    type(endpoint).objects.filter(pk=endpoint.pk).update(failures=3, failing_since=timezone.now())
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=1)
    Throughput.objects.create(minute=minute, submitted=1234, delivered=987, bounced=3, deferred=1)
    return tenant


HEALTH, QUEUE, ORGANIZATIONS, WEBHOOKS = "Database and broker", "slow.test", "10.0 %", "hooks.failing.example"


@pytest.mark.parametrize(
    ("rights", "seen"),
    [
        ([], set()),
        (["view_componentstate"], {HEALTH}),
        (["view_recipient"], {QUEUE}),
        (["view_organization"], {ORGANIZATIONS}),
        (["view_webhookendpoint"], {WEBHOOKS}),
        (["*"], {HEALTH, QUEUE, ORGANIZATIONS, WEBHOOKS}),
    ],
)
def test_staff_see_what_they_may(rights: list[str], seen: set[str], tenant: Tenant, client: Client) -> None:
    person = User.objects.create_user("ops@people.test", "x", is_staff=True, is_superuser=rights == ["*"])
    person.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(person)

    for address in ("/admin/", "/admin/dashboard/"):
        page = client.get(address).content.decode()
        assert {word for word in (HEALTH, QUEUE, ORGANIZATIONS, WEBHOOKS) if word in page} == seen
    if HEALTH in seen:
        assert "1,234" in page
        assert "987" in page
    if QUEUE in seen:
        assert re.search(r"2 min \d+ s", page)


def test_members_see_nothing_of_it(tenant: Tenant) -> None:
    assert tenant.client.get("/admin/dashboard/").status_code == 302


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 s"), (0.25, "250 ms"), (59, "59 s"), (125, "2 min 5 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_lengths_are_told_in_two_units(value: float, words: str) -> None:
    assert seconds(value) == words
