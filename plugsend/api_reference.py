"""The OpenAPI document in the order in which people read it, for the reference page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

METHODS = ["post", "get", "patch", "put", "delete"]
DEEPEST = 4  # levels of fields that are shown
FORMATS = {"uuid": "UUID", "date-time": "date and time", "email": "address", "uri": "URL"}
MANY = {"string": "strings", "integer": "integers", "number": "numbers", "boolean": "booleans", "object": "objects"}


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter, or a field of a body; `level` says inside how many others."""

    name: str
    kind: str
    text: str
    is_required: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    text: str
    members: list[Member]
    example: str


@dataclass(frozen=True, slots=True)
class Refusal:
    status: str
    code: str
    title: str


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    title: str
    text: str
    parameters: list[Member]
    body: list[Member]
    command: str
    answers: list[Answer]
    refusals: list[Refusal]


@dataclass(frozen=True, slots=True)
class Group:
    tag: str
    title: str
    text: str
    operations: list[Operation] = field(default_factory=list)


def read(document: dict[str, Any]) -> list[Group]:
    return _Reader(document).groups()


class _Reader:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def groups(self) -> list[Group]:
        groups = {
            tag["name"]: Group(tag["name"], tag.get("x-displayName", tag["name"]), tag.get("description", ""))
            for tag in self._document["tags"]
        }
        for path, operations in self._document["paths"].items():
            for method in filter(operations.__contains__, METHODS):
                operation = operations[method]
                tag = operation["tags"][0]
                group = groups.setdefault(tag, Group(tag, tag.capitalize(), ""))
                group.operations.append(self._operation(method, path, operation))
        return list(groups.values())

    def _operation(self, method: str, path: str, operation: dict[str, Any]) -> Operation:
        media = _json(operation.get("requestBody", {}))
        responses = {status: self._resolve(answer) for status, answer in operation["responses"].items()}
        answers = {status: answer for status, answer in responses.items() if status < "4"}
        refused = {status: answer for status, answer in responses.items() if status >= "4"}
        return Operation(
            id=operation["operationId"],
            method=method.upper(),
            path=path,
            title=operation["summary"],
            text=operation.get("description", ""),
            parameters=[
                Member(p["name"], self._kind(p["schema"]), p.get("description", ""), p.get("required", False))
                for p in sorted(operation.get("parameters", []), key=lambda p: ["path", "query", "header"].index(p["in"]))
            ],
            body=list(self._members(media.get("schema", {}))),
            command=self._command(method, path, self._example(media)),
            answers=[
                Answer(
                    status, answer["description"], list(self._members(_json(answer).get("schema", {}))),
                    _pretty(self._example(_json(answer))),
                )
                for status, answer in answers.items()
            ],
            refusals=[
                Refusal(status, code, self._resolve(example)["value"]["title"])
                for status, answer in refused.items()
                for media in answer.get("content", {}).values()
                for code, example in media.get("examples", {}).items()
                if "code" in self._resolve(example).get("value", {})
            ],
        )  # fmt: skip

    def _resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            found: Any = self._document
            for name in node["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            node = found
        return node

    def _members(self, schema: dict[str, Any], level: int = 0) -> Iterator[Member]:
        """Of an object, or of the objects in a list; where there are several forms, of the first."""
        schema = self._resolve(schema)
        for several in ("oneOf", "anyOf", "allOf"):
            if several in schema and "properties" not in schema:
                schema = self._resolve(schema[several][0])
        if "items" in schema:
            schema = self._resolve(schema["items"])
        required = schema.get("required", [])
        properties = schema.get("properties", {})
        for name in sorted(properties, key=lambda name: name not in required):
            member = self._resolve(properties[name])
            text = properties[name].get("description") or member.get("description", "")
            yield Member(name, self._kind(properties[name]), _without_choices(text), name in required, level)
            if level + 1 < DEEPEST:
                yield from self._members(member, level + 1)

    def _kind(self, schema: dict[str, Any]) -> str:
        schema = self._resolve(schema)
        for several in ("oneOf", "anyOf"):
            if several in schema:
                return " or ".join(dict.fromkeys(self._kind(one) for one in schema[several]))
        if "allOf" in schema:
            return self._kind(schema["allOf"][0])
        if "enum" in schema:
            return " or ".join(str(value) for value in schema["enum"])
        types = schema.get("type", "any value")
        words = [self._word(word, schema) for word in ([types] if isinstance(types, str) else types)]
        return " or ".join(words) + _bounds(schema)

    def _word(self, word: str, schema: dict[str, Any]) -> str:
        if word == "array":
            items = self._resolve(schema.get("items", {}))
            return f"list of {MANY.get(str(items.get('type')), 'values')}"
        return FORMATS.get(schema.get("format", ""), word) if word == "string" else word

    def _example(self, media: dict[str, Any]) -> Any:
        examples = [self._resolve(example) for example in media.get("examples", {}).values()]
        return examples[0].get("value") if examples else media.get("example")

    def _command(self, method: str, path: str, body: Any) -> str:
        lines = [f"curl {self._document['servers'][0]['url']}{path}", '-H "Authorization: Bearer $PLUGSEND_API_KEY"']
        if method not in {"get", "post"} or (method == "post" and body is None):
            lines[0] += f" -X {method.upper()}"
        if body is not None:
            quoted = _pretty(body).replace("'", "'\\''")
            lines += ['-H "Content-Type: application/json"', f"-d '{quoted}'"]
        return " \\\n  ".join(lines)


def _json(holder: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = holder.get("content", {}).get("application/json", {})
    return found


def _pretty(value: Any) -> str:
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _bounds(schema: dict[str, Any]) -> str:
    """The limits that a reader wants to know, in words."""
    if "minimum" in schema and "maximum" in schema:
        return f", {schema['minimum']} to {schema['maximum']}"
    for name, unit in (("maxLength", "characters"), ("maxItems", "entries")):
        if name in schema:
            return f", at most {schema[name]} {unit}"
    return ""


def _without_choices(text: str) -> str:
    """drf-spectacular lists the choices in the description; they stand in the kind already."""
    return text.partition("* `")[0].strip()
