"""Pages about templates: what is written, seen and published there. What a browser adds: tests/test_journeys.py."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Membership, Role, User
from relay import templates
from relay.models import Template, TemplateVersion
from relay.template_pages import editor as template_editor
from relay.template_pages.editor import Entered, look
from relay.templates import TemplateContent, check_publishable, create_template, publish_template
from relay.templating.starting import STARTS
from relay.templating.variables import TYPES, Variable, is_of_type
from tests.factories import Tenant, make_tenant

CONTENT = TemplateContent(
    subject="Order {{ order }}",
    html="<h1>{{ name }}</h1>\n<p>{{ order }}</p>",
    variables=(Variable("order", "number"), Variable("name", "string", "friend")),
)


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def template(tenant: Tenant) -> Template:
    return create_template(tenant.organization, "Receipt", CONTENT, alias="receipt", test_values={"order": 42})


def address(template: Template, name: str = "template") -> str:
    return reverse(name, args=[template.pk])


def fields_of(client: Client, template: Template) -> dict[str, Any]:
    """What a browser sends of the editor's form as it is shown."""
    shown = client.get(address(template)).context
    rows = shown["entered"].rows
    columns = {f"variable_{name}": [getattr(row, name) for row in rows] for name in ("key", "type", "fallback", "test")}
    return {**shown["entered"].fields, **columns, "seen": shown["template"].updated_at.isoformat()}


def member(tenant: Tenant, role: Role, name: str) -> Client:
    user = User.objects.create_user(f"{name}@people.test", "x")
    Membership.objects.create(organization=tenant.organization, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


# ---- Templates to begin with


@pytest.mark.parametrize("code", STARTS)
@pytest.mark.django_db
def test_each_template_to_begin_with_can_be_published_and_filled_in_as_it_is(code: str, tenant: Tenant) -> None:
    made = tenant.client.post(reverse("template_create"), {"start": code, "name": "First"})
    template = Template.objects.get(name="First")
    assert made["Location"] == address(template)
    page = tenant.client.get(address(template)).context
    seen = page["look"]
    assert (seen.problems, seen.made_up, seen.undeclared) == ((), (), ())
    check_publishable(templates.content_of(page["newest"]))
    assert {row.key for row in page["entered"].rows} == {variable.key for variable in STARTS[code].variables}
    for part in (seen.rendered.subject, seen.rendered.html, seen.rendered.text):
        assert part.strip()
        assert "{{" not in part
        assert "<!-- " not in part
        assert "[object" not in part
    assert "prefers-color-scheme: dark" in seen.rendered.html
    assert "max-width: 480px" in seen.rendered.html
    assert 'style="' in seen.rendered.html  # written into the elements, for programs that read no style sheets
    assert "<" not in seen.rendered.text.replace("<Ada>", "")


# ---- Writing


def test_saving_makes_a_draft_and_publishing_sends_it(tenant: Tenant, template: Template) -> None:
    publish_template(template)
    fields = fields_of(tenant.client, template)
    fields |= {"subject": "Bill {{ order }}", "html": "<p>{{ order }}</p>\r\n<p>two</p>", "alias": "bill"}
    assert tenant.client.post(address(template), fields | {"act": "save"}).status_code == 302

    one, two = template.versions.order_by("number")
    assert (one.subject, one.published_at is None) == ("Order {{ order }}", False)
    assert (two.subject, two.html, two.published_at) == ("Bill {{ order }}", "<p>{{ order }}</p>\n<p>two</p>", None)
    template.refresh_from_db()
    assert template.alias == "bill"

    tenant.client.post(address(template), fields_of(tenant.client, template) | {"act": "publish"})
    assert templates.published_version_of(template).number == 2


def test_saving_without_a_change_begins_no_version(tenant: Tenant, template: Template) -> None:
    publish_template(template)
    tenant.client.post(address(template), fields_of(tenant.client, template) | {"act": "save"})
    assert template.versions.count() == 1


def test_what_two_write_at_once_is_told_and_not_overwritten(tenant: Tenant, template: Template) -> None:
    grace = member(tenant, Role.DEVELOPER, "grace")
    mine, hers = fields_of(tenant.client, template), fields_of(grace, template)
    grace.post(address(template), hers | {"subject": "Hers {{ order }}"})

    told = tenant.client.post(address(template), mine | {"subject": "Mine {{ order }}"})
    page = told.content.decode()
    assert templates.newest_of(template).newest.subject == "Hers {{ order }}"
    assert "grace@people.test changed this template" in page
    assert 'value="Mine {{ order }}"' in page  # what was written is still there

    again = mine | {"subject": "Mine {{ order }}", "seen": told.context["template"].updated_at.isoformat()}
    assert tenant.client.post(address(template), again).status_code == 302
    assert templates.newest_of(template).newest.subject == "Mine {{ order }}"


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "may not be blank"),
    ({"alias": "no blanks"}, "alias", "Letters, digits"),
    ({"sender": "nobody"}, "sender", "Must be an address"),
    ({"variable_fallback": ["many", "friend"]}, "variables", "order: The fallback is not a number, such as 42"),
    ({"variable_test": ['{"a": ', ""]}, "variables", "order: The test value is not a number"),
]


@pytest.mark.parametrize(("change", "field", "words"), MISTAKES)
def test_mistakes_are_told_at_their_field_and_nothing_is_lost(
    change: dict[str, Any], field: str, words: str, tenant: Tenant, template: Template
) -> None:
    sent = fields_of(tenant.client, template) | {"subject": "Kept"} | change
    told = tenant.client.post(address(template), sent)
    assert words in " ".join(told.context["errors"][field])
    assert told.context["entered"].fields["subject"] == "Kept"
    assert templates.newest_of(template).newest.subject == CONTENT.subject


def test_a_mistake_in_the_source_is_told_with_its_line(tenant: Tenant, template: Template) -> None:
    sent = fields_of(tenant.client, template) | {"html": "<p>\n{{#each items}}\n</p>"}
    for where in (address(template), address(template, "template_preview")):
        told = tenant.client.post(where, sent)
        [one] = told.context["problems"]
        assert (one["problem"].part, one["problem"].line, one["excerpt"]) == ("html", 2, "{{#each items}}")
        assert "loops are written {% for item in items %}" in one["problem"].detail
        assert 'data-line="2"' in told.content.decode()


def test_publishing_what_is_not_declared_keeps_the_draft(tenant: Tenant, template: Template) -> None:
    sent = fields_of(tenant.client, template) | {"html": "<p>{{ oder }}</p>", "act": "publish"}
    told = tenant.client.post(address(template), sent, follow=True).content.decode()
    assert "Saved as a draft, but not published." in told
    assert "oder is not among the declared variables" in told
    assert templates.newest_of(template).newest.html == "<p>{{ oder }}</p>"
    assert not templates.newest_of(template).published_at


# ---- The preview


def test_a_preview_shows_what_is_typed_and_keeps_nothing(tenant: Tenant, template: Template) -> None:
    sent = fields_of(tenant.client, template) | {"html": "<p>{{ greeting }}, {{ name }}</p>"}
    before = list(TemplateVersion.objects.values())
    part = tenant.client.post(address(template, "template_preview"), sent, headers={"HX-Request": "true"})
    page = part.content.decode()
    assert "<html" not in page
    assert part.context["look"].rendered.html == "<p>[greeting], friend</p>"
    assert part.context["look"].undeclared == ("greeting",)
    assert 'id="variables" hx-swap-oob="true"' in page  # there is a new one
    assert list(TemplateVersion.objects.values()) == before

    framed = tenant.client.get(part.context["frame"])
    assert "[greeting], friend" in framed.content.decode()
    policy = framed["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data: https:; style-src 'unsafe-inline'")
    stranger = member(tenant, Role.OWNER, "other")
    assert "This preview is over" in stranger.get(part.context["frame"]).content.decode()

    whole = tenant.client.post(address(template, "template_preview"), sent).content.decode()  # without JavaScript
    assert "<html" in whole
    assert "{{ greeting }}, {{ name }}" in whole
    assert f'<form method="post" action="{address(template)}"' in whole  # from there it is saved, too


def test_a_preview_is_dark_for_whoever_asks_for_that(tenant: Tenant, template: Template) -> None:
    html = "<style>p{color:red}@media (prefers-color-scheme: dark){p{color:blue!important}}</style><p>x</p>"
    sent = fields_of(tenant.client, template) | {"html": html}
    frame = tenant.client.post(address(template, "template_preview"), sent).context["frame"]
    light, dark = (tenant.client.get(frame + query).content.decode() for query in ("", "?scheme=dark"))
    assert "@media (max-width: 0)" in light
    assert "@media (min-width: 0)" in dark


def test_a_preview_at_a_host_of_its_own_needs_no_session(tenant: Tenant, template: Template, settings: Any) -> None:
    settings.CONTENT_HOST = "content.plugsend.test"
    settings.ALLOWED_HOSTS = ["*"]
    frame = tenant.client.get(address(template)).context["frame"]
    host, path = urlsplit(frame).netloc, urlsplit(frame).path
    assert host == "content.plugsend.test"
    shown = Client().get(path, headers={"Host": host})
    assert "<h1>friend</h1>" in shown.content.decode()
    assert f"frame-ancestors {settings.WEB_URL}" in shown["Content-Security-Policy"]
    assert "This preview is over" in Client().get(path[:-4] + "abc/", headers={"Host": host}).content.decode()


# ---- Others


def test_viewers_read_and_preview_but_do_not_write(tenant: Tenant, template: Template) -> None:
    viewer = member(tenant, Role.VIEWER, "vera")
    page = viewer.get(address(template)).content.decode()
    assert "Save draft" not in page
    sent = {**CONTENT.fields(), "html": "<p>hers</p>", "variable_key": [], "name": "Mine"}
    assert "hers" in viewer.post(address(template, "template_preview"), sent).context["look"].rendered.html
    assert viewer.post(address(template), sent).status_code == 403


def test_an_old_version_becomes_the_draft_again(tenant: Tenant, template: Template) -> None:
    publish_template(template)
    templates.update_template(template, {"subject": "Second {{ order }}"})
    publish_template(template)
    tenant.client.post(reverse("template_version", args=[template.pk, 1]))
    newest = templates.newest_of(template).newest
    assert (newest.number, newest.subject, newest.published_at) == (3, CONTENT.subject, None)
    assert templates.content_of(newest) == CONTENT
    assert "Version 2" in tenant.client.get(address(template, "template_versions")).content.decode()


def test_the_list_finds_by_name_and_alias(tenant: Tenant, template: Template) -> None:
    create_template(tenant.organization, "Welcome", CONTENT)
    for asked, found in (("rece", ["Receipt"]), ("WELC", ["Welcome"]), ("nothing", []), ("", ["Welcome", "Receipt"])):
        page = tenant.client.get(reverse("templates"), {"q": asked})
        assert [row["template"].name for row in page.context["rows"]] == found
        assert page.status_code == 200


def test_how_to_send_it_is_told_with_its_alias_and_test_values(tenant: Tenant, template: Template) -> None:
    use = tenant.client.get(address(template)).context["use"]
    assert '"id": "receipt"' in use["rest"]
    assert '"order": 42' in use["rest"]
    assert use["smtp"].startswith("X-PlugSend-Template: receipt\nX-PlugSend-Variables: {")
    assert all(len(line) < 998 for line in use["smtp"].splitlines())


# ---- Values as they are typed

_TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
_JSON = st.recursive(
    st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(value=_JSON, declared=st.booleans())
def test_a_value_is_typed_and_read_as_the_same(value: Any, declared: bool) -> None:
    type_ = next((one for one in TYPES if is_of_type(value, one)), "") if declared else ""
    typed = template_editor._typed(value, type_)
    if typed.strip():  # a text of blanks is no value
        assert template_editor._read(typed, type_) == value


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c d", ""]), st.sampled_from([*TYPES, ""]), _TEXT, _TEXT), max_size=4)
)
def test_whatever_is_typed_into_variables_is_told_and_not_tripped_over(rows: list[tuple[str, str, str, str]]) -> None:
    sent = QueryDict(mutable=True)
    for row in rows:
        for name, value in zip(("key", "type", "fallback", "test"), row, strict=True):
            sent.appendlist(f"variable_{name}", value)
    entered = Entered.posted(sent)
    serializer, errors = entered.check()
    told = " ".join(errors.get("variables", []))
    assert all(f"{row.key}: {row.error}" in told for row in entered.rows if row.error)
    assert errors or serializer.is_valid()
    look(entered)
