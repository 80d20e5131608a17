"""A stream in a request."""

from typing import Any

from rest_framework import serializers

from domains.streams import STREAM_RULE, STREAM_WORD


class StreamField(serializers.RegexField):
    def __init__(self, **kwargs: Any) -> None:
        said = f"{STREAM_RULE[:1].upper()}{STREAM_RULE[1:]}."
        super().__init__(rf"^{STREAM_WORD}$", error_messages={"invalid": said}, **kwargs)
