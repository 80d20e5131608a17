"""The OpenAPI document is complete, and the reference page shows all of it."""

import json
from typing import Any

import pytest
from django.test import Client
from openapi_spec_validator import OpenAPIV31SpecValidator

from accounts.catalogue import REFUSALS
from plugsend.api_docs import document

DOCUMENT: dict[str, Any] = json.loads(document())
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method in {"get", "post", "put", "patch", "delete"}
]
OPEN = {
    "email_attachments_download",
    "api_keys_report_leak",
}  # the link, or the key that was found, is authority enough
NAMES = [operation["operationId"] for _, _, operation in OPERATIONS]


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_an_operation_is_told_whole(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation.get("security") == (None if operation["operationId"] in OPEN else [{"apiKey": []}])
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    shared = DOCUMENT["components"]["responses"]
    answers = {
        status: shared[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
        for status, answer in operation["responses"].items()
    }
    expected = {"406", "429", "500", "503"}
    if "security" in operation:
        expected |= {"401", "403"}
    if "requestBody" in operation:
        expected |= {"400", "413", "415", "422"}
    if "{" in path:
        expected |= {"404"}
    assert expected <= answers.keys()
    assert [status for status in answers if status.startswith("2")]
    for status, answer in answers.items():
        assert {"X-Request-Id", "RateLimit-Remaining"} <= answer["headers"].keys()
        assert answer["description"]
        if status >= "4":
            assert answer["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    headers = {p["name"] for p in operation.get("parameters", []) if p["in"] == "header"}
    if method == "post" and "{" not in path and "security" in operation:  # it creates something
        assert "Idempotency-Key" in headers


def test_examples_of_refusals_are_what_is_answered() -> None:
    examples = DOCUMENT["components"]["examples"]
    assert {"invalid_credentials", "rate_limited", "sender_domain_unknown", "nothing_to_act_on"} <= examples.keys()
    problem = DOCUMENT["components"]["schemas"]["Problem"]
    for code, example in examples.items():
        assert example["value"]["status"] == REFUSALS[code].http
        assert set(problem["required"]) <= example["value"].keys() <= problem["properties"].keys()


def test_it_is_served_and_need_not_be_fetched_twice() -> None:
    answer = Client().get("/api/v1/openapi.json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.json() == DOCUMENT
    again = Client().get("/api/v1/openapi.json", headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.django_db
def test_the_reference_shows_every_operation_and_needs_nothing_from_elsewhere() -> None:
    answer = Client().get("/api/v1/reference")
    page = answer.content.decode()
    assert answer.status_code == 200
    for name in NAMES:
        assert f'id="{name}"' in page
    assert 'href="/errors/rate_limited/"' in page
    assert "expires_in" in page
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    assert 'src="http' not in page
