"""The wire shape of `domains.spf.reading.SpfReading`."""

from __future__ import annotations

from typing import Any, get_args

from drf_spectacular.helpers import lazy_serializer
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from domains.spf.words import FINDINGS, PROBLEMS, Level


class SpfFindingSerializer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=list(FINDINGS))
    level = serializers.ChoiceField(
        choices=get_args(Level), help_text="error: receivers can make no use of the record, or it protects nothing."
    )
    text = serializers.CharField(help_text="What it means, and what to do.")


class SpfLookupSerializer(serializers.Serializer[Any]):
    """A term of the record for which receivers ask DNS."""

    term = serializers.CharField(help_text="As it stands in the record: include:_spf.example.com.")
    domain = serializers.CharField(help_text="What is asked for; empty: it depends on each message.")
    number = serializers.IntegerField(help_text="Which lookup it is; receivers stop after 10.")
    lookups = serializers.IntegerField(help_text="With those below it.")
    record = serializers.CharField(help_text="What an include or a redirect leads to.")
    problem = serializers.ChoiceField(choices=["", *PROBLEMS])
    inside = serializers.SerializerMethodField(help_text="The lookups of that record.")

    @extend_schema_field(lazy_serializer("domains.spf.serializers.SpfLookupSerializer")(many=True))
    def get_inside(self, lookup: dict[str, Any]) -> list[dict[str, Any]]:
        inside: list[dict[str, Any]] = lookup["inside"]
        return inside


class SpfSerializer(serializers.Serializer[Any]):
    """The SPF record of the domain itself, on which PlugSend’s mail does not depend (RFC 7208)."""

    record = serializers.CharField(help_text="Empty: there is none, or more than one.")
    lookups = serializers.IntegerField(help_text="DNS lookups that the record takes; 10 are allowed.")
    void_lookups = serializers.IntegerField(help_text="Those that lead to nothing; 2 are allowed.")
    findings = SpfFindingSerializer(many=True)
    tree = SpfLookupSerializer(many=True)
    checked_at = serializers.DateTimeField()
