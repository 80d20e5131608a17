"""The audit log over REST: `/api/v1/audit-log`. It tells of people and of the whole organization, so it takes full rights."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit_export import as_json
from accounts.audit_search import AuditFilter
from accounts.catalogue import Refused
from accounts.models import ApiKey, Membership, Organization
from accounts.permissions import Permission
from accounts.rest.access import check_unrestricted, credential_of, managing_organization
from accounts.rest.fields import MomentField, ObjectField
from accounts.rest.lists import ListQuery, list_answer, list_of, read_query
from accounts.rest.openapi import may_refuse

ACTOR_KINDS = ["user", "api_key", "operator", "system"]


class AuditLogQuery(ListQuery):
    actor_kind = serializers.ChoiceField(choices=ACTOR_KINDS, required=False, help_text="Who did it.")
    actor_id = serializers.UUIDField(required=False, help_text="A person's or an API key's id.")
    action = serializers.CharField(required=False, max_length=40, help_text="As a whole: `domain.removed`.")
    target_type = serializers.CharField(required=False, max_length=20, help_text="What is before an action's dot.")
    target_id = serializers.UUIDField(required=False, help_text="The object that it was done to.")
    target_name = serializers.CharField(required=False, max_length=320, help_text="The object's name, as a whole.")
    since = MomentField(required=False, help_text="Done at that time or later.")
    until = MomentField(required=False, help_text="Done before that time.")


class AuditActorSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=ACTOR_KINDS)
    id = serializers.UUIDField(allow_null=True, help_text="Of a person or an API key.")
    name = serializers.CharField(help_text="As it was then. PlugSend's operators are not named.")


class AuditTargetSerializer(serializers.Serializer[Any]):
    type = serializers.CharField()
    id = serializers.UUIDField(allow_null=True, help_text="Null: it was about several objects.")
    name = serializers.CharField(help_text="As it was then.")


class AuditEntrySerializer(serializers.Serializer[Any]):
    object = ObjectField("audit_entry")
    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    actor = AuditActorSerializer()
    client = serializers.IPAddressField(allow_null=True, help_text="The address that it was done from.")
    action = serializers.CharField(help_text="object.verb")
    target = AuditTargetSerializer()
    text = serializers.CharField(help_text="All of it as a sentence.")
    before = serializers.DictField(allow_null=True, help_text="The fields that changed, as they were.")
    after = serializers.DictField(allow_null=True, help_text="The fields that changed, as they are since.")


_EXAMPLE = {
    "object": "audit_entry",
    "id": "0199c6a1-7c00-7a55-9d00-0f1e2d3c4b5a",
    "created_at": "2026-11-26T08:00:00Z",
    "actor": {"kind": "user", "id": "0199c6a1-7c00-7b66-8e00-1a2b3c4d5e6f", "name": "ada@example.com"},
    "client": "203.0.113.7",
    "action": "domain.changed",
    "target": {"type": "domain", "id": "0199c6a1-7c00-7c77-8f00-2b3c4d5e6f70", "name": "example.com"},
    "text": "ada@example.com turned on subdomains for example.com",
    "before": {"allow_subdomains": False},
    "after": {"allow_subdomains": True},
}


def _check_maker(request: Request, organization: Organization) -> None:
    """A key reads the log while the member who made it may. Raises `Refused`."""
    key = ApiKey.objects.of(organization).filter(pk=str(credential_of(request).api_key_id))
    makers = Membership.objects.of(organization).filter(user__in=key.values("created_by"))
    if not any(maker.may(Permission.READ_AUDIT) for maker in makers):
        raise Refused("audit_log_not_open")


class AuditLogView(APIView):
    @may_refuse("audit_log_not_open")
    @extend_schema(
        operation_id="audit_log_list",
        parameters=[AuditLogQuery],
        responses=list_of(AuditEntrySerializer),
        examples=[OpenApiExample("Entries", list_answer([_EXAMPLE], has_more=False), response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List the audit log. Who did what and from where, the newest first. Entries are kept for at least a year."""
        organization = managing_organization(request)
        check_unrestricted(request)
        _check_maker(request, organization)
        page, wanted = read_query(request, AuditLogQuery)
        asked = AuditFilter(**{name.replace("target", "object"): value for name, value in wanted.items()})
        rows, has_more = page.cut(asked.entries(organization))
        return Response(list_answer([as_json(entry) for entry in rows], has_more=has_more))
