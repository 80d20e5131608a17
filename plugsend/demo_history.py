"""The demo's figures of the days before today, written as rollups, as of mail that is forgotten by now."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import zip_longest
from typing import Any

from django.utils import timezone

from accounts.models import Organization
from domains.models import SendingDomain, SmtpUser
from relay.models import Period, Template, UsageCounter
from relay.statistics.folding import COUNTERS
from relay.statistics.latency import BOUNDS_MS, bucket_of
from relay.statistics.models import Dimension, Failure, Rollup, Step
from relay.usage import start_of

DAYS = 30


def make_history(organization: Organization, domain: SendingDomain, smtp_user: SmtpUser) -> None:
    chance = random.Random(2)  # noqa: S311 - the same demo each time
    values: Sequence[tuple[Dimension, str, float]] = [
        (Dimension.ALL, "", 1.0), (Dimension.DOMAIN, str(domain.pk), 1.0),
        (Dimension.SMTP_USER, str(smtp_user.pk), 0.7), (Dimension.PROVIDER, "gmail", 0.45),
        (Dimension.PROVIDER, "microsoft", 0.25), (Dimension.PROVIDER, "proton", 0.1), (Dimension.TAG, "receipt", 0.4),
        (Dimension.TAG, "shipping", 0.3), (Dimension.TAG, "invoice", 0.2),
        *(
            (Dimension.TEMPLATE, str(template.pk), 0.1 + 0.05 * place)
            for place, template in enumerate(Template.objects.of(organization).exclude(alias="invitation"))
        ),
    ]  # fmt: skip
    today = start_of(Step.DAY, timezone.now())
    rollups, failures, counters = [], [], []
    for back in range(1, DAYS):
        day = today - timedelta(days=back)
        weekend = 0.35 if day.weekday() >= 5 else 1.0
        whole = 900 * weekend * (1 + 0.25 * math.sin(back / 4)) * chance.uniform(0.85, 1.15)
        trouble = 3.0 if back == 9 else 1.0
        counters.append(UsageCounter(subject_id=organization.pk, period=Period.DAY, starts_at=day, count=round(whole)))
        for dimension, value, part in values:
            hours = range(24) if back <= 8 else range(0)
            by_hour = [
                _figures(whole * part * _share_of_hour(hour), trouble, random.Random(f"{back} {hour}"))  # noqa: S311
                for hour in hours
            ]
            rows = [(Step.DAY, day, _together(by_hour) or _figures(whole * part, trouble, random.Random(back)))]  # noqa: S311
            rows += [(Step.HOUR, day + timedelta(hours=hour), by_hour[hour]) for hour in hours]
            for step, starts_at, figures in rows:
                common = {
                    "organization": organization, "dimension": dimension, "value": value, "step": step,
                    "starts_at": starts_at,
                }  # fmt: skip
                rollups.append(Rollup(**common, **figures))
                failures += [
                    Failure(**common, type=type_, reason=reason, count=count, examples=[])
                    for type_, reason, count in (
                        ("bounced", "no_such_address", figures["bounced_hard"]),
                        ("bounced", "mailbox_full", figures["bounced_soft"]),
                        ("deferred", "greylisted", figures["deferred"]),
                    ) if count
                ]  # fmt: skip
    UsageCounter.objects.bulk_create(counters)
    Rollup.objects.bulk_create(rollups, batch_size=500)
    Failure.objects.bulk_create(failures, batch_size=500)


def _share_of_hour(hour: int) -> float:
    """Of a day's mail; together 1."""
    weights = [1 + 4 * max(0.0, math.sin((one - 6) / 15 * math.pi)) for one in range(24)]
    return weights[hour] / sum(weights)


def _figures(submitted: float, trouble: float, chance: random.Random) -> dict[str, Any]:
    def about(number: float) -> int:
        return int(number + chance.random())

    number = about(submitted)
    hard, soft = about(number * 0.008 * trouble), about(number * 0.004 * trouble)
    counts = dict.fromkeys(COUNTERS, 0) | {
        "submitted": number, "bounced_hard": hard, "bounced_soft": soft, "delivered": max(0, number - hard - soft),
        "deferred": about(number * 0.02 * trouble), "complained": about(number * 0.0003),
    }  # fmt: skip
    latency = [0] * len(BOUNDS_MS)
    for _ in range(counts["delivered"]):
        latency[min(bucket_of(chance.lognormvariate(6.3, 0.7)), len(latency) - 1)] += 1
    return counts | {"latency": _trimmed(latency)}


def _together(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of a day from those of its hours; empty where there are none."""
    if not parts:
        return {}
    counts = {name: sum(part[name] for part in parts) for name in COUNTERS}
    return counts | {
        "latency": [sum(bucket) for bucket in zip_longest(*(part["latency"] for part in parts), fillvalue=0)]
    }


def _trimmed(latency: list[int]) -> list[int]:
    while latency and not latency[-1]:
        latency.pop()
    return latency
