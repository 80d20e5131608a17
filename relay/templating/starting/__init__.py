"""Templates to begin with: a subject, HTML for light and dark and for phones, a text, and values to try them with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from relay.templating.variables import Variable

HERE = Path(__file__).parent
_INDENT = " " * 10  # of `<!-- body -->` in layout.html


@dataclass(frozen=True, slots=True)
class Start:
    """`test_values` go with `variables`; what is only printed where it is given has no place in them."""

    code: str
    name: str
    what_for: str
    subject: str
    preheader: str
    foot: str
    variables: tuple[Variable, ...]
    test_values: dict[str, Any]

    @property
    def html(self) -> str:
        return _html(self)

    @property
    def text(self) -> str:
        return (HERE / f"{self.code}.txt").read_text()


@cache
def _read(name: str) -> str:
    return (HERE / name).read_text()


def _html(start: Start) -> str:
    body = _read(f"{start.code}.html").rstrip("\n").replace("\n", f"\n{_INDENT}")
    parts = {"preheader": start.preheader, "body": body, "foot": start.foot}
    html = _read("layout.html")
    for part, text in parts.items():
        html = html.replace(f"<!-- {part} -->", text)
    return html


COMPANY = Variable("company", "string", "Acme")
_YOU_ASKED = "{{ company }} sends you this because somebody used your address there."

STARTS = {
    start.code: start
    for start in (
        Start(
            code="receipt",
            name="Receipt",
            what_for="What was bought, what it cost, where to see the order",
            subject="Your receipt from {{ company }}, order {{ order.number }}",
            preheader="Thank you, {{ name }}. {{ order.total }} was paid.",
            foot="Questions? Just reply to this mail.",
            variables=(
                COMPANY,
                Variable("name", "string", "there"),
                Variable("order", "object"),
                Variable("items", "list"),
            ),
            test_values={
                "company": "Acme",
                "name": "Ada",
                "order": {
                    "number": "A-1042", "total": "€ 42.50", "card": "Visa ending 4242",
                    "url": "https://acme.example/orders/A-1042",
                },
                "items": [
                    {"name": "Earl Grey, 250 g", "quantity": 2, "price": "€ 18.00"},
                    {"name": "Teapot, blue", "quantity": 1, "price": "€ 24.50"},
                ],
            },
        ),
        Start(
            code="sign_in_code",
            name="Sign-in code",
            what_for="A short code that proves an address",
            subject="{{ code }} is your code for {{ company }}",
            preheader="It works for {{ minutes }} minutes.",
            foot=_YOU_ASKED,
            variables=(COMPANY, Variable("code", "string"), Variable("minutes", "number", 10)),
            test_values={"company": "Acme", "code": "492 817", "minutes": 10},
        ),
        Start(
            code="welcome",
            name="Welcome",
            what_for="The first mail after signing up, with the next steps",
            subject="Welcome to {{ company }}, {{ name }}",
            preheader="Three steps, and you are set up.",
            foot="Questions? Just reply to this mail.",
            variables=(
                COMPANY, Variable("name", "string", "there"), Variable("url", "string"), Variable("steps", "list", []),
            ),
            test_values={
                "company": "Acme", "name": "Ada", "url": "https://acme.example/start",
                "steps": ["Add your shop’s address", "Choose what you sell", "Invite whoever helps you"],
            },
        ),
        Start(
            code="password_reset",
            name="Password reset",
            what_for="A link to choose a new password",
            subject="Choose a new password for {{ company }}",
            preheader="The link works once, for {{ hours }} hours.",
            foot=_YOU_ASKED,
            variables=(COMPANY, Variable("name", "string", "there"), Variable("url", "string"), Variable("hours", "number", 2)),
            test_values={"company": "Acme", "name": "Ada", "url": "https://acme.example/reset/x7Kq2", "hours": 2},
        ),
        Start(
            code="invitation",
            name="Invitation",
            what_for="Somebody asks somebody else to join them",
            subject="{{ inviter }} invites you to {{ team }}",
            preheader="Join {{ team }} at {{ company }}.",
            foot=_YOU_ASKED,
            variables=(
                COMPANY, Variable("inviter", "string"), Variable("team", "string"), Variable("url", "string"),
                Variable("message", "string", ""),
            ),
            test_values={
                "company": "Acme", "inviter": "Grace Hopper", "team": "Compilers", "url": "https://acme.example/join/9f2c",
                "message": "We begin on Monday. Bring your moth.",
            },
        ),
    )
}  # fmt: skip
