"""What befalls any text on its way into DNS, and how a stranger's text is shown.

Everything here is fed with what strangers publish: the work grows with the length of a value, never with its square.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from domains.diagnosis.case import Reading, fault
from domains.diagnosis.table import Diagnosis

NAMED_SERVERS = 4  # in a sentence
SHOWN_CHARACTERS = 80  # of a stranger's text in a sentence of ours

QUOTES = "The value holds quotation marks as a part of the text. Remove them: the DNS form adds its own."
BACKSLASHES = "There are backslashes in the value. Remove them, and paste it as it is shown."
LETTERS = (
    "Capital letters have become small ones, or small ones capitals, and the difference counts here. Paste the value anew with "
    "the copy button."
)
QUOTATION_MARKS = "\"“”„«»'‘’"


def spoilt(value: str, expected: str) -> Reading | None:
    """What happened to a value that must be equal to the one expected, and is not."""
    if unquoted(value) == expected:
        return fault(Diagnosis.QUOTES_IN_VALUE, QUOTES)
    bare = solid(value)
    if bare == solid(expected):
        return fault(Diagnosis.SPACES_IN_VALUE, spaces_in(value))
    if bare.replace("\\", "") == solid(expected):
        return fault(Diagnosis.BACKSLASHES_IN_VALUE, BACKSLASHES)
    if bare.lower() == solid(expected).lower():
        return fault(Diagnosis.LETTERS_CHANGED, LETTERS)
    if expected in value or expected in unquoted(value):
        return fault(Diagnosis.EXTRA_TEXT, extra_in(value, expected))
    return None


def spaces_in(value: str) -> str:
    odd = sorted({letter for letter in value if is_space(letter)})
    names = ", ".join(dict.fromkeys(_name_of_space(letter) for letter in odd[:4]))
    return (
        f"The value holds characters that cannot be seen and do not belong there ({names}). Delete it and paste it anew "
        "with the copy button."
    )


def _name_of_space(letter: str) -> str:
    if letter == " ":
        return "a space"
    if letter in "\r\n":
        return "a line break"
    if letter == "\t":
        return "a tab"
    return f"U+{ord(letter):04X}"


def extra_in(value: str, expected: str) -> str:
    before, _, after = value.partition(expected)
    extra = [shown(text.strip()) for text in (before, after) if text.strip()]
    more = f" ({' and '.join(f'“{text}”' for text in extra)})" if extra else ""
    return f"The value is there with other text around it{more}. Leave only the value shown."


def is_space(letter: str) -> bool:
    # Zs: spaces; Cc: control characters; Cf: what has no shape, such as the zero width space.
    return letter.isspace() or unicodedata.category(letter) in {"Zs", "Cc", "Cf"}


def solid(text: str) -> str:
    """Without anything that cannot be seen."""
    return "".join(letter for letter in text if not is_space(letter))


def unquoted(text: str) -> str:
    """Without the quotation marks of a zone file that ended up inside the text, joined where they split it."""
    return re.sub(r'"\s*"', "", text).strip(QUOTATION_MARKS + " \t\r\n").strip()


def shown(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """A stranger's text inside a sentence: short, on one line, without what cannot be seen."""
    line = "".join(" " if is_space(letter) else letter for letter in text[: most + 1])
    return line if len(line) <= most else f"{line[:most]}…"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, of which strangers chose number and text."""
    unique = [shown(name) for name in dict.fromkeys(names) if name]
    named = unique[:NAMED_SERVERS]
    if len(unique) > NAMED_SERVERS:
        named.append(f"{len(unique) - NAMED_SERVERS} more")
    if len(named) < 2:
        return named[0] if named else "some"
    return f"{', '.join(named[:-1])} and {named[-1]}"
