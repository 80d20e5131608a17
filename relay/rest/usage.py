"""`/api/v1/usage`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Organization
from accounts.rest.access import check_unrestricted, reading_organization
from accounts.rest.fields import ObjectField
from accounts.rest.openapi import may_refuse
from relay.quotas import quotas_of


class PlacesSerializer(serializers.Serializer[Any]):
    used = serializers.IntegerField()
    limit = serializers.IntegerField(source="most", allow_null=True, help_text="null: there is none.")


class PeriodUsageSerializer(PlacesSerializer):
    resets_at = serializers.DateTimeField(source="ends_at", help_text="When the next day or month begins (UTC).")


class DayOfMessagesSerializer(serializers.Serializer[Any]):
    date = serializers.DateField(help_text="UTC")
    messages = serializers.IntegerField()


class UsageSerializer(serializers.Serializer[Any]):
    """What was accepted: repeats and refused messages are not counted."""

    object = ObjectField("usage")
    plan = serializers.CharField(allow_null=True, help_text="Its name; null: there are no limits.")
    messages_day = PeriodUsageSerializer()
    messages_month = PeriodUsageSerializer()
    messages_per_second = serializers.IntegerField(allow_null=True, help_text="The plan’s limit.")
    recipients_per_message = serializers.IntegerField(help_text="The plan’s limit, or the platform’s.")
    content_days = serializers.IntegerField(help_text="For how many days contents of emails are kept.")
    event_days = serializers.IntegerField(help_text="For how many days emails and their events are kept.")
    domains = PlacesSerializer()
    members = PlacesSerializer(help_text="With open invitations.")
    history = DayOfMessagesSerializer(many=True, help_text="Of the last 30 days, today last.")


USAGE = {
    "object": "usage",
    "plan": "Standard",
    "messages_day": {"used": 1200, "limit": 50000, "resets_at": "2026-11-27T00:00:00Z"},
    "messages_month": {"used": 31450, "limit": 1000000, "resets_at": "2026-12-01T00:00:00Z"},
    "messages_per_second": 100,
    "recipients_per_message": 1000,
    "content_days": 7,
    "event_days": 90,
    "domains": {"used": 2, "limit": 100},
    "members": {"used": 4, "limit": 100},
    "history": [{"date": "2026-11-25", "messages": 980}, {"date": "2026-11-26", "messages": 1200}],
}


class UsageView(APIView):
    @extend_schema(
        operation_id="usage_get",
        responses=UsageSerializer,
        examples=[OpenApiExample("Usage", USAGE, response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def get(self, request: Request) -> Response:
        """Get the usage of the plan. What is used of each limit, when it begins anew, and the messages of the last days."""
        check_unrestricted(request)
        organization = Organization.objects.of(reading_organization(request)).select_related("plan").get()
        quotas = quotas_of(organization)
        plan = quotas.plan
        told = {
            "plan": plan.name if plan else None,
            "messages_day": quotas.day,
            "messages_month": quotas.month,
            "messages_per_second": plan.messages_per_second if plan else None,
            "recipients_per_message": quotas.recipients,
            "content_days": quotas.content_days,
            "event_days": quotas.event_days,
            "domains": quotas.domains,
            "members": quotas.members,
            "history": [{"date": day.date(), "messages": messages} for day, messages in quotas.history],
        }
        return Response(UsageSerializer(told).data)
