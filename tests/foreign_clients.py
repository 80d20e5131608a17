"""Resend's own SDKs as they come from PyPI and npm, told nothing but a base URL and an API key.

Both are called in one way, so that a test is written once: `sdk.call("emails.send", {...}, {"idempotency_key": ...})`.
Names are the Python SDK's; the Node SDK gets them as it spells them.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import resend
from resend.exceptions import ResendError

from tests.platform import REPO

CLIENTS = Path(__file__).parent / "clients"
NODE_MODULES = REPO / ".cache" / "npm-clients" / "node_modules"  # .ci/run fills it


def need(found: object, what: str) -> None:
    """In CI every client is there; elsewhere a missing one is named and left out."""
    if not found:
        assert os.environ.get("CI") != "true", f"{what} is not installed"
        pytest.skip(f"{what} is not installed: see .ci/run")


def need_npm(package: str) -> None:
    need(shutil.which("node"), "node")
    need((NODE_MODULES / package).is_dir(), f"the npm package {package}")


@dataclass(frozen=True, slots=True)
class Answer:
    body: dict[str, Any]
    headers: dict[str, str]  # names in lower case


class SdkError(Exception):
    """What the SDK made of a refusal. `kind`: the class of the Python SDK's exception; the Node SDK has none."""

    def __init__(self, status: int, name: str, message: str, kind: str, headers: dict[str, str]) -> None:
        super().__init__(f"{status} {name}: {message}")
        self.status, self.name, self.message, self.kind, self.headers = status, name, message, kind, headers


class Sdk(Protocol):
    def call(self, name: str, *words: Any) -> Answer:
        """Raises SdkError."""
        ...

    def octets(self, content: bytes) -> Any:
        """A file's octets as a program hands them over as the content of an attachment."""
        ...


class PythonSdk:
    """Its base URL and key are globals of the module; see `python_sdk`."""

    def call(self, name: str, *words: Any) -> Answer:
        *rooms, method = name.split(".")
        room: Any = resend
        for part in rooms:
            room = getattr(room, "".join(word.capitalize() for word in part.split("_")))
        try:
            answer = dict(getattr(room, method)(*words))
        except ResendError as error:
            raise SdkError(
                int(error.code), error.error_type, error.message, type(error).__name__, _lower(error.headers)
            ) from error
        return Answer(answer, _lower(answer.pop("http_headers")))

    def octets(self, content: bytes) -> list[int]:
        return list(content)


@contextmanager
def python_sdk(base_url: str, api_key: str) -> Iterator[Sdk]:
    before = resend.api_url, resend.api_key
    resend.api_url, resend.api_key = base_url, api_key
    try:
        yield PythonSdk()
    finally:
        resend.api_url, resend.api_key = before


class NodeSdk:
    SPELLED = {
        "reply_to": "replyTo",
        "scheduled_at": "scheduledAt",
        "content_type": "contentType",
        "content_id": "contentId",
        "fallback_value": "fallbackValue",
        "open_tracking": "openTracking",
        "idempotency_key": "idempotencyKey",
        "batch_validation": "batchValidation",
    }
    ID_FIRST = {"api_keys.update", "templates.update"}  # Python: {"id": …, …}; Node: id, {…}

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def call(self, name: str, *words: Any) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        if name in self.ID_FIRST:
            words = (words[0]["id"], {key: value for key, value in words[0].items() if key != "id"}, *words[1:])
        spelled = name.replace("api_keys", "apiKeys")
        self._process.stdin.write(json.dumps([spelled, *map(self._spell, words)]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the Node program ended"
        answer = json.loads(line)
        if error := answer["error"]:
            raise SdkError(
                error["statusCode"] or 0, error["name"], error["message"], "", _lower(answer["headers"] or {})
            )
        return Answer(answer["data"], _lower(answer["headers"]))

    def octets(self, content: bytes) -> dict[str, str]:
        return {"$octets": base64.b64encode(content).decode()}

    def _spell(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.SPELLED.get(key, key): self._spell(inner) for key, inner in value.items()}
        return [self._spell(inner) for inner in value] if isinstance(value, list) else value


@contextmanager
def node_sdk(base_url: str, api_key: str) -> Iterator[Sdk]:
    """One Node program for all calls."""
    need_npm("resend")
    with subprocess.Popen(
        ["node", str(CLIENTS / "resend.cjs"), base_url, api_key],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(NODE_MODULES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield NodeSdk(process)
        finally:
            process.kill()


SDKS = {"python": python_sdk, "node": node_sdk}


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in dict(headers).items()}
