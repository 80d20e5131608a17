"""What the page of a template takes and shows: fields as they were typed, the variables, and what comes of it all. No rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from accounts.catalogue import Refused
from relay.models import Template, TemplateVersion
from relay.rest.template_serializers import UpdateTemplateSerializer
from relay.templates import TemplateContent, content_of
from relay.templating import press
from relay.templating.press import Rendered, TooCostly, Unfit, Use
from relay.templating.problems import PARTS, Problem
from relay.templating.published import too_costly
from relay.templating.variables import MOST_VARIABLES, Variable, VariablesError, check_given, fill

_FIELDS = ("name", "alias", "sender", "reply_to", "subject", "html", "text")
_SERIALIZED = {"sender": "from"}  # what REST calls them
FIELD_LENGTH = 78  # from which on a header field is folded (RFC 5322, 2.1.1)
_PLACEHOLDERS = {"number": 1, "boolean": True}


@dataclass(slots=True)
class Row:
    """A variable as the page lists it. `type` is empty where it is not declared; the others are as they were typed."""

    key: str
    type: str = ""
    fallback: str = ""
    test: str = ""
    uses: list[Use] = field(default_factory=list)
    error: str = ""

    @property
    def is_long(self) -> bool:
        return self.type in ("list", "object") or len(self.test) > 60

    @property
    def places(self) -> str:
        """subject, HTML line 3"""
        names = {"subject": "subject", "html": "HTML", "text": "text"}
        return ", ".join(names[use.part] + (f" line {use.line}" if use.part != "subject" else "") for use in self.uses)


@dataclass(slots=True)
class Entered:
    """What stands in the page's fields."""

    fields: dict[str, str]
    rows: list[Row]

    @classmethod
    def posted(cls, given: QueryDict) -> Entered:
        # Browsers send line breaks as CRLF (HTML, 4.10.21.4).
        fields = {name: given.get(name, "").replace("\r\n", "\n") for name in _FIELDS}
        columns = [given.getlist(f"variable_{name}") for name in ("key", "type", "fallback", "test")]
        rows = [
            Row(key.strip(), type_, fallback, test.replace("\r\n", "\n"))
            for key, type_, fallback, test in list(zip(*columns, strict=False))[: 2 * MOST_VARIABLES]
            if key.strip()
        ]
        return cls(fields, rows)

    @classmethod
    def stored(cls, template: Template, version: TemplateVersion) -> Entered:
        content = content_of(version)
        fields = {
            "name": template.name, "alias": template.alias, "sender": content.sender,
            "reply_to": ", ".join(content.reply_to), "subject": content.subject, "html": content.html, "text": content.text,
        }  # fmt: skip
        tests = dict(template.test_values)
        rows = []
        for one in content.variables:
            fallback = "" if one.fallback is None else _typed(one.fallback, one.type)
            test = _typed(tests.pop(one.key), one.type) if one.key in tests else ""
            rows.append(Row(one.key, one.type, fallback, test))
        return cls(fields, rows + [Row(key, test=_typed(value)) for key, value in tests.items()])

    @property
    def source(self) -> press.Source:
        return press.Source(self.fields["subject"], self.fields["html"], self.fields["text"])

    @property
    def keys(self) -> str:
        """By which the page tells whether its list of variables is still the right one."""
        return ",".join(f"{row.key}:{row.type}:{row.error}:{len(row.uses)}" for row in self.rows)

    # ---- read

    def variables(self) -> tuple[Variable, ...]:
        """Those that are declared. Where a fallback cannot be read, its row says so."""
        found = []
        for row in self.rows:
            if row.type:
                value = _read(row.fallback, row.type) if row.fallback.strip() else None
                if isinstance(value, Unreadable):
                    row.error = f"The fallback {value}"
                    value = None
                found.append(Variable(row.key, row.type, value))
        return tuple(found)

    def test_values(self) -> dict[str, Any]:
        """By key, of those that have one. Where one cannot be read, its row says so."""
        found: dict[str, Any] = {}
        for row in self.rows:
            if row.test.strip():
                value = _read(row.test, row.type)
                if isinstance(value, Unreadable):
                    row.error = f"The test value {value}"
                else:
                    found[row.key] = value
        return found

    def list_uses(self, uses: Sequence[Use], *, is_whole: bool) -> None:
        """Rows for what the source asks for. `is_whole`: all parts could be read, so that what else is undeclared can go."""
        by_key = {row.key: row for row in self.rows}
        for row in self.rows:
            row.uses = []
        for use in uses:
            if use.name not in by_key:
                by_key[use.name] = Row(use.name)
            by_key[use.name].uses.append(use)
        self.rows = [row for row in by_key.values() if row.uses or row.type or not is_whole]

    # ---- checked and kept

    def check(self) -> tuple[UpdateTemplateSerializer, dict[str, list[str]]]:
        """As REST checks it, and what is wrong by field."""
        variables = self.variables()
        try:
            check_given(self.test_values())
            told: list[str] = []
        except VariablesError as error:
            told = [f"Test values: {error}."]
        errors = {"variables": [f"{row.key}: {row.error}" for row in self.rows if row.error] + told}
        data: dict[str, Any] = {_SERIALIZED.get(name, name): self.fields[name] for name in _FIELDS}
        data["reply_to"] = _addresses(self.fields["reply_to"])
        data["variables"] = [variable.row() for variable in variables]
        serializer = UpdateTemplateSerializer(data=data)
        if not serializer.is_valid():
            ours = {theirs: name for name, theirs in _SERIALIZED.items()}
            for name, wrong in serializer.errors.items():
                errors.setdefault(ours.get(name, name), []).extend(_flat(wrong))
        return serializer, {name: texts for name, texts in errors.items() if texts}


def changes_to(version: TemplateVersion, serializer: UpdateTemplateSerializer) -> dict[str, Any]:
    """Of what was checked, what the version does not say already."""
    stands = content_of(version)
    return {name: value for name, value in serializer.changes().items() if getattr(stands, name) != value}


# ---- What comes of it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """`rendered` is None where there are problems. `made_up`: variables without a value, for which something stands.

    `undeclared`: because of which it could not be published: whoever declares some variables declares all.
    """

    problems: tuple[Problem, ...]
    rendered: Rendered | None
    values: dict[str, Any] = field(default_factory=dict)
    made_up: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()


def look(entered: Entered) -> Look:
    """Checks and fills in what was entered, by the real press; lists the variables in `entered`. Raises `Refused`."""
    try:
        checked = press.check(entered.source)
    except TooCostly:
        raise too_costly("The template") from None
    entered.list_uses(checked.uses, is_whole=not checked.problems)
    variables, given = entered.variables(), entered.test_values()
    if checked.problems:
        return Look(checked.problems, None)
    made_up = _made_up(entered.rows, given)
    try:
        rendered = press.render(entered.source, fill(variables, given | made_up))
    except VariablesError as error:
        return Look(tuple(Problem("variables", f"{key}: {told}" if key else told) for key, told in error.errors), None)
    except Unfit as error:
        return Look((error.problem,), None)
    except TooCostly:
        raise too_costly("The template") from None
    undeclared = tuple(row.key for row in entered.rows if row.uses and not row.type) if variables else ()
    return Look((), rendered, given | made_up, tuple(made_up), undeclared)


def _made_up(rows: Iterable[Row], given: Mapping[str, Any]) -> dict[str, Any]:
    """For those that are printed; a list or an object cannot be guessed."""
    return {
        row.key: _PLACEHOLDERS.get(row.type, f"[{row.key}]")
        for row in rows
        if row.uses and row.type not in ("list", "object") and row.key not in given and not row.fallback.strip()
    }


def problems_of(refused: Refused) -> list[Problem]:
    """A refusal's errors with their places, as `look` tells them."""
    found = []
    for error in refused.errors or ():
        part = error["pointer"].strip("/")
        if part in PARTS:
            found.append(Problem(part, error["detail"], int(error.get("line", 0)), int(error.get("column", 0))))
    return found


def excerpt(source: press.Source, problem: Problem) -> str:
    """The line that a problem is about."""
    lines = str(getattr(source, problem.part, "")).splitlines()
    return lines[problem.line - 1].strip()[:120] if 0 < problem.line <= len(lines) else ""


def how_to_send(template: Template, entered: Entered, values: Mapping[str, Any]) -> dict[str, str]:
    """`rest`: the body of a request; `smtp`: the header fields of a message. Both with the test values."""
    reference = template.alias or str(template.pk)
    used = {row.key: values[row.key] for row in entered.rows if row.uses and row.key in values}
    body: dict[str, Any] = {} if entered.fields["sender"] else {"from": "hello@yourdomain.com"}
    body |= {"to": "ada@example.com", "template": {"id": reference, "variables": used}}
    # White space between the tokens of JSON is where a long field may be folded (RFC 5322, 2.2.3).
    folded = json.dumps(used, indent=1 if len(json.dumps(used)) > FIELD_LENGTH else None).replace("\n", "\n ")
    fields = [f"X-PlugSend-Template: {reference}"] + ([f"X-PlugSend-Variables: {folded}"] if used else [])
    return {"rest": json.dumps(body, indent=2, ensure_ascii=False), "smtp": "\n".join(fields)}


# ---- Values as they are typed ----------------------------------------------------------------------------------------


EMPTY_TEXT = '""'  # how it is typed: a field without anything says that there is no value


class Unreadable(Exception):
    """Why it is no value; follows “The test value”."""


def _typed(value: Any, type_: str = "") -> str:
    """As people type it, so that `_read` gives the same."""
    if isinstance(value, str) and value and (type_ == "string" or _read(value, type_) == value):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2 if isinstance(value, dict | list) else None)


def _read(text: str, type_: str) -> Any:
    """`type_` empty: JSON where it is some, else a text. Returns `Unreadable` where it does not fit."""
    if type_ == "string":
        return "" if text.strip() == EMPTY_TEXT else text
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if not type_:
            return text
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        return Unreadable(f"is not {_AS_JSON[type_]}{where}.")
    if type_ == "boolean" and not isinstance(value, bool):
        return Unreadable(f"is not {_AS_JSON[type_]}.")
    return value


_AS_JSON = {
    "number": "a number, such as 42 or 9.5",
    "boolean": "true or false",
    "list": 'a list in JSON, such as ["a", "b"]',
    "object": 'an object in JSON, such as {"total": 42}',
}


def _no_constant(text: str) -> Any:
    raise ValueError(text)  # NaN and Infinity are no JSON


def _addresses(text: str) -> list[str]:
    """Split at commas outside of quotes and angle brackets."""
    found, depth, is_quoted, at = [], 0, False, 0
    for index, character in enumerate(text):
        if character == '"':
            is_quoted = not is_quoted
        elif character in "<>" and not is_quoted:
            depth += 1 if character == "<" else -1
        elif character == "," and not is_quoted and depth <= 0:
            found.append(text[at:index])
            at = index + 1
    return [one.strip() for one in [*found, text[at:]] if one.strip()]


def _flat(told: Any) -> Iterable[str]:
    """DRF nests errors like the data."""
    if isinstance(told, Mapping):
        for name, inner in told.items():
            for text in _flat(inner):
                yield text if name in ("non_field_errors", 0) else f"{name}: {text}"
    elif isinstance(told, list | tuple):
        for inner in told:
            yield from _flat(inner)
    else:
        yield str(told)


BLANK = TemplateContent(
    subject="Hello {{ name }}",
    html="<!doctype html>\n<html>\n<body>\n  <p>Hello {{ name }},</p>\n  <p></p>\n</body>\n</html>\n",
)
