"""Where scanners for secrets report API keys that lie open: `/api/v1/api-keys/leaks` (docs/api-keys.md)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api_keys import report_leak
from accounts.client import client_address
from accounts.rest.fields import ObjectField, StrictCharField, StrictSerializer


class ReportLeakSerializer(StrictSerializer):
    """`POST /api/v1/api-keys/leaks`."""

    token = StrictCharField(max_length=200, help_text="The key as it was found, whole.")
    found_at = StrictCharField(max_length=500, required=False, allow_blank=True, help_text="Where: an address, say.")


class LeakReportSerializer(serializers.Serializer[Any]):
    object = ObjectField("leak_report")


class LeaksView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="api_keys_report_leak",
        auth=[],
        request=ReportLeakSerializer,
        responses={202: LeakReportSerializer},
        examples=[
            OpenApiExample(
                "A key in a public repository",
                {"token": "ps_live_4fT0…", "found_at": "https://git.example/acme/shop/config.py"},
                request_only=True,
            ),
            OpenApiExample("The same in any case", {"object": "leak_report"}, response_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        """Report an API key that was found. For scanners; no key is needed. Its owners are told, and nothing is revoked.

        The answer is the same whether there is such a key or not.
        """
        serializer = ReportLeakSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        told = serializer.validated_data
        report_leak(told["token"].strip(), told.get("found_at", ""), client_address(request.META))
        return Response(LeakReportSerializer({}).data, status=202)
