"""What templates can say, what is said of their mistakes, and that what is filled in stays where it is put."""

from __future__ import annotations

import html as html_module
import string
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.templating.html import inlined, text_of
from relay.templating.language import TemplateError, compiled
from relay.templating.press import Source, Unfit, check, render
from relay.templating.variables import Variable, VariablesError, fill

ORDER = {"name": "Ada", "items": [{"name": "Tea", "price": 4.5}, {"name": "<Rum>", "price": 20}], "vip": True}


def filled(source: str, *, escapes: bool = True, **variables: Any) -> str:
    return compiled(source, escapes=escapes).render(variables or ORDER)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("Hi {{ name }}", "Hi Ada"),
        ("Hi {{name}}{{- '!' -}} ", "Hi Ada!"),
        ("{{{ name }}}", "Ada"),
        ("{{ name | upcase }}{{{ name | downcase }}}", "ADAada"),
        ("{{ items[0].name }} {{ items.size }} {{ items.last.price }}", "Tea 2 20"),
        ("{% for item in items %}{{ forloop.index }} {{ item.name }};{% endfor %}", "1 Tea;2 &lt;Rum&gt;;"),
        ("{% for item in none %}x{% else %}nothing{% endfor %}", None),
        ("{% for item in items limit: 1 %}{{ item.price }}{% endfor %}", "4.5"),
        ("{% if vip and name == 'Ada' %}yes{% else %}no{% endif %}", "yes"),
        ("{% unless vip %}no{% endunless %}", ""),
        ("{% case name %}{% when 'Ada', 'Bob' %}known{% else %}new{% endcase %}", "known"),
        ("{% assign total = 4.5 | times: 2 %}{{ total }}", "9.0"),
        ("{% capture who %}<b>{{ name }}</b>{% endcapture %}{{ who }}", "<b>Ada</b>"),
        ("{% comment %}{{ broken {% endcomment %}{% # also this %}x", "x"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{{ coupon | default: 'none' }}{% if coupon %}x{% endif %}", "none"),
        ("{{ '2026-11-26' | date: '%d %B %Y' }}", "26 November 2026"),
        ("{{ -5 | abs }}{{ 7 | divided_by: 2 }}{{ 3.456 | round: 2 }}", "533.46"),
        ("{{ name | append: '<' }}{{ name | prepend: '<' }}", "Ada<<Ada"),  # what the author writes is HTML
        ("{{ vip }}", "true"),
        ("}} %} { {", "}} %} { {"),
    ],
)
def test_the_language(source: str, says: str | None) -> None:
    if says is None:
        with pytest.raises(TemplateError, match="none is not given"):
            filled(source)
    else:
        assert filled(source) == says


@pytest.mark.parametrize(
    ("source", "says", "line", "column"),
    [
        ("Hi\n  {{ name", "}} is missing", 2, 3),
        ("{{{ name }}", "}}} is missing", 1, 1),
        ("{% if name", "%} is missing", 1, 1),
        ("a\n{% if name %}b", "endif", 2, 15),
        ("{% if name == %}x{% endif %}", "the end", 1, 17),
        ("{{}}", "empty", 1, 1),
        ("{% %}", "no name", 1, 1),
        ("x {{ name | shout }}", "no filter 'shout'", 1, 13),
        ("{% endfor %}", "endfor", 1, 1),
        ("{% include 'x' %}", "include", 1, 1),
        ("{{ name and }}", "and", 1, 9),
        ("x\n{{#each items}}{{/each}}", "{% for item in items %}", 2, 1),
        ("{{#if name}}", "{% if name %}", 1, 1),
        ("{{^name}}", "{% unless name %}", 1, 1),
        ("{% if name %}{{else}}", "{% else %}", 1, 14),
        ("{{> footer }}", "no partials", 1, 1),
        ("{{! note }}", "{% comment %}", 1, 1),
        ("{{&name}}", "{{{ name }}}", 1, 1),
        ("{{ this.name }}", "{% for item in items %}", 1, 1),
        ("{{ @index }}", "{% for item in items %}", 1, 1),
    ],
)
def test_a_mistake_is_told_with_its_place(source: str, says: str, line: int, column: int) -> None:
    with pytest.raises(TemplateError) as told:
        compiled(source, escapes=True).check_filters()
    assert says in told.value.detail
    assert (told.value.line, told.value.column) == (line, column)


@pytest.mark.parametrize(
    ("source", "variable", "line", "column"),
    [
        ("a\n b {{ coupon }}", "coupon", 2, 7),
        ("{{ user.name }}", "user", 1, 4),
        ("{{ item.nmae }}", "item.nmae", 1, 4),
        ("{% for i in rows %}{% endfor %}x", "rows", 1, 13),
        ("{{{ coupon }}}", "coupon", 1, 5),
    ],
)
def test_a_missing_variable_is_named_with_its_place(source: str, variable: str, line: int, column: int) -> None:
    with pytest.raises(TemplateError) as told:
        filled(source, item={"name": "x"})
    assert (told.value.variable, told.value.line, told.value.column) == (variable, line, column)
    assert variable in told.value.detail


def test_an_object_is_not_printed() -> None:
    with pytest.raises(TemplateError, match="name one of its members"):
        filled("{{ x }}", x={"a": 1})


def test_the_variables_that_are_used_are_found() -> None:
    source = (
        "{{ a }}{% for b in c %}{{ b.x }}{{ d }}{% endfor %}{% assign e = 1 %}{{ e }}{% if f %}{% endif %}{{{ g }}}"
    )
    source += "{{ now }}"
    assert sorted(compiled(source, escapes=True).used()) == ["a", "c", "d", "f", "g"]


def test_values_for_attributes_are_to_be_in_quotes() -> None:
    for bare in ("<a href={{ x }}>", "<a class='b' href = {{{ x }}}>"):
        [problem] = check(Source(html=bare)).problems
        assert "quotes" in problem.detail
    for fine in ("<a href='{{ x }}'>", '<a href="https://a.test/?b={{ x }}">', "a = {{ x }}", "<b>a={{ x }}</b>"):
        assert not check(Source(html=fine)).problems
    assert not check(Source(text="<a href={{ x }}>")).problems


# ---- what is filled in stays where it is put

HOSTILE = st.one_of(
    st.text(alphabet="<>&'\"/= \n\r\tabscript!-{}%;x", max_size=40),
    st.text(max_size=40).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)),
)
SAFE_FILTERS = [
    "", "| upcase", "| append: '<i>'", "| prepend: y", "| replace: 'a', y", "| remove: 'b'", "| split: 'x' | join: y",
    "| truncate: 9", "| slice: 1, 9", "| escape", "| escape_once", "| strip_html", "| newline_to_br | strip_newlines",
    "| url_encode", "| url_decode", "| default: y", "| split: '' | reverse | join", "| capitalize | strip | squish",
    "| split: y | concat: z | first", "| date: '%Y'", "| base64_encode",
]  # fmt: skip


class Seen(HTMLParser):
    """The tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[str]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attributes]))

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=300, deadline=None)
@given(HOSTILE, HOSTILE, st.sampled_from(SAFE_FILTERS))
def test_no_value_breaks_out_of_its_place(x: str, y: str, filters: str) -> None:
    source = f"<p title=\"{{{{ x {filters} }}}}\" lang='{{{{ x {filters} }}}}'>{{{{ x {filters} }}}}</p>"
    try:
        made = filled(source, x=x, y=y, z=[y, x])
    except TemplateError:
        return
    allowed = {"i", "br"} if "<i>" in filters or "br" in filters else set()
    tags = [tag for tag in Seen(made).tags if tag[0] not in allowed]
    assert tags == [("p", ["title", "lang"])]


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_a_value_reads_as_it_was_given(x: str) -> None:
    plain = x.replace("\r\n", "\n").replace("\r", "\n")
    made = filled("<p>{{ x }}</p>", x=plain)
    assert html_module.unescape(made[3:-4]) == html_module.unescape(html_module.escape(plain))
    assert filled("{{ x }}", escapes=False, x=x) == plain


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_a_subject_is_one_line(x: str) -> None:
    rendered = render(Source(subject="Order for {{ x }}\r\n!", text="x"), {"x": x.replace("\0", "")})
    assert not set(rendered.subject) & set("\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029\0")
    assert rendered.subject.startswith("Order for")


# ---- HTML and text


def test_style_sheets_are_written_into_the_elements_and_nothing_is_fetched() -> None:
    made = inlined(
        "<html><head><style>p{color:red} @media print{p{color:black}}</style><link rel='stylesheet' href='file:///etc/hosts'>"
        "</head><body><p>x</p></body></html>"
    )
    assert '<p style="color: red;">' in made
    assert "@media print" in made
    assert "localhost" not in made


def test_html_without_style_sheet_stays_as_it_was_written() -> None:
    written = "<P>Dear <b>you\n<br>&nbsp;</P>"
    assert inlined(written) == written


def test_a_text_is_made_from_the_html() -> None:
    text = text_of(
        "<html><head><title>no</title></head><body><div style='display:none'>preview</div><h1>Thank&nbsp;you &amp; bye</h1>"
        "<p>See <a href='https://a.test/?b=1&amp;c=2'>your order</a>.</p><ul><li>one<li>two</ul>"
        "<table><tr><td>Tea</td><td>4.50</td></tr></table></body></html>"
    )
    assert "preview" not in text
    assert text.replace("\N{NO-BREAK SPACE}", " ").startswith("Thank you & bye\n")
    assert "[your order](https://a.test/?b=1&c=2)" in text
    assert "* one\n" in text
    assert "Tea  4.50" in text
    assert text_of("<!-- -->") == ""


def test_a_given_text_is_taken_and_not_escaped() -> None:
    rendered = render(Source(html="<p>{{ x }}</p>", text="{{ x }}"), {"x": "<&>"})
    assert (rendered.html, rendered.text) == ("<p>&lt;&amp;&gt;</p>", "<&>")
    assert render(Source(html="<p>{{ x }}</p>"), {"x": "<&>"}).text == "<&>\n"
    assert render(Source(text="{{ x }}"), {"x": "a"}).html is None


# ---- variables

DECLARED = (
    Variable("name"),
    Variable("total", "number", 0),
    Variable("items", "list"),
    Variable("vip", "boolean", False),
)


def test_variables_are_checked_and_fallbacks_taken() -> None:
    given = {"name": "Ada", "items": [], "other": {"a": 1}}
    assert fill(DECLARED, given) == {**given, "total": 0, "vip": False}
    assert fill(DECLARED, {**given, "total": None, "vip": True})["total"] == 0


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({}, [("name", "is required"), ("items", "is required")]),
        ({"name": 3, "items": [], "total": "3"}, [("name", "must be a string"), ("total", "must be a number")]),
        ({"name": "a", "items": {}, "total": True}, [("total", "must be a number"), ("items", "must be a list")]),
        ({"name": None, "items": []}, [("name", "is required")]),
        ({"a b": 1}, [("a b", "is not a name: letters, digits, _ and -")]),
        ({"name": "a\0"}, [("name", "holds a NUL or half a surrogate pair")]),
        ({"items": [{"a\ud800": 1}]}, [("items", "holds a NUL or half a surrogate pair")]),
        ({"total": 1 << 64}, [("total", "holds a number of more than 64 bits")]),
        ({"items": [[[[[[[[[1]]]]]]]]]}, [("items", "is nested more than 8 deep")]),
        ({"total": float("nan")}, [("", "numbers must be finite and lists not nested endlessly")]),
        ({"name": "x" * 70_000}, [("", "all together have 70012 octets as JSON; 65536 are possible")]),
    ],
)
def test_unfit_variables_are_named(given: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    with pytest.raises(VariablesError) as told:
        fill(DECLARED, given)
    assert list(told.value.errors) == errors


def test_lists_nested_endlessly_are_told() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(VariablesError):
        fill((), {"x": nested})


def test_every_letter_of_a_name() -> None:
    name = "_" + string.ascii_letters[:49]
    assert fill((), {name: 1}) == {name: 1}
    assert render(Source(text="{{ " + name + " }}"), {name: 1}).text == "1"


def test_refusals_of_the_press_carry_the_place() -> None:
    with pytest.raises(Unfit, match=r"subject, line 1, column 4: x is not given"):
        render(Source(subject="{{ x }}", text="a"), {})
