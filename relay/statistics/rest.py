"""`/api/v1/statistics`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Organization
from accounts.rest.access import check_unrestricted, credential_of, reading_organization
from accounts.rest.fields import ObjectField, StrictCharField, StrictSerializer
from accounts.rest.lists import read_parameters
from accounts.rest.openapi import may_refuse
from relay.models import Template
from relay.rest.queries import DomainNameField, wanted_messages
from relay.statistics.folding import FAILURES
from relay.statistics.models import Dimension
from relay.statistics.reading import EVERYTHING, RANGES, Of, TopReason, statistics

DIMENSIONS = [choice for choice in Dimension.choices if choice[0] != Dimension.ALL]
FILTERS = [value for value, _ in DIMENSIONS]


class StatisticsQuery(StrictSerializer):
    range = serializers.ChoiceField(
        list(RANGES),
        default="7d",
        help_text="`24h`: by hours, the present one and 23 before; else by days of UTC, today last.",
    )
    by = serializers.ChoiceField(DIMENSIONS, required=False, help_text="Also by each value of this; of all mail only.")
    domain = DomainNameField(required=False, help_text="Only mail from this sending domain.")
    provider = StrictCharField(
        required=False, max_length=255, help_text="Only mail to this one: a `value` of `by=provider`."
    )
    tag = StrictCharField(required=False, max_length=600, help_text="Only mail with this tag: `name` or `name:value`.")
    smtp_user = StrictCharField(required=False, max_length=320, help_text="The SMTP user's address or id.")
    template = StrictCharField(required=False, max_length=60, help_text="The template's id or alias.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        filters = [name for name in FILTERS if name in attrs]
        if len(filters) > 1:
            raise serializers.ValidationError(
                {filters[1]: [f"Mail is counted by one thing at a time: {filters[0]} is given."]}
            )
        if filters and "by" in attrs:
            raise serializers.ValidationError({"by": [f"Is for all mail; leave it out, or {filters[0]}."]})
        return attrs


class FiguresSerializer(serializers.Serializer[Any]):
    """Recipients, by what happened in the time. Rates are null where there is nothing to count."""

    sent = serializers.IntegerField(
        source="submitted",
        help_text="Accepted by PlugSend. Not known by provider: 0 there, as are suppressed and cancelled.",
    )
    delivered = serializers.IntegerField()
    bounced = serializers.IntegerField(help_text="`bounced_hard` and `bounced_soft`.")
    bounced_hard = serializers.IntegerField(help_text="The address is dead.")
    bounced_soft = serializers.IntegerField(help_text="For any other reason.")
    deferred = serializers.IntegerField(help_text="Attempts that a receiver put off.")
    complained = serializers.IntegerField()
    suppressed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    unknown_outcome = serializers.IntegerField()
    delivered_rate = serializers.FloatField(allow_null=True, help_text="Of delivered, bounced and unknown outcome.")
    bounce_rate = serializers.FloatField(allow_null=True, help_text="Of the same.")
    hard_bounce_rate = serializers.FloatField(allow_null=True, help_text="Of the same.")
    deferral_rate = serializers.FloatField(allow_null=True, help_text="Of attempts: of the same and those deferred.")
    complaint_rate = serializers.FloatField(allow_null=True, help_text="Of delivered.")
    latency_p50_ms = serializers.FloatField(
        source="p50_ms",
        allow_null=True,
        help_text="From acceptance, or the scheduled time, to delivery; an estimate from buckets.",
    )
    latency_p95_ms = serializers.FloatField(source="p95_ms", allow_null=True)


class PointSerializer(serializers.Serializer[Any]):
    starts_at = serializers.DateTimeField()
    figures = FiguresSerializer()


class GroupSerializer(serializers.Serializer[Any]):
    value = serializers.CharField(allow_blank=True, help_text="An id, a provider, a tag. Empty: all others together.")
    name = serializers.CharField()
    figures = FiguresSerializer()


class TopReasonSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField([str(one) for one in FAILURES])
    reason = serializers.CharField(source="code")
    title = serializers.SerializerMethodField()
    advice = serializers.SerializerMethodField()
    count = serializers.IntegerField()
    examples = serializers.SerializerMethodField()

    def get_title(self, one: TopReason) -> str:
        return one.reason.title if one.reason else ""

    def get_advice(self, one: TopReason) -> str:
        return one.reason.advice if one.reason else ""

    def get_examples(self, one: TopReason) -> list[UUID]:
        """Ids of emails, the newest first."""
        return [message.pk for message in one.examples]


class StatisticsSerializer(serializers.Serializer[Any]):
    """What became of mail in a time."""

    object = ObjectField("statistics")
    range = serializers.CharField(source="range.code")
    since = serializers.DateTimeField()
    counted_until = serializers.DateTimeField(allow_null=True, help_text="What happened later is not in it yet.")
    totals = FiguresSerializer()
    points = PointSerializer(many=True, help_text="Each hour of `24h`, six hours of `7d`, days of longer ranges.")
    groups = GroupSerializer(
        many=True, help_text="With `by`: those with the most mail, at most 25, and the others together."
    )
    reasons = TopReasonSerializer(many=True, help_text="Why mail bounced or was deferred, at most 10.")


FIGURES = {
    "sent": 1200, "delivered": 1150, "bounced": 30, "bounced_hard": 18, "bounced_soft": 12, "deferred": 64, "complained": 0,
    "suppressed": 6, "cancelled": 0, "unknown_outcome": 0, "delivered_rate": 1150 / 1180, "bounce_rate": 30 / 1180,
    "hard_bounce_rate": 18 / 1180, "deferral_rate": 64 / 1244, "complaint_rate": 0.0, "latency_p50_ms": 412.0,
    "latency_p95_ms": 2380.0,
}  # fmt: skip
EXAMPLE = {
    "object": "statistics",
    "range": "30d",
    "since": "2026-10-28T00:00:00Z",
    "counted_until": "2026-11-26T09:41:20Z",
    "totals": FIGURES,
    "points": [{"starts_at": "2026-11-26T00:00:00Z", "figures": FIGURES}],
    "groups": [{"value": "gmail", "name": "Gmail and Google Workspace", "figures": FIGURES}],
    "reasons": [
        {
            "type": "bounced",
            "reason": "no_such_address",
            "title": "The address does not exist",
            "advice": "Check the spelling. Remove the address from your lists: mailing it again harms your reputation.",
            "count": 18,
            "examples": ["0199c6a1-7c00-7b22-9d00-1a2b3c4d5e6f"],
        }
    ],
}


class StatisticsView(APIView):
    @extend_schema(
        operation_id="statistics_get",
        parameters=[StatisticsQuery],
        responses=StatisticsSerializer,
        examples=[OpenApiExample("By provider", EXAMPLE, response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def get(self, request: Request) -> Response:
        """Get statistics of your mail. What was sent, delivered, bounced, deferred and reported as spam in the last hours or
        days, how long delivery took, and the top reasons for failures. Each figure counts what happened in the time,
        whenever the mail was sent; it takes some seconds to be counted."""
        organization = reading_organization(request)
        values = read_parameters(request, StatisticsQuery)
        by = Dimension(values["by"]) if "by" in values else None
        told = statistics(organization, RANGES[values["range"]], _wanted(request, organization, values), by)
        return Response(StatisticsSerializer(told).data)


def _wanted(request: Request, organization: Organization, values: dict[str, Any]) -> Of:
    """A key that is restricted to a domain is told of this domain only. Raises `Refused` and DRF's ValidationError."""
    if {"by", *FILTERS} & values.keys() - {"domain"}:
        check_unrestricted(request)
    wanted = wanted_messages(credential_of(request), {k: values[k] for k in ("domain", "smtp_user") if k in values})
    if wanted.domain_ids is not None:
        return _of(Dimension.DOMAIN, wanted.domain_ids)
    if wanted.smtp_user_ids is not None:
        return _of(Dimension.SMTP_USER, wanted.smtp_user_ids)
    if "template" in values:
        return _of(Dimension.TEMPLATE, _templates(organization, values["template"]))
    for dimension in (Dimension.PROVIDER, Dimension.TAG):
        if dimension in values:
            return Of(dimension, (values[dimension],))
    return EVERYTHING


def _of(dimension: Dimension, ids: frozenset[UUID]) -> Of:
    return Of(dimension, tuple(sorted(map(str, ids))))


def _templates(organization: Organization, reference: str) -> frozenset[UUID]:
    try:
        named = Q(pk=UUID(reference))
    except ValueError:
        named = Q(alias=reference)
    found = frozenset(Template.objects.of(organization).filter(named).values_list("pk", flat=True))
    if not found:
        raise serializers.ValidationError({"template": ["Your organization has no such template."]})
    return found
