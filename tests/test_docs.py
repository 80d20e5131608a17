"""The documentation in the app: every page, link and anchor, what is generated, what is found, and whose address code shows."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape
from uuid import uuid4

import pytest
from django.core.management import get_commands, load_command_class
from django.test import Client
from django.urls import resolve, reverse
from django.utils.html import strip_tags

from accounts.catalogue import REFUSALS
from accounts.models import Membership, Role
from events.reasons import REASONS
from plugsend.api_docs import groups
from plugsend.documentation import pages as documentation
from plugsend.documentation.code import PLAIN, Values, fill
from plugsend.documentation.contents import FOLDER, ORDER
from plugsend.documentation.generated import renewed
from plugsend.documentation.pages import pages, read
from plugsend.documentation.search import find
from plugsend.documentation.snippets import snippet
from relay.sandbox.models import ZoneRecord
from tests.factories import make_domain, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db

HEAVIEST = 150_000  # octets of HTML, before compression


def body(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


def every_url() -> list[str]:
    return [
        *(documentation.url_of(slug) for slug in ORDER),
        *(reverse("error_help", args=[code]) for code in REFUSALS),
        *(reverse("docs_api", args=[group.tag]) for group in groups()),
        reverse("docs_search") + "?q=bounce",
    ]


def test_every_page_is_served_and_every_link_and_anchor_leads_somewhere() -> None:
    client = Client()
    shown = {url: body(client, url) for url in every_url()}
    broken = []
    for url, html in shown.items():
        ids = re.findall(r'\bid="([^"]+)"', html)
        assert len(ids) == len(set(ids)), (url, sorted(one for one in ids if ids.count(one) > 1))
        main = html.partition('<main id="main"')[2].partition("</main>")[0]
        for href in map(unescape, re.findall(r'<(?:a|img)[^>]* (?:href|src)="([^"]+)"', main)):
            if re.match(r"(https|mailto):", href):
                continue
            path, _, fragment = href.partition("#")
            path = path.partition("?")[0] or url.partition("?")[0]
            target = shown.get(path) or (
                body(client, path) if path.startswith("/docs/") and "/files/" not in path else ""
            )
            if "/files/" in path:
                assert client.get(path).status_code == 200, href
            elif not target:
                resolve(path)
            if fragment and f'id="{fragment}"' not in target:
                broken.append(f"{url}: {href}")
    assert broken == []


def test_every_file_of_docs_is_in_the_contents_and_what_is_generated_is_fresh() -> None:
    files = {path.relative_to(FOLDER).as_posix(): path.read_text() for path in FOLDER.rglob("*.md")}
    assert sorted(files) == sorted(f"{slug}.md" for slug in ORDER)
    stale = [name for name, text in files.items() if renewed(text) != text]
    assert stale == [], "run manage.py write_docs"


def test_json_on_the_pages_is_json() -> None:
    found = [json.loads(block.text) for page in pages().values() for block in page.blocks if block.language == "json"]
    assert len(found) >= 2


def test_a_refusals_page_says_what_both_doors_say() -> None:
    text = unescape(strip_tags(body(Client(), reverse("error_help", args=["sender_domain_not_verified"]))))
    refusal = REFUSALS["sender_domain_not_verified"]
    assert refusal.advice in text
    assert f"550 5.7.1 sender_domain_not_verified: <domain> is not verified yet. {refusal.help_url}" in text
    shown = json.loads(text[text.index("{") : text.index("}") + 1])
    assert (shown["code"], shown["status"], shown["advice"]) == (refusal.code, 403, refusal.advice)
    assert Client().get("/errors/no_such_code/").status_code == 404
    assert Client().get("/docs/no/such/page/").status_code == 404
    assert Client().get("/docs/files/../.env.example").status_code == 404


# ---- Rendering -------------------------------------------------------------------------------------------------------


def render(source: str) -> str:
    return read("README", f"# Title\n\n{source}").html(PLAIN)


def test_markdown_becomes_html_and_html_in_it_does_not() -> None:
    html = render("<script>alert(1)</script> [x](javascript:alert(1)) `<b>`\n\n> [!WARNING]\n> Mind *this*.\n")
    assert "<script" not in html
    assert 'href="javascript' not in html
    assert "<code>&lt;b&gt;</code>" in html
    assert 'class="markdown-alert markdown-alert-warning"' in html
    table = render("| word | |\n|---|---|\n| `mailbox_full` | a \\| b |\n")
    assert '<tr id="mailbox_full">' in table
    assert "a | b" in table
    group = render('```sh tab="A"\necho "<a>"\n```\n\n```sh tab="B"\necho\n```\n')
    assert group.count("<section>") == 2
    assert "&lt;a&gt;" in group
    assert "<a>" not in group


@pytest.mark.parametrize("link", ["nothing.md", "../README.md", "missing.png"])
def test_a_link_that_leads_nowhere_is_an_error(link: str) -> None:
    with pytest.raises(KeyError):
        render(f"[x]({link})")


# ---- Code that no running PlugSend is needed for ----------------------------------------------------------------------


def test_every_command_of_manage_is_there_and_takes_what_it_is_given() -> None:
    found = 0
    for page in pages().values():
        for name, given in re.findall(r"manage\.py ([a-z_]+)((?: +[\w./:@-]+)*)", page.source):
            parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
            words = given.split()
            if words and words[-1].startswith("--") and f"{words[-1]} …" in page.source:
                words.append("1")
            parser.parse_args(words)
            found += 1
    assert found > 12


def test_a_zone_is_published_with_a_mistake_from_code() -> None:
    domain = make_domain(make_tenant().organization)
    exec(pages()["sandbox-dns"].blocks[1].text, {"domain": domain})
    assert not ZoneRecord.objects.filter(name=f"_plugsend.{domain.name}").exists()
    assert ZoneRecord.objects.filter(name__endswith=f"{domain.name}.{domain.name}").exists()


# ---- Filling ---------------------------------------------------------------------------------------------------------

ACME = Values(user="post@acme.test", host="mail.here", port=2587, url="http://here:8000", sandbox=True)


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("swaks --server smtp.plugsend.example:587", "swaks --server mail.here:2587"),
        ("Host smtp.plugsend.example", "Host mail.here"),
        ("https://plugsend.example/api/v1/emails", "http://here:8000/api/v1/emails"),
        ('"Shop <admin@yourdomain.com>"', '"Shop <post@acme.test>"'),
        ("news@yourdomain.com psrp.yourdomain.com", "news@acme.test psrp.acme.test"),
        ("notyourdomain.com smtp.plugsend.example.org", "notyourdomain.com smtp.plugsend.example.org"),
        ("ps_live_…", "ps_live_…"),
    ],
)
def test_placeholders_are_filled(written: str, filled: str) -> None:
    assert fill(written, ACME) == filled


HOSTILE = [
    "o'neil@acme.test",
    "a$(id)@acme.test",
    "`id`@acme.test",
    "#{x}@acme.test",
    '"@acme.test',
    "<b>@acme.test",
    "-x@a.test",
]


@pytest.mark.parametrize("user", HOSTILE)
def test_an_address_that_code_could_mistake_stays_out_of_free_code_and_is_quoted_in_snippets(user: str) -> None:
    assert fill("x admin@yourdomain.com yourdomain.com", Values(user=user)) == "x admin@yourdomain.com yourdomain.com"
    values = Values(user=user)
    words = shlex.split(snippet("swaks", values).replace("\\\n", " "))
    assert words[words.index("--auth-user") + 1] == user
    assert f'message["From"] = {json.dumps(user)}\n' in snippet("python", values)
    compile(snippet("python", values), "python", "exec")
    page = pages()["quickstarts/python"].html(values)
    assert user not in page or not set(user) & set("<>&")


def test_signed_in_code_holds_the_readers_own_smtp_user_and_the_choice_is_remembered() -> None:
    tenant, other = make_tenant(), make_tenant("Other", "other@other.test")
    domain = make_domain(tenant.organization)
    users = [make_smtp_user(domain, local_part=name) for name in ("first", "second")]
    strangers = make_smtp_user(make_domain(other.organization, name="strangers.test"))
    url = documentation.url_of("quickstarts/python")

    def text(client: Client) -> str:
        return unescape(strip_tags(body(client, url).partition('class="prose"')[2]))

    assert 'message["From"] = "admin@yourdomain.com"' in text(Client())
    assert f'message["From"] = "{users[1].address}"' in text(tenant.client)  # the newest
    choose = reverse("docs_reader")
    assert tenant.client.post(choose, {"smtp_user": users[0].pk, "next": url}).url == url  # type: ignore[attr-defined]
    shown = text(tenant.client)
    assert f'message["From"] = "{users[0].address}"' in shown
    assert "yourdomain.com" not in shown
    assert "ps_live_…" in shown
    assert tenant.client.post(choose, {"smtp_user": users[0].pk, "next": "https://evil.example/"}).url == "/docs/"  # type: ignore[attr-defined]
    for wrong in (strangers.pk, uuid4(), "x"):
        assert tenant.client.post(choose, {"smtp_user": wrong}).status_code == 404
    assert strangers.address not in body(tenant.client, url)
    Membership.objects.filter(user=tenant.user).update(role=Role.VIEWER)
    assert tenant.client.get(url).status_code == 200


# ---- Searching -------------------------------------------------------------------------------------------------------


def test_search_finds_pages_passages_codes_reasons_and_operations() -> None:
    firsts = {
        "sender_domain_not_verified": "/errors/sender_domain_not_verified/",
        "greylisted": "/docs/retries-and-reasons/#greylisted",
        "webhooks": "/docs/webhooks/",
        "glossary": "/docs/glossary/",
        "django": "/docs/quickstarts/django/",
        "safe resend": "/docs/idempotency/#over-smtp-without-any-change",
    }
    assert {query: find(query, 1)[0].url for query in firsts} == firsts
    assert any("/docs/api/" in hit.url for hit in find("cancel an email"))
    assert "/docs/retries-and-reasons/" in find("greylis")[0].url  # the last word in part
    missed = [code for code in REFUSALS if reverse("error_help", args=[code]) not in [hit.url for hit in find(code, 2)]]
    assert missed == []
    assert [reason for reason in REASONS if reason not in [hit.title for hit in find(reason, 2)]] == []
    for strange in (
        "",
        "   ",
        '"',
        "a OR (",
        "NEAR(",
        "* -",
        "col:x",
        "ü",
        "x" * 5000,
        "\x00",
        "'; DROP TABLE passage",
    ):
        find(strange)
    assert find("qqqqzzzz") == []


def test_search_over_http_as_one_types_and_without_scripts() -> None:
    client = Client()
    assert "<mark>" in body(client, "/docs/search/?q=greylisting")
    assert "Nothing is found" in body(client, "/docs/search/?q=<xyzzyx>")
    assert "<xyzzyx" not in body(client, "/docs/search/?q=<xyzzyx>")
    panel = client.get(
        "/docs/search/?q=dkim", headers={"HX-Request": "true", "HX-Target": "docs-panel"}
    ).content.decode()
    assert panel.count("<li>") == 9
    assert "<html" not in panel
