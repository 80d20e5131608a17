"""Finding entries of an organization's audit log. Each filter has an index that ends with the id, so that pages cost the same
however long the log is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection

from accounts.audit_words import KINDS_IN_WORDS, type_in_words
from accounts.ids import first_id_at
from accounts.models import AuditEntry, Organization
from accounts.scoping import OrganizationQuerySet

CHOICES_MOST = 200
CHUNK = 1000
NAMED = ("user", "api_key")  # actors whom members may tell apart


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Empty parts do not narrow."""

    actor_kind: str = ""
    actor_id: UUID | None = None
    object_type: str = ""
    object_id: UUID | None = None
    object_name: str = ""  # as a whole
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None  # from then on no more

    def entries(self, organization: Organization) -> OrganizationQuerySet[AuditEntry]:
        """Of the organization, in no order."""
        found = AuditEntry.objects.of(organization)
        if self.actor_id:
            # By an id nobody learns which of the members is an operator, too.
            kinds = [self.actor_kind] if self.actor_kind in NAMED else [] if self.actor_kind else NAMED
            found = found.filter(actor_kind__in=kinds, actor_id=self.actor_id)
        elif self.actor_kind:
            found = found.filter(actor_kind=self.actor_kind)
        if self.object_id:
            found = found.filter(object_id=self.object_id)
        if self.object_name:
            found = found.filter(object_name=self.object_name)
        if self.action:
            found = found.filter(object_type=self.action.partition(".")[0], action=self.action)
        if self.object_type:
            found = found.filter(object_type=self.object_type)
        # Ids are made with the entries.
        if self.since:
            found = found.filter(pk__gte=first_id_at(self.since))
        if self.until:
            found = found.filter(pk__lt=first_id_at(self.until))
        return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in the address of the page; nonsense does not narrow. Days are UTC's, the last one included."""

    who: str = ""  # a kind, or kind.id
    about: str = ""
    q: str = ""  # an object's name or id
    since: str = ""
    until: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Asked:
        def typed(name: str) -> str:
            return query.get(name, "").strip().replace("\0", "")[:320]

        return cls(typed("who"), typed("about"), typed("q") or typed("object"), typed("since"), typed("until"))

    @property
    def fields(self) -> dict[str, str]:
        """Those that are filled in."""
        values = {"who": self.who, "about": self.about, "q": self.q, "since": self.since, "until": self.until}
        return {name: value for name, value in values.items() if value}

    @property
    def query(self) -> str:
        return urlencode(self.fields)

    @property
    def filter(self) -> AuditFilter:
        kind, _, identifier = self.who.partition(".")
        object_id, first, last = _uuid(self.q), _day(self.since), _day(self.until)
        return AuditFilter(
            actor_kind=kind,
            actor_id=_uuid(identifier),
            object_type=self.about,
            object_id=object_id,
            object_name="" if object_id else self.q,
            since=first,
            until=last + timedelta(days=1) if last else None,
        )


def oldest_first(found: OrganizationQuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    """All of them, read a chunk at a time."""
    chunk = list(found.order_by("pk")[:CHUNK])
    while chunk:
        yield from chunk
        chunk = list(found.filter(pk__gt=chunk[-1].pk).order_by("pk")[:CHUNK]) if len(chunk) == CHUNK else []


# ---- What there is to choose from: loose index scans, a probe for each value


def actor_choices(organization: Organization) -> list[tuple[str, str]]:
    """(value of `who`, words), of those who stand in the log."""
    rows = _probe(_ACTORS, organization)
    choices = [
        (f"{kind}.{identifier}", f"API key “{name}”" if kind == "api_key" else name)
        for kind, identifier, name in rows
        if kind in NAMED and identifier
    ]
    kinds = {row[0] for row in rows}
    rest = [(kind, words) for kind, words in KINDS_IN_WORDS.items() if kind in kinds]
    return sorted(choices, key=lambda choice: choice[1].lower()) + rest


def type_choices(organization: Organization) -> list[tuple[str, str]]:
    """(value of `about`, words), of what stands in the log."""
    types = [row[0] for row in _probe(_TYPES, organization)]
    return sorted(((one, type_in_words(one)) for one in types), key=lambda choice: choice[1])


_ACTORS = """
    WITH RECURSIVE found AS (
        (SELECT actor_kind, actor_id, actor_name FROM accounts_auditentry WHERE organization_id = %(organization)s
         ORDER BY actor_kind, actor_id, id DESC LIMIT 1)
        UNION ALL
        SELECT later.* FROM found, LATERAL (
            SELECT actor_kind, actor_id, actor_name FROM accounts_auditentry
            WHERE organization_id = %(organization)s AND (actor_kind, actor_id) > (found.actor_kind, found.actor_id)
            ORDER BY actor_kind, actor_id, id DESC LIMIT 1
        ) AS later
    )
    SELECT * FROM found LIMIT %(most)s
"""
_TYPES = """
    WITH RECURSIVE found AS (
        (SELECT object_type FROM accounts_auditentry WHERE organization_id = %(organization)s
         ORDER BY object_type LIMIT 1)
        UNION ALL
        SELECT later.* FROM found, LATERAL (
            SELECT object_type FROM accounts_auditentry
            WHERE organization_id = %(organization)s AND object_type > found.object_type ORDER BY object_type LIMIT 1
        ) AS later
    )
    SELECT * FROM found LIMIT %(most)s
"""


def _probe(statement: str, organization: Organization) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"organization": organization.pk, "most": CHOICES_MOST})
        return list(cursor.fetchall())


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _day(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.combine(day, time.min, UTC) if day < date.max else None  # after which there is none
