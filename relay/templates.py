"""Templates: made, changed, published, copied, deleted, found. What is published never changes; a draft is a version to come.

Changes of one template wait for each other by its row, and those of names by the organization's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, differences, note
from accounts.catalogue import Refused
from accounts.models import Organization
from relay.models import Template, TemplateVersion
from relay.templating import press
from relay.templating.press import Source, TooCostly, Use
from relay.templating.problems import Problem
from relay.templating.published import StoredVersion, too_costly
from relay.templating.variables import Variable

SOURCE_LENGTH = 256 * 1024  # characters of each part
SUBJECT_LENGTH = 1000
NAME_LENGTH = 120
MOST_VERSIONS = 1000


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """What a version says."""

    sender: str = ""
    reply_to: tuple[str, ...] = ()
    subject: str = ""
    html: str = ""
    text: str = ""
    variables: tuple[Variable, ...] = ()

    @property
    def source(self) -> Source:
        return Source(self.subject, self.html, self.text)

    def fields(self) -> dict[str, Any]:
        """As `TemplateVersion` keeps it."""
        return {
            "sender": self.sender,
            "reply_to": list(self.reply_to),
            "subject": self.subject,
            "html": self.html,
            "text": self.text,
            "variables": [variable.row() for variable in self.variables],
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A template with its newest version, which is a draft or published, and the time of the last publishing."""

    template: Template
    newest: TemplateVersion
    published_at: datetime | None

    @property
    def status(self) -> str:
        return "published" if self.published_at else "draft"


# ---- what reads


def find_template(organization: Organization, reference: str) -> Template:
    """By id or alias. Raises `Refused`."""
    templates = Template.objects.of(organization)
    try:
        found = templates.filter(pk=UUID(reference)).first()
    except ValueError:
        is_alias = reference.isascii() and reference.isprintable() and reference
        found = templates.filter(alias=reference).first() if is_alias else None
    if found is None:
        raise Refused("not_found", thing="template")
    return found


def newest_of(template: Template) -> Found:
    newest = template.versions.order_by("-number").first()
    assert newest is not None  # each template is made with its first
    published = template.versions.filter(published_at__isnull=False).order_by("-number").first()
    return Found(template, newest, published.published_at if published else None)


def list_templates(organization: Organization) -> QuerySet[Template]:
    """Each with `last_published_at`, and `has_draft`."""
    versions = TemplateVersion.objects.filter(template=OuterRef("pk"))
    drafts = versions.filter(published_at__isnull=True)
    published = versions.filter(published_at__isnull=False).order_by("-number")
    rows: QuerySet[Template] = Template.objects.of(organization)
    return rows.annotate(last_published_at=Subquery(published.values("published_at")[:1]), has_draft=Exists(drafts))


def version_of(template: Template, number: int) -> TemplateVersion:
    """Raises `Refused`."""
    version = template.versions.filter(number=number).first()
    if version is None:
        raise Refused("not_found", thing="version of this template")
    return version


def published_version_of(template: Template) -> TemplateVersion:
    """The one that is sent. Raises `Refused`."""
    version = template.versions.filter(published_at__isnull=False).order_by("-number").first()
    if version is None:
        raise Refused("template_not_published", template=template.name)
    return version


def stored(template: Template, version: TemplateVersion) -> StoredVersion:
    content = content_of(version)
    return StoredVersion(
        template_id=template.pk,
        name=template.name,
        number=version.number,
        sender=content.sender,
        reply_to=content.reply_to,
        source=content.source,
        variables=content.variables,
    )


def content_of(version: TemplateVersion) -> TemplateContent:
    return TemplateContent(
        sender=version.sender,
        reply_to=tuple(version.reply_to),
        subject=version.subject,
        html=version.html,
        text=version.text,
        variables=tuple(Variable.of(row) for row in version.variables),
    )


# ---- what changes


def create_template(
    organization: Organization,
    name: str,
    content: TemplateContent,
    *,
    alias: str = "",
    test_values: dict[str, Any] | None = None,
    by: Actor = SYSTEM,
) -> Template:
    """With its first version as a draft. Raises `Refused`."""
    check_source(content)
    with transaction.atomic():
        _check_names_free(organization, name=name, alias=alias)
        template = Template.objects.create(
            organization=organization, name=name, alias=alias, test_values=test_values or {}
        )
        TemplateVersion.objects.create(template=template, number=1, **content.fields())
        after = {"name": name, "alias": alias, **_told(content)}
        _note(by, "template.created", template, after={field: value for field, value in after.items() if value})
    return template


def update_template(
    template: Template,
    changes: dict[str, Any],
    *,
    name: str | None = None,
    alias: str | None = None,
    test_values: dict[str, Any] | None = None,
    seen: datetime | None = None,
    by: Actor = SYSTEM,
) -> None:
    """`changes` to fields of `TemplateContent` go into the draft, which begins as what is published. Raises `Refused`.

    `seen`: its `updated_at` when it was opened; where another has changed it since, nothing is changed.
    """
    if changes:
        check_source(
            TemplateContent(**{part: changes[part] for part in ("subject", "html", "text") if part in changes})
        )
    with transaction.atomic():
        renamed = name is not None and name != template.name
        relabelled = alias is not None and alias != template.alias
        if renamed or relabelled:
            _check_names_free(template.organization, name=name, alias=alias or "", but=template)
        current = _lock(template)
        if seen is not None and current.updated_at != seen:
            raise Refused("template_changed_meanwhile", template=current.name)
        before: dict[str, Any] = {"name": current.name, "alias": current.alias}
        names = {"name": name, "alias": alias}
        kept: dict[str, Any] = {field: value for field, value in names.items() if value is not None}
        after = dict(kept)
        if test_values is not None and test_values != current.test_values:
            kept["test_values"] = test_values
            before["test_values"], after["test_values"] = "other values", sorted(test_values)
        if changes:
            newest = template.versions.order_by("-number")[0]
            content = replace(content_of(newest), **changes)
            fields = content.fields()
            before |= _told(content_of(newest), changes)
            after |= _told(content, changes)
            if newest.published_at is None:
                template.versions.filter(pk=newest.pk).update(**fields)
            else:
                _begin_version(template, newest.number + 1, fields)
        Template.objects.of(template.organization_id).filter(pk=template.pk).update(updated_at=timezone.now(), **kept)
        before, after = differences(before, after)
        if changes or after:
            _note(by, "template.changed", template, before=before, after=after)


def publish_template(template: Template, *, by: Actor = SYSTEM) -> TemplateVersion:
    """The draft becomes what is sent; without a draft nothing changes. Raises `Refused`."""
    with transaction.atomic():
        _lock(template)
        newest = template.versions.order_by("-number")[0]
        if newest.published_at is None:
            check_publishable(content_of(newest))
            newest.published_at = timezone.now()
            newest.save(update_fields=["published_at"])
            Template.objects.of(template.organization_id).filter(pk=template.pk).update(updated_at=newest.published_at)
            _note(by, "template.published", template, after={"version": newest.number})
    return newest


def duplicate_template(template: Template, *, by: Actor = SYSTEM) -> Template:
    """A copy of the newest version as a draft, under a free name and without alias. Raises `Refused`."""
    with transaction.atomic():
        _lock_names(template.organization)
        fields = content_of(template.versions.order_by("-number")[0]).fields()
        taken = set(Template.objects.of(template.organization).values_list("name", flat=True))
        copy = Template.objects.create(
            organization=template.organization,
            name=_free_name(template.name, taken),
            test_values=template.test_values,
        )
        TemplateVersion.objects.create(template=copy, number=1, **fields)
        _note(by, "template.created", copy, after={"name": copy.name, "copy_of": template.name})
    return copy


def delete_template(template: Template, *, by: Actor = SYSTEM) -> None:
    """With its versions. Messages made from it stay as they are. Raises `Refused` when it is gone already."""
    with transaction.atomic():
        current = _lock(template)
        before = {"name": current.name, "alias": current.alias, "versions": current.versions.count()}
        _note(by, "template.deleted", current, before={field: value for field, value in before.items() if value})
        current.delete()


# ---- what a template must be


def check_source(content: TemplateContent) -> tuple[Use, ...]:
    """Which variables it uses. Raises `Refused` naming each part's problem with line and column."""
    too_long = [
        Problem(part, f"has more than {most} characters")
        for part, most in (("subject", SUBJECT_LENGTH), ("html", SOURCE_LENGTH), ("text", SOURCE_LENGTH))
        if len(getattr(content, part)) > most
    ]
    if too_long:
        raise _invalid(too_long)
    try:
        checked = press.check(content.source)
    except TooCostly:
        raise too_costly("The template") from None
    if checked.problems:
        raise _invalid(checked.problems)
    return checked.uses


def check_publishable(content: TemplateContent) -> None:
    """It has a body, and where it declares variables, declares all that it uses. Raises `Refused`."""
    if not (content.html.strip() or content.text.strip()):
        raise _invalid([Problem("html", "there is neither HTML nor text")])
    uses = check_source(content)
    declared = {variable.key for variable in content.variables}
    if declared:
        unknown = [use for use in uses if use.name not in declared]
        if unknown:
            raise _invalid(
                Problem(use.part, f"{use.name} is not among the declared variables", use.line, use.column)
                for use in unknown
            )


def _invalid(problems: Iterable[Problem]) -> Refused:
    told = list(problems)
    errors = [
        {
            "pointer": f"/{problem.part}",
            "detail": problem.detail,
            **({"line": str(problem.line), "column": str(problem.column)} if problem.line else {}),
        }
        for problem in told
    ]
    return Refused("template_invalid", problem="; ".join(str(problem) for problem in told[:3]), errors=errors)


# ---- locks and names


def _lock(template: Template) -> Template:
    """Returns it as it is now. Raises `Refused` when it was deleted meanwhile."""
    current = Template.objects.of(template.organization_id).select_for_update().filter(pk=template.pk).first()
    if current is None:
        raise Refused("not_found", thing="template")
    return current


def _lock_names(organization: Organization) -> None:
    # NO KEY: rows that refer to the organization can be written meanwhile.
    Organization.objects.of(organization).select_for_update(no_key=True).get()


def _check_names_free(organization: Organization, *, name: str | None, alias: str, but: Template | None = None) -> None:
    """No other of the organization's templates has the name or alias, nor will before the end of the transaction."""
    _lock_names(organization)
    others = Template.objects.of(organization)
    if but is not None:
        others = others.exclude(pk=but.pk)
    if name is not None and others.filter(name=name).exists():
        raise Refused("template_exists", what="name", value=name, errors=[_taken("name")])
    if alias and others.filter(alias=alias).exists():
        raise Refused("template_exists", what="alias", value=alias, errors=[_taken("alias")])


def _taken(field: str) -> dict[str, str]:
    return {"pointer": f"/{field}", "detail": "is taken"}


def _begin_version(template: Template, number: int, fields: dict[str, Any]) -> None:
    if number > MOST_VERSIONS:
        raise Refused("too_many_template_versions", limit=MOST_VERSIONS)
    TemplateVersion.objects.create(template=template, number=number, **fields)


def _free_name(name: str, taken: set[str]) -> str:
    endings: Sequence[str] = (" (copy)", *(f" (copy {number})" for number in range(2, len(taken) + 3)))
    return next(free for ending in endings if (free := name[: NAME_LENGTH - len(ending)] + ending) not in taken)


# ---- in the audit log


def _note(by: Actor, action: str, template: Template, **changes: Any) -> None:
    note(by, action, template, organization_id=template.organization_id, **changes)


def _told(content: TemplateContent, only: Iterable[str] | None = None) -> dict[str, Any]:
    """As the audit log tells it: bodies by their length, since the versions keep what they say. `only`: those parts."""
    fields = content.fields()
    fields["html"], fields["text"] = (
        f"{len(body):,} characters" if body else "" for body in (content.html, content.text)
    )
    fields["variables"] = [variable.key for variable in content.variables]
    return {name: value for name, value in fields.items() if only is None or name in set(only)}
