"""A stream in a request."""

from typing import Any

from django.core.validators import RegexValidator

from accounts.rest.fields import StrictCharField
from domains.streams import STREAM_RULE, STREAM_WORD


class StreamField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(RegexValidator(rf"^{STREAM_WORD}$", f"{STREAM_RULE[:1].upper()}{STREAM_RULE[1:]}."))
