"""What requests are read with: strict about names and types, so that a typo is told and not swallowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from accounts.catalogue import Refused

ADDRESS_LENGTH = 1000  # of a mailbox, its name included


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown fields by name, so that a typo is told and not swallowed."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError({name: ["There is no such field."] for name in unknown})
        return super().to_internal_value(data)


class StrictCharField(serializers.CharField):
    """Text only: DRF would turn numbers into text."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Half a surrogate pair does not come through `accounts.rest.bodies`, and DRF looks for it in Python, letter by letter.
        self.validators = [v for v in self.validators if not isinstance(v, ProhibitSurrogateCharactersValidator)]

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a string.")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A JSON integer only: DRF would take text and fractions."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:  # a bool is an int, too
            raise serializers.ValidationError("Must be a whole number.")
        return super().to_internal_value(data)


class SecondsField(serializers.IntegerField):
    """A JSON integer only: DRF would take text and fractions."""

    def __init__(self, *, at_least: timedelta, at_most: timedelta, **kwargs: Any) -> None:
        bounds = int(at_least.total_seconds()), int(at_most.total_seconds())
        super().__init__(min_value=bounds[0], max_value=bounds[1], **kwargs)

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:  # a bool is an int, too
            raise serializers.ValidationError("Must be a whole number of seconds.")
        return data


class AddressesField(serializers.ListField):
    """One address or a list of them, as Resend takes either."""

    child = StrictCharField(max_length=ADDRESS_LENGTH)

    def to_internal_value(self, data: Any) -> list[str]:
        return cast(list[str], super().to_internal_value([data] if isinstance(data, str) else data))


class MomentField(serializers.DateTimeField):
    """ISO 8601 with its zone: a time without one would be a different moment to each reader."""

    def to_internal_value(self, value: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            pass
        raise serializers.ValidationError(
            "Write a time with its zone, as in 2026-11-25T10:00:00Z (a + in an address is written %2B)."
        )


class StrictUUIDField(serializers.UUIDField):
    """A UUID's text only: DRF would take numbers."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a UUID.")
        return super().to_internal_value(data)


class SameIdField(StrictUUIDField):
    """The id that stands in the address already: Resend's Python SDK says it in the body of a PATCH, too. Never required.

    The serializer is given it as `context={"id": …}`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, help_text="The id in the address, or nothing.", **kwargs)

    def to_internal_value(self, data: Any) -> UUID:
        value: UUID = super().to_internal_value(data)
        if value != self.context["id"]:
            raise serializers.ValidationError("Is not the id in the address.")
        return value


class FixedField(serializers.Field[Any, Any, Any, Any]):
    """A choice that Resend has and we do not: only what we do anyway is taken. `otherwise`: what to tell of other values."""

    def __init__(self, value: bool | str, otherwise: str) -> None:
        super().__init__(required=False)
        self.value, self.otherwise = value, otherwise

    def to_representation(self, value: Any) -> Any:
        return value

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not type(self.value) or data != self.value:
            raise serializers.ValidationError(self.otherwise)
        return self.value


class FixedFieldSchema(OpenApiSerializerFieldExtension):
    target_class = FixedField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        value = self.target.value
        return {"type": "boolean" if isinstance(value, bool) else "string", "const": value}


class ObjectField(serializers.CharField):
    """The member `object` of an answer: what it is."""

    def __init__(self, name: str) -> None:
        super().__init__(read_only=True, help_text=f"Always `{name}`.")
        self.name = name

    def get_attribute(self, instance: Any) -> str:
        return self.name


@contextmanager
def at_field(name: str) -> Iterator[None]:
    """A refusal raised within is about this member of the body, and says so."""
    try:
        yield
    except Refused as refused:
        refused.errors = refused.errors or [{"pointer": f"/{name}", "detail": refused.detail}]
        raise
