"""What is watched, and how its states are told. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a component is; the worse ones have the greater `severity`."""

    OK = "works"
    DEGRADED = "degraded"
    DOWN = "down"
    MAINTENANCE = "maintenance"
    UNKNOWN = "not_known"

    @property
    def severity(self) -> int:
        return _SEVERITY[self]

    @property
    def is_trouble(self) -> bool:
        return self in (State.DEGRADED, State.DOWN)


_SEVERITY = {State.OK: 0, State.UNKNOWN: 1, State.MAINTENANCE: 2, State.DEGRADED: 3, State.DOWN: 4}


def worst(*states: State) -> State:
    return max(states, key=lambda state: state.severity, default=State.OK)


@dataclass(frozen=True, slots=True)
class Component:
    """`text`: what it is for. `down`, `degraded`: what customers notice, as the title of an incident."""

    code: str
    name: str
    text: str
    down: str
    degraded: str


GROUPS: dict[str, list[Component]] = {
    "The doors": [
        Component("smtp", "SMTP", "Takes mail from your apps by SMTP.",
                  "Mail over SMTP is not accepted", "SMTP answers slowly or in part"),
        Component("rest", "REST API", "Takes mail from your apps as JSON, and answers their questions.",
                  "The REST API does not answer", "The REST API answers slowly or in part"),
        Component("web", "Pages", "Sign-in, dashboard, and this page.",
                  "The pages cannot be opened", "The pages answer slowly or in part"),
    ],
    "The way of your mail": [
        Component("delivery", "Delivery", "Signs what was accepted and hands it to the receivers.",
                  "Accepted mail is not delivered for now", "Accepted mail is delivered late"),
        Component("returns", "Bounces and complaints", "Takes what receivers send back.",
                  "Bounces and complaints do not reach us for now", "Bounces and complaints come in late"),
        Component("webhooks", "Webhooks", "Tells your apps what became of their mail.",
                  "Webhooks are not sent for now", "Webhooks are sent late"),
    ],
    "What it stands on": [
        Component("database", "Database", "Keeps every message and its timeline.",
                  "The database does not answer", "The database answers slowly"),
        Component("broker", "Wake-ups", "Wakes the workers. When it is away mail still flows, some seconds later.",
                  "Wake-ups are lost: mail flows some seconds later", "Wake-ups come late"),
        Component("disk", "Storage", "Room for what is stored.",
                  "There is no room left for mail", "Storage is getting short"),
    ],
}  # fmt: skip
COMPONENTS = {component.code: component for group in GROUPS.values() for component in group}
CHOICES = [(component.code, component.name) for component in COMPONENTS.values()]


def title_of(states: dict[str, State]) -> str:
    """Of an incident of these components, in their order."""
    names = [COMPONENTS[code].name for code in COMPONENTS if code in states]
    if len(names) == 1:
        [(code, state)] = states.items()
        return COMPONENTS[code].degraded if state == State.DEGRADED else COMPONENTS[code].down
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} are disturbed"
