"""Suppressed addresses over REST: `/api/v1/suppressions`. They belong to the whole organization."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.models import Organization
from accounts.rest.access import managing_whole_organization, reading_whole_organization
from accounts.rest.fields import (
    MomentField,
    ObjectField,
    StrictCharField,
    StrictSerializer,
    StrictUUIDField,
    at_field,
)
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import ListQuery, list_answer, list_of, read_query
from domains.rest.stream_field import StreamField
from relay.finding.search import SEARCH_S, TookTooLong, within
from relay.models import NOTE_LENGTH, Suppression
from relay.suppressing.suppressions import (
    ORIGINS,
    AddressRefused,
    Filter,
    find_suppression,
    normalized,
    origin_of,
    reason_title,
    remove_suppressions,
    suppress,
    suppress_all,
    suppressions_like,
    unsuppress,
)

BATCH_MOST = 1000


class _HowSerializer(StrictSerializer):
    stream = StreamField(
        required=False, allow_blank=True, help_text="Whose mail is not sent any more. Empty or missing: all mail."
    )
    note = StrictCharField(
        required=False, allow_blank=True, max_length=NOTE_LENGTH, help_text="For whoever reads the list."
    )


class AddSuppressionSerializer(_HowSerializer):
    email = StrictCharField(max_length=1000, help_text="Kept in lower case, its domain in A-label form.")


class AddSuppressionsSerializer(_HowSerializer):
    emails = serializers.ListField(child=StrictCharField(max_length=1000), min_length=1, max_length=BATCH_MOST)


class RemoveSuppressionsSerializer(StrictSerializer):
    """Either of the two."""

    emails = serializers.ListField(
        child=StrictCharField(max_length=1000), min_length=1, max_length=BATCH_MOST, required=False
    )
    ids = serializers.ListField(child=StrictUUIDField(), min_length=1, max_length=BATCH_MOST, required=False)
    because = StrictCharField(
        required=False, allow_blank=True, max_length=NOTE_LENGTH, help_text="Why; kept in the audit log."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("emails" in attrs) == ("ids" in attrs):
            raise serializers.ValidationError({"emails": ["Give emails or ids: one of the two."]})
        return attrs


class SuppressionListQuery(ListQuery):
    origin = serializers.ChoiceField(choices=ORIGINS, required=False, help_text="What made it, in Resend's words.")
    reason = serializers.CharField(required=False, max_length=40, help_text="Why, in PlugSend's words.")
    email = serializers.CharField(required=False, max_length=1000, help_text="An address, or a part of one.")
    stream = StreamField(required=False, help_text="Those of a stream only.")
    since = MomentField(required=False, help_text="Made at that time or later.")
    until = MomentField(required=False, help_text="Made before that time.")


class SuppressionIdSerializer(serializers.Serializer[Any]):
    object = ObjectField("suppression")
    id = serializers.UUIDField()


class SuppressionSerializer(SuppressionIdSerializer):
    """`reason`, `title` and `reply` say why in PlugSend's words."""

    email = serializers.CharField(source="address")
    origin = serializers.SerializerMethodField()
    source_id = serializers.UUIDField(source="message_id", allow_null=True, help_text="The email that made it.")
    created_at = serializers.DateTimeField()
    reason = serializers.CharField()
    title = serializers.SerializerMethodField()
    reply = serializers.CharField(help_text="The receiver's.")
    stream = serializers.CharField(help_text="Whose mail is not sent any more. Empty: all mail.")
    note = serializers.CharField()
    added_by = serializers.CharField(help_text="A member or an API key. Empty: PlugSend, because of `reason`.")

    @extend_schema_field(serializers.ChoiceField(choices=ORIGINS))
    def get_origin(self, suppression: Suppression) -> str:
        return origin_of(suppression.reason)

    def get_title(self, suppression: Suppression) -> str:
        return reason_title(suppression.reason)


class AddedSuppressionSerializer(SuppressionSerializer):
    is_new = serializers.SerializerMethodField(help_text="False: it was suppressed already, and stays as it was.")

    def get_is_new(self, suppression: Suppression) -> bool:
        return suppression.pk in self.context["new"]


class RemovedSuppressionSerializer(SuppressionIdSerializer):
    email = serializers.CharField(source="address")
    deleted = serializers.BooleanField(default=True)


class SuppressionErrorSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Which of those given, counted from 0.")
    message = serializers.CharField()


class AddedSuppressionsSerializer(serializers.Serializer[Any]):
    object = ObjectField("list")
    data = AddedSuppressionSerializer(many=True)  # type: ignore[assignment]  # a member of that name
    errors = SuppressionErrorSerializer(many=True)  # type: ignore[assignment]


class RemovedSuppressionsSerializer(serializers.Serializer[Any]):
    object = ObjectField("list")
    data = RemovedSuppressionSerializer(many=True)  # type: ignore[assignment]
    errors = SuppressionErrorSerializer(many=True)  # type: ignore[assignment]


SUPPRESSION = {
    "object": "suppression",
    "id": "0199c6a1-7c00-7c33-8b00-9f8e7d6c5b4a",
    "email": "gone@example.com",
    "origin": "bounce",
    "source_id": "0199c6a1-7c00-7e44-8a00-1f2e3d4c5b6a",
    "created_at": "2026-11-26T08:00:00Z",
    "reason": "no_such_address",
    "title": "The address does not exist",
    "reply": "550 5.1.1 User unknown",
    "stream": "",
    "note": "",
    "added_by": "",
}
BY_HAND = SUPPRESSION | {
    "origin": "manual",
    "source_id": None,
    "reason": "manual",
    "title": "Added by hand",
    "reply": "",
    "stream": "news",
    "note": "Asked by phone",
    "added_by": "API key CRM",
    "is_new": True,
}
REMOVED = {"object": "suppression", "id": SUPPRESSION["id"], "email": "gone@example.com", "deleted": True}


class SuppressionsView(APIView):
    @extend_schema(
        operation_id="suppressions_list",
        parameters=[SuppressionListQuery],
        responses=list_of(SuppressionSerializer),
        examples=[OpenApiExample("Suppressions", list_answer([SUPPRESSION], has_more=False), response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List suppressed addresses. The newest first."""
        organization = reading_whole_organization(request)
        page, wanted = read_query(request, SuppressionListQuery)
        found = suppressions_like(organization, Filter(search=wanted.pop("email", ""), **wanted))
        try:
            with within(SEARCH_S) as check:
                check()
                rows, has_more = page.cut(found)
        except TookTooLong:
            raise Refused("search_took_too_long", seconds=f"{SEARCH_S:.0f}") from None
        return Response(list_answer(SuppressionSerializer(rows, many=True).data, has_more=has_more))

    @extend_schema(
        operation_id="suppressions_add",
        request=AddSuppressionSerializer,
        responses={201: AddedSuppressionSerializer, 200: AddedSuppressionSerializer},
        examples=[
            OpenApiExample("An address", {"email": "gone@example.com"}, request_only=True),
            OpenApiExample(
                "An address, for one stream",
                {"email": "gone@example.com", "stream": "news", "note": "Asked by phone"},
                request_only=True,
            ),
            OpenApiExample("Added", BY_HAND, response_only=True, status_codes=["201"]),
            OpenApiExample("There already", SUPPRESSION | {"is_new": False}, response_only=True, status_codes=["200"]),
        ],
    )
    @idempotent("suppressions.add")
    def post(self, request: Request) -> Response:
        """Suppress an address. No more mail is sent to it. One that is suppressed already stays as it is (200)."""
        organization = managing_whole_organization(request)
        serializer = AddSuppressionSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        how = serializer.validated_data
        email = how.pop("email")
        try:
            suppression, is_new = suppress(organization, email, **how, by=actor_of(request))
        except AddressRefused:
            with at_field("email"):
                raise Refused("invalid_recipient", address=email) from None
        context = {"new": {suppression.pk} if is_new else set()}
        return Response(AddedSuppressionSerializer(suppression, context=context).data, status=201 if is_new else 200)


class SuppressionView(APIView):
    @extend_schema(
        operation_id="suppressions_get",
        responses=SuppressionSerializer,
        examples=[OpenApiExample("A suppression", SUPPRESSION, response_only=True)],
    )
    def get(self, request: Request, which: str) -> Response:
        """Get a suppression. By its id or by the address."""
        return Response(SuppressionSerializer(_find(reading_whole_organization(request), which)).data)

    @extend_schema(
        operation_id="suppressions_remove",
        responses={200: RemovedSuppressionSerializer},
        examples=[OpenApiExample("Removed", REMOVED, response_only=True)],
    )
    def delete(self, request: Request, which: str) -> Response:
        """Remove a suppression. Named by its id or by the address; mail is sent there again."""
        organization = managing_whole_organization(request)
        suppression = _find(organization, which)
        if not unsuppress(organization, suppression.pk, by=actor_of(request)):
            raise Refused("not_found", thing="suppression")
        return Response(RemovedSuppressionSerializer(suppression).data)


class AddSuppressionsView(APIView):
    @extend_schema(
        operation_id="suppressions_batch_add",
        request=AddSuppressionsSerializer,
        responses={200: AddedSuppressionsSerializer},
        examples=[
            OpenApiExample("Addresses", {"emails": ["gone@example.com", "nobody"]}, request_only=True),
            OpenApiExample(
                "Each is told of",
                {
                    "object": "list",
                    "data": [BY_HAND],
                    "errors": [{"index": 1, "message": "nobody is not a valid address."}],
                },
                response_only=True,
            ),
        ],
    )
    @idempotent("suppressions.batch_add")
    def post(self, request: Request) -> Response:
        """Suppress many addresses. Up to 1,000. What is no address is named in `errors`; the others are suppressed."""
        organization = managing_whole_organization(request)
        serializer = AddSuppressionsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        how = serializer.validated_data
        keys, errors = _normalized(how.pop("emails"))
        found = suppress_all(organization, keys.values(), **how, by=actor_of(request))
        rows = [found[address][0] for address in dict.fromkeys(keys.values())]
        context = {"new": {one.pk for one, is_new in found.values() if is_new}}
        data = AddedSuppressionSerializer(rows, many=True, context=context).data
        return Response({"object": "list", "data": data, "errors": errors})


class RemoveSuppressionsView(APIView):
    @extend_schema(
        operation_id="suppressions_batch_remove",
        request=RemoveSuppressionsSerializer,
        responses={200: RemovedSuppressionsSerializer},
        examples=[
            OpenApiExample("By address", {"emails": ["gone@example.com", "fine@example.com"]}, request_only=True),
            OpenApiExample("By id", {"ids": [SUPPRESSION["id"]]}, request_only=True),
            OpenApiExample(
                "Each is told of",
                {
                    "object": "list",
                    "data": [REMOVED],
                    "errors": [{"index": 1, "message": "fine@example.com is not suppressed."}],
                },
                response_only=True,
            ),
        ],
    )
    @idempotent("suppressions.batch_remove")
    def post(self, request: Request) -> Response:
        """Remove many suppressions. Up to 1,000. What was not suppressed is named in `errors`."""
        organization = managing_whole_organization(request)
        serializer = RemoveSuppressionsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        because, errors = asked.get("because", ""), list[dict[str, Any]]()
        given: dict[int, Any]
        if "ids" in asked:
            given = dict(enumerate(asked["ids"]))
            removed = remove_suppressions(organization, ids=given.values(), because=because, by=actor_of(request))
            gone: set[Any] = {one.pk for one in removed}
        else:
            given, errors = _normalized(asked["emails"])
            removed = remove_suppressions(organization, addresses=given.values(), because=because, by=actor_of(request))
            gone = {one.address for one in removed}
        errors += [_error(n, f"{key} is not suppressed.") for n, key in given.items() if key not in gone]
        data = RemovedSuppressionSerializer(removed, many=True).data
        return Response({"object": "list", "data": data, "errors": sorted(errors, key=lambda error: error["index"])})


def _find(organization: Organization, which: str) -> Suppression:
    suppression = find_suppression(organization, which)
    if suppression is None:
        raise Refused("not_found", thing="suppression")
    return suppression


def _normalized(emails: list[str]) -> tuple[dict[int, str], list[dict[str, Any]]]:
    """Addresses as they are kept, by their place in the list, and what is to be told of the others."""
    keys = {index: normalized(email.strip()) for index, email in enumerate(emails)}
    errors = [_error(n, f"{emails[n]} is not a valid address.") for n, key in keys.items() if key is None]
    return {index: key for index, key in keys.items() if key}, errors


def _error(index: int, message: str) -> dict[str, Any]:
    return {"index": index, "message": message}
