"""A template's version, filled in for a sending; its failures as refusals of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.catalogue import Refused
from relay.templating import press
from relay.templating.press import Rendered, Source, TooCostly, Unfit
from relay.templating.variables import Variable, VariablesError, fill


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """Which version of which template a message was made from."""

    template_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class FilledIn:
    """What a template makes of its variables. Empty: the template says nothing about it."""

    use: TemplateUse
    sender: str
    reply_to: tuple[str, ...]
    subject: str
    html: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version, as it is stored."""

    template_id: UUID
    name: str
    number: int
    sender: str
    reply_to: tuple[str, ...]
    source: Source
    variables: tuple[Variable, ...]

    @property
    def octets(self) -> int:
        """About what it takes to keep."""
        return 2000 + len(self.source.subject) + len(self.source.html) + len(self.source.text)

    def fill_in(self, given: Mapping[str, Any], *, pointer: str = "") -> FilledIn:
        """Blocks for milliseconds, or a second at most. Raises `Refused`.

        `pointer`: where the variables stand in the request.
        """
        try:
            variables = fill(self.variables, given)
            rendered = press.render(self.source, variables)
        except VariablesError as error:
            told = [{"pointer": _below(pointer, key), "detail": detail} for key, detail in error.errors]
            raise Refused("template_variables_invalid", template=self.name, problem=error, errors=told) from None
        except TooCostly:
            raise too_costly(self.name) from None
        except Unfit as error:
            raise self._refused(error, pointer) from None
        return self._filled_in(rendered)

    def _refused(self, error: Unfit, pointer: str) -> Refused:
        variable = error.problem.variable
        if variable:
            told = [{"pointer": _below(pointer, variable.partition(".")[0]), "detail": error.problem.detail}]
            return Refused("template_variables_invalid", template=self.name, problem=error.problem, errors=told)
        return Refused("template_not_renderable", template=self.name, version=self.number, problem=error.problem)

    def _filled_in(self, rendered: Rendered) -> FilledIn:
        return FilledIn(
            use=TemplateUse(self.template_id, self.number),
            sender=self.sender,
            reply_to=self.reply_to,
            subject=rendered.subject,
            html=rendered.html,
            text=rendered.text,
        )


def too_costly(what: str) -> Refused:
    return Refused("template_too_costly", template=what, seconds=press.CPU_SECONDS)


def _below(pointer: str, key: str) -> str:
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}" if key else pointer
