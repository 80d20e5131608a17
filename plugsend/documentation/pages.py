"""The pages: Markdown of `docs/` read once in each process, and made into HTML with what is the reader's own."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin

from plugsend.documentation.code import Values, coloured, fill, has_placeholders
from plugsend.documentation.contents import FOLDER, INDEX, ORDER, SECTION_OF, SHORT_TITLES
from plugsend.documentation.snippets import snippet
from plugsend.templatetags.ui import code as code_block

# What code hosts are to show in place of pages of ours; marks of what is generated.
_NOT_OURS = re.compile(r"^<!-- elsewhere -->\n.*?^<!-- end elsewhere -->\n|^<!--.*?-->\n?", re.MULTILINE | re.DOTALL)
_MARK = "\x00"  # parts that differ by reader; Markdown itself never lets a NUL through (CommonMark, 2.3)
_ROW_ID = re.compile(r"[a-z][a-z0-9_.]+")
_TABLE = '<div class="prose-table" role="group" aria-label="Table" tabindex="0">'  # wide ones scroll
_SHOWN_AS = {"sh": "Shell", "js": "JavaScript", "json": "JSON", "text": ""}


@dataclass(frozen=True, slots=True)
class Block:
    """A fence. Its info string: a language, then `title="…"`, `tab="…"`, `snippet="…"` and bare words for the tests."""

    language: str
    text: str
    title: str = ""
    tab: str = ""  # blocks with a tab that follow each other are one group
    snippet: str = ""
    words: tuple[str, ...] = ()

    def code(self, values: Values) -> str:
        return snippet(self.snippet, values) if self.snippet else fill(self.text, values)

    def html(self, values: Values) -> SafeString:
        label = self.title or _SHOWN_AS.get(self.language, "")
        return code_block(coloured(self.code(values), self.language), label=label)


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of which one is shown, by their tabs; without JavaScript they stand below each other."""

    id: str
    blocks: tuple[Block, ...]

    def html(self, values: Values) -> SafeString:
        sections = "".join(
            format_html('<section><p class="tab-title">{}</p>{}</section>', block.tab, block.html(values))
            for block in self.blocks
        )
        return format_html(
            '<div class="tabs" id="{}" data-label="Languages" data-remember>{}</div>',
            self.id,
            mark_safe(sections),  # noqa: S308 - made by format_html
        )


@dataclass(frozen=True, slots=True)
class Words:
    """Code inside of a sentence that holds a placeholder."""

    text: str

    def html(self, values: Values) -> SafeString:
        return format_html("<code>{}</code>", fill(self.text, values))


Part = Block | Group | Words


@dataclass(frozen=True, slots=True)
class Heading:
    id: str
    text: str
    level: int


@dataclass(frozen=True, slots=True)
class Passage:
    """What stands below one heading, as plain text, for the search."""

    id: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    slug: str
    title: str
    lead: str  # the first paragraph, as plain text
    source: str
    headings: tuple[Heading, ...]
    passages: tuple[Passage, ...]
    blocks: tuple[Block, ...]
    links: tuple[str, ...]  # as they stand in HTML
    ids: frozenset[str]
    _pieces: tuple[SafeString | Part, ...]

    @property
    def url(self) -> str:
        return url_of(self.slug)

    @property
    def section(self) -> str:
        return SECTION_OF[self.slug]

    @property
    def short_title(self) -> str:
        return SHORT_TITLES[self.slug]

    def html(self, values: Values) -> SafeString:
        return _assembled(self, values)


@lru_cache(maxsize=256)
def _assembled(page: Page, values: Values) -> SafeString:
    parts = (piece if isinstance(piece, str) else piece.html(values) for piece in page._pieces)
    return mark_safe("".join(parts))  # noqa: S308 - each part is HTML already


def url_of(slug: str, fragment: str = "") -> str:
    """The pages on errors have addresses of their own, which refusals carry."""
    if slug == "errors":
        return reverse("error_help", args=[fragment]) if fragment else reverse("error_index")
    url = reverse("docs") if slug == INDEX else reverse("docs_page", args=[slug])
    return f"{url}#{fragment}" if fragment else url


@cache
def pages() -> dict[str, Page]:
    return {slug: read(slug, (FOLDER / f"{slug}.md").read_text(encoding="utf-8")) for slug in ORDER}


@cache
def files() -> frozenset[str]:
    """What pages show or link to beside other pages."""
    found = (path for path in FOLDER.rglob("*") if path.suffix in {".png", ".json"})
    return frozenset(path.relative_to(FOLDER).as_posix() for path in found)


def neighbours(slug: str) -> tuple[Page | None, Page | None]:
    index = ORDER.index(slug)
    before = pages()[ORDER[index - 1]] if index else None
    return before, pages()[ORDER[index + 1]] if index + 1 < len(ORDER) else None


def read(slug: str, source: str) -> Page:
    """Raises KeyError where a link leads to no page and no file."""
    reading = _Reading(slug)
    markdown = MarkdownIt("commonmark", {"html": False, "typographer": False, "alerts": True})
    markdown.enable(["table", "strikethrough"])
    markdown.use(anchors_plugin, min_level=2, max_level=4)
    markdown.core.ruler.push("documentation", reading.prepare)
    markdown.add_render_rule("fence", lambda _, *given: reading.fence(*given))
    markdown.add_render_rule("code_block", lambda _, *given: reading.code_block(*given))
    markdown.add_render_rule("code_inline", lambda _, *given: reading.code_inline(*given))
    markdown.add_render_rule("table_open", lambda *_: f"{_TABLE}<table>")
    markdown.add_render_rule("table_close", lambda *_: "</table></div>")
    tokens = markdown.parse(_NOT_OURS.sub("", source))
    html = markdown.renderer.render(tokens, markdown.options, {})
    return Page(
        slug=slug,
        title=reading.title,
        lead=reading.lead,
        source=source,
        headings=tuple(reading.headings),
        passages=tuple(reading.passages()),
        blocks=tuple(reading.blocks),
        links=tuple(reading.links),
        ids=frozenset(reading.ids),
        _pieces=tuple(reading.pieces(html)),
    )


@dataclass
class _Reading:
    """One page while it is made."""

    slug: str
    title: str = ""
    lead: str = ""
    headings: list[Heading] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    _texts: list[tuple[Heading, list[str]]] = field(default_factory=list)
    _parts: list[Part] = field(default_factory=list)

    # ---- Tokens: a rule of markdown-it's core

    def prepare(self, state: StateCore) -> None:
        tokens = state.tokens
        self.ids |= {str(token.attrGet("id")) for token in tokens if token.type == "heading_open" and token.tag != "h1"}
        for index, token in enumerate(tokens):
            if token.type == "heading_open":
                self._heading(token, _text(tokens[index + 1]))
            elif token.type == "inline":
                self._links(token.children or [])
                if tokens[index - 1].type == "paragraph_open" and not self.lead and self.title:
                    self.lead = _text(token)
                if tokens[index - 1].type != "heading_open":
                    self._note(_text(token))
            elif token.type in ("fence", "code_block"):
                self._note(token.content)
            elif token.type == "tr_open" and tokens[index + 1].type == "td_open":
                self._row(token, tokens[index + 2])
        state.tokens = self._without_title(tokens)

    def _heading(self, token: Token, text: str) -> None:
        if token.tag == "h1":
            self.title = text
            self._texts.append((Heading("", text, 1), []))
            return
        heading = Heading(str(token.attrGet("id")), text, int(token.tag[1]))
        token.attrSet("tabindex", "-1")
        self.headings.append(heading)
        self._texts.append((heading, []))

    def _without_title(self, tokens: list[Token]) -> list[Token]:
        """The template shows it."""
        start = next(index for index, token in enumerate(tokens) if token.tag == "h1")
        return tokens[:start] + tokens[start + 3 :]

    def _row(self, token: Token, cell: Token) -> None:
        """A row that explains one word has that word as its anchor."""
        words = cell.children or []
        if len(words) == 1 and words[0].type == "code_inline" and _ROW_ID.fullmatch(words[0].content):
            word = words[0].content
            if word not in self.ids:
                self.ids.add(word)
                token.attrSet("id", word)

    def _links(self, children: Sequence[Token]) -> None:
        for child in children:
            if child.type == "link_open":
                child.attrSet("href", self._resolved(str(child.attrGet("href"))))
                self.links.append(str(child.attrGet("href")))
            elif child.type == "image":
                child.attrSet("src", self._file(str(child.attrGet("src"))))
                child.attrSet("loading", "lazy")

    def _resolved(self, href: str) -> str:
        target, _, fragment = href.partition("#")
        if re.match(r"[a-z]+:", href) or href.startswith("/") or not target:
            return href
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.slug), target))
        if not path.endswith(".md"):
            return self._file(target)
        slug = path.removesuffix(".md")
        if slug not in SECTION_OF:
            raise KeyError(f"docs/{self.slug}.md links to {href}, which is no page of plugsend.documentation.contents.")
        return url_of(slug, fragment)

    def _file(self, target: str) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.slug), target))
        if path not in files():
            raise KeyError(f"docs/{self.slug}.md links to {target}, and there is no such file.")
        return reverse("docs_file", args=[path])

    def _note(self, text: str) -> None:
        if self._texts:
            self._texts[-1][1].append(text)

    def passages(self) -> Iterator[Passage]:
        for heading, texts in self._texts:
            yield Passage(heading.id, heading.text if heading.level > 1 else "", "\n".join(texts))

    # ---- HTML: what differs by reader leaves a mark, and is put in later

    def fence(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        block = _block(tokens[index])
        self.blocks.append(block)
        if not block.tab:
            return self._mark(block)
        if index and tokens[index - 1].type == "fence" and _block(tokens[index - 1]).tab:
            return ""  # in the group of the one before
        group = []
        for token in tokens[index:]:
            if token.type != "fence" or not _block(token).tab:
                break
            group.append(_block(token))
        return self._mark(Group(f"code-{len(self._parts)}", tuple(group)))

    def code_block(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        block = Block("", tokens[index].content.rstrip("\n"))
        self.blocks.append(block)
        return self._mark(block)

    def code_inline(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        text = tokens[index].content
        return self._mark(Words(text)) if has_placeholders(text) else f"<code>{escape(text)}</code>"

    def _mark(self, part: Part) -> str:
        self._parts.append(part)
        return f"{_MARK}{len(self._parts) - 1}{_MARK}"

    def pieces(self, html: str) -> Iterator[SafeString | Part]:
        for number, piece in enumerate(html.split(_MARK)):
            yield self._parts[int(piece)] if number % 2 else mark_safe(piece)  # noqa: S308 - markdown-it escapes


def _block(token: Token) -> Block:
    language, *words = shlex.split(token.info) or [""]
    options = dict(word.split("=", 1) for word in words if "=" in word)
    return Block(
        language,
        token.content.rstrip("\n"),
        options.pop("title", ""),
        options.pop("tab", ""),
        options.pop("snippet", ""),
        tuple(word for word in words if "=" not in word),
    )


def _text(inline: Token) -> str:
    """Of a line or paragraph, without its marks."""
    words = (" " if child.type in ("softbreak", "hardbreak") else child.content for child in inline.children or [])
    return "".join(words)
