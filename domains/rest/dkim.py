"""DKIM keys in turn over REST: `/api/v1/domains/{id}/dkim/rotate`."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit import actor_of
from accounts.rest.access import managing_organization
from accounts.rest.openapi import may_refuse
from domains.dkim import requests as dkim_requests
from domains.rest.domains import DKIM, ID, find_domain
from domains.rest.serializers import DkimAnswerSerializer

ANSWER = {"object": "domain", "id": ID}


class DkimRotationView(APIView):
    @may_refuse("dkim_rotation_unverified", "dkim_rotation_under_way")
    @extend_schema(
        operation_id="domains_rotate_dkim",
        request=None,
        responses={200: DkimAnswerSerializer},
        examples=[
            OpenApiExample("Asked for", ANSWER | {"dkim": DKIM | {"rotation_pending": True}}, response_only=True)
        ],
    )
    def post(self, request: Request, domain_id: UUID) -> Response:
        """Rotate the DKIM key. The waiting key signs at once if its record is seen, else as soon as it is. A repeat while
        the rotation is pending looks at DNS again."""
        domain = find_domain(request, managing_organization(request), domain_id)
        return Response(DkimAnswerSerializer(dkim_requests.rotate(domain, by=actor_of(request))).data)

    @may_refuse("dkim_rotation_scheduled")
    @extend_schema(
        operation_id="domains_withdraw_dkim_rotation",
        responses={200: DkimAnswerSerializer},
        examples=[OpenApiExample("Withdrawn", ANSWER | {"dkim": DKIM}, response_only=True)],
    )
    def delete(self, request: Request, domain_id: UUID) -> Response:
        """Withdraw a pending rotation. The key that signs goes on. Nothing happens when none is pending."""
        domain = find_domain(request, managing_organization(request), domain_id)
        return Response(DkimAnswerSerializer(dkim_requests.withdraw_rotation(domain, by=actor_of(request))).data)
