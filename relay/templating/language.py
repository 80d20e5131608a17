"""The language of templates: Liquid without anything that reaches out of the template, and Resend's triple braces.

Runs in the process apart (`worker.py`), which bounds its time and memory; the limits here give the commonest excesses a name.
What is printed is HTML-escaped in an HTML part, but for `{{{ name }}}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from liquid import BoundTemplate, Environment
from liquid.builtin import content, illegal, output
from liquid.builtin.expressions import FilteredExpression, tokenize
from liquid.builtin.tags import assign_tag, capture_tag, case_tag, cycle_tag, for_tag, if_tag, unless_tag
from liquid.exceptions import LiquidError, LiquidTypeError, ResourceLimitError, UndefinedError
from liquid.stream import TokenStream
from liquid.stringify import to_liquid_string
from liquid.tag import Tag
from liquid.token import TOKEN_CONTENT, TOKEN_EOF, TOKEN_EXPRESSION, TOKEN_OUTPUT, TOKEN_TAG, Token
from liquid.undefined import FalsyStrictUndefined, Undefined

from relay.templating.problems import Problem, place_of

OUTPUT_OCTETS = 256 * 1024  # of each part
LOOP_ITERATIONS = 5_000
NESTED_BLOCKS = 20
NAMESPACE_OCTETS = 1024 * 1024  # what `assign` and `capture` may keep

UNESCAPED = "{{{"  # the name of the tag that triple braces are
_TAGS = (
    content.Literal, illegal.Illegal, if_tag.IfTag, unless_tag.UnlessTag, case_tag.CaseTag, for_tag.ForTag,
    for_tag.BreakTag, for_tag.ContinueTag, capture_tag.CaptureTag, cycle_tag.CycleTag, assign_tag.AssignTag,
)  # fmt: skip
_NO_FILTERS = ("safe", "escapejs", "base64_decode", "base64_url_safe_decode")
KNOWN = frozenset({"now", "today"})  # what Liquid brings along

_OPENING = re.compile(r"\{\{|\{%")
_NAME = re.compile(r"-?\s*(#|\w*)\s*")
_END_RAW = re.compile(r"\{%-?\s*endraw\s*(-?)%\}")
_COMMENT_TAG = re.compile(r"\{%-?\s*(comment|endcomment)\b[^%]*?(-?)%\}")
# What Handlebars, Mustache and Mustachio write in other words.
_FOREIGN = (
    (re.compile(r"#\s*each\b"), "loops are written {% for item in items %} ... {% endfor %}"),
    (re.compile(r"#\s*if\b"), "conditions are written {% if name %} ... {% endif %}"),
    (re.compile(r"#\s*unless\b"), "conditions are written {% unless name %} ... {% endunless %}"),
    (
        re.compile(r"#"),
        "sections are written {% if name %} ... {% endif %} or {% for item in items %} ... {% endfor %}",
    ),
    (re.compile(r"\^"), "inverted sections are written {% unless name %} ... {% endunless %}"),
    (re.compile(r"/"), "blocks are ended by {% endif %}, {% endunless %} or {% endfor %}"),
    (re.compile(r"else\s*$"), "otherwise is written {% else %}"),
    (re.compile(r">"), "there are no partials"),
    (re.compile(r"!"), "comments are written {% comment %} ... {% endcomment %}"),
    (re.compile(r"&"), "what is not to be escaped is written {{{ name }}}"),
    (re.compile(r"(?:this|@\w+)\b|\.\./"), "in a loop the item has the name that {% for item in items %} gives it"),
)


class TemplateError(Exception):
    """A template cannot be read or rendered. `variable`: the one that is missing."""

    def __init__(self, detail: str, source: str = "", index: int = -1, *, variable: str = "") -> None:
        super().__init__(detail)
        self.detail, self.variable = detail, variable
        self.line, self.column = place_of(source, index) if index >= 0 else (0, 0)

    def problem(self, part: str) -> Problem:
        return Problem(part, self.detail, self.line, self.column, self.variable)


class Missing(FalsyStrictUndefined):
    """May be tested and given a default; printing it or going through it is an error."""

    __slots__ = ()
    force_liquid_default = True


class Printed(output.OutputNode):
    """`{{ name }}`."""

    def render_to_output(self, context: Any, buffer: Any) -> int:
        return self._print(context, buffer, escapes=context.autoescape)

    def _print(self, context: Any, buffer: Any, *, escapes: bool) -> int:
        value = self.expression.evaluate(context)
        if isinstance(value, Mapping) and not isinstance(value, Undefined):
            raise LiquidTypeError("an object cannot be printed; name one of its members", token=self.expression.token)
        return int(buffer.write(to_liquid_string(value, escapes)))


class Unescaped(Printed):
    """`{{{ name }}}`."""

    def render_to_output(self, context: Any, buffer: Any) -> int:
        return self._print(context, buffer, escapes=False)


class Output(output.Output):
    node_class = Printed


class TripleBraces(Tag):
    name = UNESCAPED
    block = False

    def parse(self, stream: TokenStream) -> Unescaped:
        token = stream.eat(TOKEN_TAG)
        found = stream.expect(TOKEN_EXPRESSION)
        return Unescaped(token, FilteredExpression.parse(self.env, TokenStream(tokenize(found.value, found))))


class Language(Environment):
    """Liquid with our tags and filters only, and our own reading of the source: one pass, whatever it holds."""

    block_nesting_limit = NESTED_BLOCKS
    context_depth_limit = NESTED_BLOCKS
    loop_iteration_limit = LOOP_ITERATIONS
    local_namespace_limit = NAMESPACE_OCTETS
    output_stream_limit = OUTPUT_OCTETS

    def __init__(self, *, escapes: bool) -> None:
        super().__init__(autoescape=escapes, undefined=Missing)

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=False)
        self.tags.clear()
        for tag in (*_TAGS, Output, TripleBraces):
            self.add_tag(tag)
        for name in _NO_FILTERS:
            del self.filters[name]

    def error(self, exc: Any, msg: str | None = None, token: Token | None = None) -> None:
        """An expression that ends too early is told where its tag ends, not nowhere."""
        if isinstance(exc, LiquidError) and token is not None and (exc.token is None or exc.token.kind == TOKEN_EOF):
            exc.token = token
        super().error(exc, msg, token)

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        return read_tokens


_LANGUAGES = {True: Language(escapes=True), False: Language(escapes=False)}


def read_tokens(source: str) -> Iterator[Token]:
    """The tokens of a template. Raises `TemplateError`."""
    at, strips = 0, False  # `strips`: the tag before ended with a dash
    while at < len(source):
        opening = _OPENING.search(source, at)
        until = opening.start() if opening else len(source)
        text = source[at:until]
        if strips:
            text = text.lstrip()
        if opening and source.startswith("-", opening.end()):
            text = text.rstrip()
        if text:
            yield Token(TOKEN_CONTENT, text, at, source)
        if opening is None:
            return
        tokens, at, strips = _read_tag(source, until) if opening.group() == "{%" else _read_output(source, until)
        yield from tokens


def _read_output(source: str, start: int) -> tuple[list[Token], int, bool]:
    """The tokens of `{{ … }}` or `{{{ … }}}`, where it ends, and whether a dash stands there."""
    is_triple = source.startswith("{{{", start)
    inside, closing = (start + 3, "}}}") if is_triple else (start + 2, "}}")
    end = source.find(closing, inside)
    if end < 0:
        raise TemplateError(f"{closing} is missing", source, start)
    first, expression, strips = _trimmed(source, inside, end)
    for pattern, advice in _FOREIGN:
        if not is_triple and pattern.match(expression):
            raise TemplateError(f"{{{{{expression[:40]}}}}} is not Liquid: {advice}", source, start)
    if not expression:
        raise TemplateError("the braces are empty", source, start)
    kind = Token(TOKEN_TAG, UNESCAPED, start, source) if is_triple else Token(TOKEN_OUTPUT, "{{", start, source)
    return [kind, Token(TOKEN_EXPRESSION, expression, first, source)], end + len(closing), strips


def _read_tag(source: str, start: int) -> tuple[list[Token], int, bool]:
    """The same of `{% … %}`. Comments have no tokens; raw text is content."""
    named = _NAME.match(source, start + 2)
    end = source.find("%}", start + 2)
    if end < 0 or named is None:
        raise TemplateError("%} is missing", source, start)
    name = named.group(1)
    first, expression, strips = _trimmed(source, min(named.end(), end), end)
    after = end + 2
    if name == "raw":
        closing = _END_RAW.search(source, after)
        if closing is None:
            raise TemplateError("{% endraw %} is missing", source, start)
        return [Token(TOKEN_CONTENT, source[after : closing.start()], after, source)], closing.end(), bool(closing[1])
    if name == "comment":
        return [], *_after_comment(source, start, after)
    if name == "#":
        return [], after, strips
    if not name:
        raise TemplateError("the tag has no name", source, start)
    tokens = [Token(TOKEN_TAG, name, start, source)]
    return tokens + ([Token(TOKEN_EXPRESSION, expression, first, source)] if expression else []), after, strips


def _after_comment(source: str, start: int, after: int) -> tuple[int, bool]:
    depth = 1
    for found in _COMMENT_TAG.finditer(source, after):
        depth += 1 if found[1] == "comment" else -1
        if not depth:
            return found.end(), bool(found[2])
    raise TemplateError("{% endcomment %} is missing", source, start)


def _trimmed(source: str, start: int, end: int) -> tuple[int, str, bool]:
    """Where the expression between two places begins, the expression, and whether a dash ends it."""
    text = source[start:end]
    strips = text.endswith("-")
    text = text.removesuffix("-")
    inner = text[1:] if text.startswith("-") and not text[1:2].isdigit() else text
    bare = inner.strip()
    return start + len(text) - len(inner) + (len(inner) - len(inner.lstrip())), bare, strips


@dataclass(frozen=True)
class Compiled:
    """One part of a template, ready to be filled in."""

    source: str
    escapes: bool
    parsed: BoundTemplate

    def used(self) -> dict[str, int]:
        """The names of variables that it asks for, each with the place of its first use."""
        found = self.parsed.analyze().globals
        return {str(name): uses[0].span.index for name, uses in found.items() if str(name) not in KNOWN}

    def check_filters(self) -> None:
        """Raises `TemplateError` for a filter that there is not: Liquid itself tells only when it meets it."""
        for name, spans in self.parsed.analyze().filters.items():
            if name not in _LANGUAGES[self.escapes].filters:
                advice = f"; a fallback is written | default: '{name}'"  # Resend's {{{NAME|friend}}}
                raise TemplateError(f"there is no filter '{name}'{advice}", self.source, spans[0].index)

    def render(self, variables: Mapping[str, Any]) -> str:
        """Raises `TemplateError`."""
        try:
            return str(self.parsed.render(variables))
        except UndefinedError as error:
            name, index = _missing(error)
            detail = f"{name} is not given, and is neither tested nor given a default here"
            raise TemplateError(detail, self.source, index, variable=name) from None
        except LiquidError as error:
            raise _told(error, self.source) from None
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise TemplateError(f"an expression fails: {error}"[:200]) from None


@lru_cache(maxsize=64)
def compiled(source: str, *, escapes: bool) -> Compiled:
    """Raises `TemplateError`."""
    try:
        return Compiled(source, escapes, _LANGUAGES[escapes].from_string(source))
    except LiquidError as error:
        cause = error.__cause__
        if isinstance(cause, TemplateError):
            raise cause from None
        if isinstance(cause, RecursionError):
            raise TemplateError("an expression is nested too deeply") from None
        raise _told(error, source) from None


def _missing(error: UndefinedError) -> tuple[str, int]:
    return str(error.message).removesuffix(" is undefined").strip("'")[:200], _index(error)


def _told(error: LiquidError, source: str) -> TemplateError:
    detail = str(error.message).replace("end of expression", "the end")
    if isinstance(error, ResourceLimitError):
        detail = f"too much: {detail}"
    if error.token is not None and error.token.kind == TOKEN_EOF:
        return TemplateError(detail[:300], source, len(source))
    return TemplateError(detail[:300], source, _index(error))


def _index(error: LiquidError) -> int:
    token = error.token
    return -1 if token is None or token.kind == TOKEN_EOF else token.start_index
