"""Pictures of every page: `script/screenshots`. With `--docs` only the few that README and docs show, into docs/images/.

Starts a PlugSend of its own, fills it (`manage.py fill_demo`) and walks it as a stranger, as somebody who has just come, as an
owner and as an operator. Which pages there are, the URL patterns tell; where a pattern takes ids, the first address that a page
links to is taken, so that a new page comes in by itself. Each is taken at two widths and in both colour schemes.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import django
from playwright.async_api import APIResponse, Browser, BrowserContext, Error, Page, async_playwright

REPO = Path(__file__).resolve().parent.parent
OUT, DOCS = REPO / "screenshots", REPO / "docs" / "images"
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
AT_ONCE = 4
PAGE_MS = 15_000
PAINTED_MS = 300  # a frame of another process
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
WALK_S, TAKE_S = 180, 420
TALLEST = 6000  # pixels
DOCS_OCTETS = 60_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-background-networking"]

# What ends the visit, or is no page: files, parts of pages, addresses of programs.
LEFT_OUT = re.compile(
    r"^(?:/healthz|/readyz|/favicon|/static/|/api/(?!v1/docs)|/accounts/logout|/.*/(?:raw|download)/?$)"
)


@dataclass(frozen=True)
class Person:
    name: str
    words: str
    email: str = ""
    starts: tuple[str, ...] = ("/",)
    walks: str = r"^/(?!admin/)"  # addresses that are theirs to look at
    password: str = ""


@dataclass
class Shot:
    person: str
    pattern: str
    path: str
    title: str = ""
    files: dict[str, str] = field(default_factory=dict)  # by "1280 light"
    problem: str = ""


@dataclass(frozen=True)
class Picture:
    """One for README and docs: the page of a pattern, its top."""

    file: str
    person: str
    pattern: str
    width: int = 1280
    height: int = 900
    scheme: str = "light"


PICTURES = (
    Picture("message.png", "owner", "messages/<uuid:message_id>/", height=1000),
    Picture("overview.png", "owner", "overview/"),
    Picture("statistics.png", "owner", "statistics/", scheme="dark"),
    Picture("domain.png", "owner", "domains/<uuid:domain_id>/"),
    Picture("template.png", "owner", "templates/<uuid:template_id>/"),
    Picture("phone.png", "owner", "messages/", width=390, height=844),
)


# ---- Which pages there are


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """(route, expression) of every address that Django knows."""
    from django.urls import URLPattern, URLResolver, get_resolver

    def walk(resolver: Any, route: str, expression: str) -> Iterator[tuple[str, re.Pattern[str]]]:
        for one in resolver.url_patterns:
            # Either kind of pattern knows its expression; the inner ones are anchored at their beginning.
            inner = one.pattern.regex.pattern.removeprefix("^").removesuffix("\\Z")
            if isinstance(one, URLResolver):
                yield from walk(one, route + str(one.pattern), expression + inner)
            elif isinstance(one, URLPattern):
                yield route + str(one.pattern), re.compile(f"^/{expression}{inner.removesuffix('$')}$")

    yield from walk(get_resolver(), "", "")


class Walk:
    """One person's way through all pages: for each pattern the first address that is a page."""

    def __init__(self, person: Person, base: str, context: BrowserContext) -> None:
        self.person, self.base, self._context = person, base, context
        self._known = list(patterns())
        self.shots: dict[str, Shot] = {}

    def pattern_of(self, path: str) -> str | None:
        """Empty: of the first page."""
        return next((route for route, expression in self._known if expression.match(path)), None)

    async def walk(self) -> list[Shot]:
        plain = ["/" + route for route, _ in self._known if not re.search(r"[<(\[^$\\]", route)]
        waiting = [*self.person.starts, *plain]
        seen: set[str] = set()
        while waiting:
            batch, waiting = waiting[: 2 * AT_ONCE], waiting[2 * AT_ONCE :]
            wanted = [path for path in dict.fromkeys(batch) if path not in seen and self._is_wanted(path)]
            seen.update(wanted)
            # In their order, whichever is answered first: the same pages each time.
            for path, text in zip(wanted, await asyncio.gather(*(self._read(path) for path in wanted)), strict=True):
                pattern = self.pattern_of(urlsplit(path).path)
                if "<html" in text[:2000] and pattern is not None and pattern not in self.shots:
                    self.shots[pattern] = Shot(self.person.name, pattern, path)
                    waiting += [link for link in self._links(path, text) if link not in seen]
        return list(self.shots.values())

    def _is_wanted(self, path: str) -> bool:
        pattern = self.pattern_of(urlsplit(path).path)
        is_theirs = re.match(self.person.walks, path) and not LEFT_OUT.match(path)
        return bool(pattern is not None and is_theirs and pattern not in self.shots)

    async def _read(self, path: str) -> str:
        """Empty where there is no page."""
        try:
            answer = await self._context.request.get(self.base + path, max_redirects=0, timeout=PAGE_MS)
        except Error:
            return ""
        return await answer.text() if _is_page(answer) else ""

    def _links(self, path: str, text: str) -> list[str]:
        found = [html.unescape(link) for link in re.findall(r'(?:href|src)="([^"#]+)', text)]
        whole = [urlsplit(urljoin(self.base + path, link)) for link in found]
        return list(dict.fromkeys(one.path for one in whole if one.netloc == urlsplit(self.base).netloc))


def _is_page(answer: APIResponse) -> bool:
    """Of ours: a mail's own HTML, in which no script runs, is seen in the frame of another."""
    is_ours = "sandbox" not in answer.headers.get("content-security-policy", "")
    return is_ours and answer.status == 200 and answer.headers.get("content-type", "").startswith("text/html")


# ---- Pictures


async def take(page: Page, shot: Shot, base: str, folder: Path) -> None:
    slug = re.sub(r"[^a-z0-9]+", "-", shot.pattern.lower()).strip("-")[:90] or "home"
    try:
        await page.emulate_media(color_scheme="light", reduced_motion="reduce")
        await page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        await page.goto(base + shot.path, timeout=PAGE_MS)
        shot.title = await page.title()
        for width in WIDTHS:
            window = 900 if width > 500 else 844
            await page.set_viewport_size({"width": width, "height": window})
            for scheme in SCHEMES:
                await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                name = f"{shot.person}/{slug}-{width}-{scheme}.jpg"
                height = await page.evaluate("document.documentElement.scrollHeight")
                wide = await page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    shot.problem = f"{wide - width} px wider than {width}"
                # The window as tall as the page: chromium's own pictures of whole pages repeat parts, many at once.
                await page.set_viewport_size({"width": width, "height": max(window, min(height, TALLEST))})
                await page.evaluate(DRAWN)
                if await page.locator("iframe").count():
                    await page.wait_for_timeout(PAINTED_MS)
                await page.screenshot(path=folder / name, type="jpeg", quality=78, animations="disabled")
                await page.set_viewport_size({"width": width, "height": window})
                shot.files[f"{width} {scheme}"] = name
    except Error as error:
        shot.problem = str(error).splitlines()[0]


async def sign_in(context: BrowserContext, base: str, person: Person) -> None:
    page = await context.new_page()
    await page.goto(f"{base}/accounts/login/")
    await page.fill("input[name=login]", person.email)
    await page.fill("input[name=password]", person.password)
    await page.press("input[name=password]", "Enter")
    await page.wait_for_url(lambda url: "/login/" not in url, timeout=PAGE_MS)
    await page.close()


async def walk_and_take(browser: Browser, base: str, person: Person, folder: Path) -> list[Shot]:
    context = await browser.new_context()
    context.set_default_timeout(PAGE_MS)
    if person.email:
        await sign_in(context, base, person)
    shots = await asyncio.wait_for(Walk(person, base, context).walk(), WALK_S)
    (folder / person.name).mkdir(parents=True, exist_ok=True)
    waiting = list(shots)

    async def work() -> None:
        page = await context.new_page()
        while waiting:
            await take(page, waiting.pop(0), base, folder)
        await page.close()

    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(AT_ONCE))), TAKE_S)
    await context.close()
    return shots


async def take_for_docs(browser: Browser, base: str, people: list[Person]) -> None:
    person = next(one for one in people if one.name == "owner")
    context = await browser.new_context(device_scale_factor=1)
    await sign_in(context, base, person)
    walk = Walk(person, base, context)
    shots = {shot.pattern: shot for shot in await asyncio.wait_for(walk.walk(), WALK_S)}
    DOCS.mkdir(parents=True, exist_ok=True)
    page = await context.new_page()
    for picture in PICTURES:
        await page.emulate_media(color_scheme=picture.scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        await page.set_viewport_size({"width": picture.width, "height": picture.height})
        await page.goto(base + shots[picture.pattern].path)
        await page.wait_for_load_state("networkidle")
        await page.screenshot(path=DOCS / picture.file, animations="disabled")
        print(f"docs/images/{picture.file}: {shrink(DOCS / picture.file):,} octets")
    await context.close()


def shrink(path: Path) -> int:
    """To a palette, of fewer colours until it is light. Returns its octets."""
    from PIL import Image

    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    for colours in (128, 64, 32, 16):
        whole.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= DOCS_OCTETS:
            break
    return path.stat().st_size


# ---- The sheet


def write_sheet(shots: list[Shot], people: list[Person], missing: list[str], folder: Path) -> None:
    parts = [_SHEET_HEAD]
    for person in people:
        own = [shot for shot in shots if shot.person == person.name]
        parts.append(f"<h2>{html.escape(person.words)} <small>{len(own)} pages</small></h2>")
        for shot in sorted(own, key=lambda one: one.pattern):
            pictures = "".join(
                f'<a href="{file}"><img loading="lazy" class="w{view.split()[0]}" src="{file}" alt="{view}"></a>'
                for view, file in shot.files.items()
            )
            problem = f" <b>{html.escape(shot.problem)}</b>" if shot.problem else ""
            title, path = html.escape(shot.title), html.escape(shot.path)
            parts.append(f"<section><h3>{title} <code>{path}</code>{problem}</h3><div>{pictures}</div></section>")
    listed = "".join(f"<li><code>{html.escape(one)}</code></li>" for one in missing)
    parts.append(
        f"<h2>No page seen at</h2><p>Forms that only take, files, and what no page links to.</p><ul>{listed}</ul>"
    )
    (folder / "index.html").write_text("\n".join(parts))


_SHEET_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Screenshots</title><style>
body{margin:24px;font:14px/1.5 system-ui,sans-serif;background:#777;color:#fff}small,code{font-weight:400;opacity:.8}
b{background:#b3261e;padding:2px 6px}div{display:flex;gap:12px;overflow-x:auto;align-items:flex-start}a{flex:none}
img{display:block;max-height:560px;object-fit:cover;object-position:top}.w1280{width:640px}.w390{width:260px}
h3{margin:24px 0 8px}
</style><h1>Every page</h1>"""


# ---- All of it


def people_of() -> list[Person]:
    from plugsend.demo_world import NEWCOMER, OPERATOR, OWNER, PASSWORD_OF_ALL

    return [
        Person("stranger", "Signed out"),
        Person("newcomer", "Just come: everything is empty", NEWCOMER, password=PASSWORD_OF_ALL,
               walks=r"^/(?!admin/|accounts/|errors/|docs/|sandbox/)"),
        Person("owner", "The owner of an organization in use", OWNER, password=PASSWORD_OF_ALL, walks=r"^/(?!admin/)"),
        Person("operator", "Operators", OPERATOR, starts=("/admin/",), walks=r"^/admin/(?!logout)", password=PASSWORD_OF_ALL),
    ]  # fmt: skip


async def everything(base: str, *, docs: bool, only: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        raise SystemExit("Pictures need chromium (Debian: apt install chromium).")
    people = [person for person in people_of() if not only or person.name == only]
    began = time.monotonic()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        if docs:
            await take_for_docs(browser, base, people)
        else:
            shutil.rmtree(OUT, ignore_errors=True)
            shots: list[Shot] = []
            for person in people:
                shots += await walk_and_take(browser, base, person, OUT)
                print(f"{person.words}: {sum(one.person == person.name for one in shots)} pages")
            missing = sorted({route for route, _ in patterns()} - {shot.pattern for shot in shots})
            write_sheet(shots, people, [one for one in missing if not LEFT_OUT.match(f"/{one}")], OUT)
            for shot in shots:
                if shot.problem:
                    print(f"  {shot.person} {shot.path}: {shot.problem}")
            print(f"{OUT / 'index.html'}, after {time.monotonic() - began:.0f} s")
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/screenshots", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="only the pictures in docs/images/")
    parser.add_argument("--only", default="", choices=["", "stranger", "newcomer", "owner", "operator"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plugsend-screenshots-") as place:
        Path(place).chmod(0o711)  # as root the engines' account must be able to pass
        var = Path(place) / "var"
        # Before anything of Django's is imported: it is asked for the addresses, and a platform's tests import models.
        os.environ |= {"PLUGSEND_VAR": str(var), "DJANGO_SETTINGS_MODULE": "plugsend.settings"}
        django.setup()
        from tests.platform import running_platform

        with running_platform(var.parent) as platform:
            print(f"PlugSend at {platform.web_url}, being filled", flush=True)
            subprocess.run([sys.executable, "manage.py", "fill_demo"], cwd=REPO, check=True)
            asyncio.run(everything(platform.web_url, docs=asked.docs, only="owner" if asked.docs else asked.only))


if __name__ == "__main__":
    main()
