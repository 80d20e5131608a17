"""The short cut reads a request as the serializer does, or leaves it to the serializer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rest.plain_requests import read_plain
from relay.rest.requests import _SEND_EMAIL
from relay.submission.options import METADATA_KEYS, MOST_TAGS

WORDS = st.text(max_size=4) | st.sampled_from(
    ["", " ", "a", " a", "a\n", "a\0", "\u00a0a", "\u2028", "a" * 1000, "a" * 5001]
)
ODD = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.just([]) | st.just({})
TEXTS = WORDS | ODD
ADDRESSES = TEXTS | st.lists(TEXTS, max_size=3) | st.sampled_from([["a"] * 1000, ["a"] * 1001, ["a" * 1001]])
TAG_WORDS = st.sampled_from(["kind", "order-1", " kind", "a\n", "a.b", "", "a" * 256, "a" * 257]) | ODD
TAGS = st.dictionaries(st.sampled_from(["name", "value", "names"]), TAG_WORDS) | ODD
MAPS = st.dictionaries(WORDS, TEXTS, max_size=3) | ODD
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "from": TEXTS,
        "to": ADDRESSES,
        "subject": TEXTS | st.sampled_from(["a" * 2000, "a" * 2001]),
        "text": TEXTS,
        "html": TEXTS,
        "cc": ADDRESSES,
        "bcc": ADDRESSES,
        "reply_to": ADDRESSES,
        "headers": MAPS,
        "tags": st.lists(TAGS, max_size=2) | ODD | st.integers(49, 52).map(lambda n: [{"name": "a", "value": "b"}] * n),
        "metadata": MAPS | st.sampled_from([{"a" * 100: "b"}, {"a" * 101: "b"}, {"a": "b" * 1001}]),
        "stream": st.sampled_from(["news", "a\n", " news", "News", "", "n" * 40, "n" * 41]) | ODD,
        "expires_in": st.just(3600),
        "form": st.just("a typo"),
    },
)
GOOD = {
    "from": "Ada <ada@example.com>",
    "to": ["bob@example.net"],
    "subject": " Your receipt ",
    "text": "Thank you.\n",
    "html": "",
    "cc": "eve@example.net",
    "bcc": [],
    "headers": {"X-Order": "4711", "X-Nothing": ""},
    "tags": [{"name": "kind", "value": "receipt"}] * MOST_TAGS,
    "metadata": {f"order {number}": "4711" for number in range(METADATA_KEYS)},
    "stream": "news",
}


def check(data: Any) -> bool:
    """Whether the short cut was taken; then the serializer must agree."""
    asked = read_plain(data)
    if asked is not None:
        assert asked == _SEND_EMAIL.run_validation(data)
    return asked is not None


@given(REQUESTS | ODD)
def test_both_agree(data: Any) -> None:
    check(data)


@given(st.sampled_from(sorted(GOOD)), REQUESTS)
def test_both_agree_about_what_is_good_but_for_one_field(name: str, odd: dict[str, Any]) -> None:
    check(GOOD | {name: odd[name]} if name in odd else {key: GOOD[key] for key in GOOD if key != name})


def test_what_is_usual_goes_by_the_short_cut() -> None:
    assert check(GOOD)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metadata", {f"order {number}": "" for number in range(METADATA_KEYS + 1)}),
        ("template", {"id": "welcome"}),
        ("to", []),
        ("to", "bob@example.net "),
        ("text", None),
        ("attachments", []),
    ],
)
def test_what_is_unusual_does_not(name: str, value: Any) -> None:
    assert read_plain(GOOD | {name: value}) is None
