"""Requests that create are done once: `Idempotency-Key` on any view's `post`, kept for 24 hours.

What the view does and the answer to it are written in one transaction, so neither is there without the other, wherever a
crash comes between. Emails have a faster way (`relay.submission.repeats`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from psycopg.errors import LockNotAvailable
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.fingerprints import digest_of_parts, request_fingerprint
from accounts.ids import uuid7
from accounts.models import IdempotentAnswer, Scope
from accounts.rest.access import credential_of
from accounts.sealed_box import seal, unseal

P = ParamSpec("P")
V = TypeVar("V")

KEPT_FOR = timedelta(hours=24)
WAIT_FOR_ANOTHER = "5s"  # for the transaction of a request with the same key

_KEY = re.compile(r"[!-~]{1,256}")

# A key of more than 24 hours ago is free again. One that another request is writing is waited for. An old answer stays
# locked meanwhile, so it cannot be deleted before it is read.
_CLAIM = """
    INSERT INTO accounts_idempotentanswer AS a
        (id, organization_id, endpoint, key, fingerprint, status, answer, created_at)
    VALUES (%s, %s, %s, %s, %s, 0, '', %s)
    ON CONFLICT (organization_id, endpoint, key) DO UPDATE
    SET id = excluded.id, fingerprint = excluded.fingerprint, created_at = excluded.created_at
    WHERE a.created_at < %s
    RETURNING id
"""

KEY_HEADER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^{_KEY.pattern}$"},
    OpenApiParameter.HEADER,
    description="1 to 256 visible ASCII characters. A repeat within 24 hours gets the first answer, and nothing is done twice.",
)
REPLAYED_HEADER = OpenApiParameter(
    "Idempotent-Replayed",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    enum=["true"],
    description="The request was a repeat; this is the first one's answer.",
    response=True,
)


def idempotent(
    endpoint: str, *, scope: str = Scope.FULL
) -> Callable[[Callable[Concatenate[V, Request, P], Response]], Callable[Concatenate[V, Request, P], Response]]:
    """For the `post` of a view, below `extend_schema`. `endpoint`: the operation, such as "domains.create".

    `scope`: what the API key must have even to be told an earlier answer. Of the view's work all is undone that does not lead
    to an answer below 400, and then the key is not taken. The view must not commit, nor wait for anything but the database.
    """

    def decorate(
        post: Callable[Concatenate[V, Request, P], Response],
    ) -> Callable[Concatenate[V, Request, P], Response]:
        @extend_schema(parameters=[KEY_HEADER, REPLAYED_HEADER])
        @wraps(post)
        def once(view: V, request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Response:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return post(view, request, *args, **kwargs)
            if not _KEY.fullmatch(key):
                raise Refused("invalid_idempotency_key")
            credential = credential_of(request)
            credential.check_may(scope)
            claim = _Claim(credential.organization_id, endpoint, key, _fingerprint(credential, request, kwargs))
            with transaction.atomic():
                earlier = claim.take()
                if earlier is not None:
                    return earlier
                response = post(view, request, *args, **kwargs)
                if response.status_code < 400:
                    claim.keep(response)
                else:
                    transaction.set_rollback(True)
            return response

        return once

    return decorate


class _Claim:
    """A key of an organization at an endpoint, in the transaction that is open."""

    def __init__(self, organization_id: UUID, endpoint: str, key: str, fingerprint: bytes) -> None:
        self._id = uuid7()
        self._organization_id, self._endpoint, self._key = organization_id, endpoint, key
        self._fingerprint = fingerprint

    def take(self) -> Response | None:
        """None: the key is ours. Else what it was answered before. Raises `Refused`."""
        if self._insert():
            return None
        held = IdempotentAnswer.objects.of(self._organization_id).get(endpoint=self._endpoint, key=self._key)
        if bytes(held.fingerprint) != self._fingerprint:
            raise Refused("invalid_idempotent_request", key=self._key)
        return Response(json.loads(unseal(held.answer)), status=held.status, headers={"Idempotent-Replayed": "true"})

    def keep(self, response: Response) -> None:
        answer = seal(JSONRenderer().render(response.data))
        IdempotentAnswer.objects.of(self._organization_id).filter(pk=self._id).update(
            status=response.status_code, answer=answer
        )

    def _insert(self) -> bool:
        now = timezone.now()
        values = (self._id, self._organization_id, self._endpoint, self._key, self._fingerprint, now, now - KEPT_FOR)
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{WAIT_FOR_ANOTHER}'")
            try:
                cursor.execute(_CLAIM, values)
            except OperationalError as error:
                if isinstance(error.__cause__, LockNotAvailable):
                    raise Refused("concurrent_idempotent_requests", key=self._key) from None
                raise
            is_ours = cursor.fetchone() is not None
            cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
        return is_ours


def _fingerprint(credential: Credential, request: Request, where: dict[str, Any]) -> bytes:
    """Of the body and of what the address names. A key of one domain is not told what one of another was answered."""
    place = json.dumps({name: str(value) for name, value in where.items()}, sort_keys=True)
    return digest_of_parts([request_fingerprint(request.data), place.encode(), credential.only_domain.encode()])
