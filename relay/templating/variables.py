"""The variables of a template: declared with a type and a fallback, given with each sending. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_VARIABLES = 100  # declared
MOST_OCTETS = 64 * 1024  # given, as JSON
DEEPEST = 8
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,49}")

# What JSON calls them. A bool is an int in Python, but not here.
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}
TYPES = tuple(_KINDS)


@dataclass(frozen=True, slots=True)
class Variable:
    """Without a fallback it must be given."""

    key: str
    type: str = "string"  # of TYPES
    fallback: Any = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Variable:
        """From the form in which it is stored and sent."""
        return cls(row["key"], row["type"], row.get("fallback_value"))

    def row(self) -> dict[str, Any]:
        return {"key": self.key, "type": self.type, "fallback_value": self.fallback}


class VariablesError(Exception):
    """The variables given do not fit. `errors`: (key, what is wrong); the key is empty where all of them are meant."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {detail}" if key else detail for key, detail in errors))
        self.errors = tuple(errors)


def is_of_type(value: Any, type_: str) -> bool:
    return isinstance(value, _KINDS[type_]) and (type_ == "boolean" or not isinstance(value, bool))


def fill(declared: Iterable[Variable], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the template is rendered with: null counts as not given. Raises `VariablesError` naming all that is wrong."""
    check_given(given)
    filled = dict(given)
    errors = []
    for variable in declared:
        value = filled.get(variable.key)
        if value is None:
            value = filled[variable.key] = variable.fallback
        if value is None:
            errors.append((variable.key, "is required"))
        elif not is_of_type(value, variable.type):
            errors.append((variable.key, f"must be a {variable.type}"))
    if errors:
        raise VariablesError(errors)
    return filled


def check_given(given: Mapping[str, Any]) -> None:
    """Their names, size and depth, and that they are text that can be stored. Raises `VariablesError`."""
    try:
        octets = len(json.dumps(given, allow_nan=False))
    except (ValueError, RecursionError):
        raise VariablesError([("", "numbers must be finite and lists not nested endlessly")]) from None
    if octets > MOST_OCTETS:
        raise VariablesError([("", f"all together have {octets} octets as JSON; {MOST_OCTETS} are possible")])
    errors = [(key[:60], "is not a name: letters, digits, _ and -") for key in given if not KEY.fullmatch(key)]
    errors += [(key, wrong) for key, value in given.items() if (wrong := _what_is_wrong(value))]
    if errors:
        raise VariablesError(errors)


def _what_is_wrong(value: Any) -> str:
    level = [value]
    for _ in range(DEEPEST):
        if any(isinstance(item, str) and not _is_text(item) for item in level):
            return "holds a NUL or half a surrogate pair"
        if any(isinstance(item, int) and abs(item) > 1 << 63 for item in level):
            return "holds a number of more than 64 bits"
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]
        level += [key for item in nested if isinstance(item, dict) for key in item]
        if not level:
            return ""
    return f"is nested more than {DEEPEST} deep"


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
