"""Every page and every operation of the API, asked by one organization with another's ids: nothing is read, nothing changes.

Addresses come from the URL patterns and from the OpenAPI document, forms and links from the pages themselves: what is added is
walked, too. Where an address has a part that nobody knows here, the walk says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from html.parser import HTMLParser
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid5

import pytest
from allauth.usersessions.models import UserSession
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse
from django.urls.resolvers import URLResolver
from pytest_django.fixtures import Settings

from accounts.models import ApiKey, Organization, Role
from domains.models import SmtpUser, SmtpUserKey
from plugsend.api_docs import document
from relay.acting.actions import Action
from relay.models import Message, Recipient, Suppression, Template
from relay.submission.desk import shared_desk
from relay.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.factories import make_domain, make_message, make_tenant
from tests.full_tenant import FullTenant, checksums, counterparts, make_full_tenant, rows_of, secrets_of, tenant_models

MINE, THEIRS = "rival", "walled"
REFUSED = {403, 404, 405}
# Parts of addresses that name nothing of a tenant's.
FREE = {
    "action": [action.value for action in Action], "code": ["invalid_credentials"], "mail_id": [str(UUID(int=7))],
    "destination": ["inbox.test"], "zone": ["x.test"], "service_id": ["x"], "number": ["1"], "key": ["x"], "uidb36": ["x"],
    "token": ["x"], "provider": ["x"], "provider_id": ["x"], "secret": ["x"], "pk": ["1"],  # a person's, no tenant's
    "path": ["images/message.png"], "slug": ["smtp", "quickstarts/python"], "tag": ["emails"],  # the documentation's
    "incident_id": ["00000000-0000-0000-0000-000000000007"],
    "id": ["1"], "object_id": ["1"], "content_type_id": ["1"], "app_label": ["relay"], "url": ["x"],  # of the admin
}  # fmt: skip
# Of the owner's own pages, those that lead on.
LEAD_ON = {
    "domain_connect", "domain_connected", "mfa_edit_webauthn", "mfa_remove_webauthn", "session_end", "member_remove",
    "hand_over",
}  # fmt: skip
TELL_KINDLY = {"invitation_resend", "invitation_revoke"}  # a message above the list of members, in place of 404


# ---- Addresses -------------------------------------------------------------------------------------------------------


def page_patterns() -> Iterator[tuple[str, str, str]]:
    """(name, route, part of a regular expression or none) of every address but those below /api/."""

    def walk(resolver: Any, before: str) -> Iterator[tuple[str, str]]:
        for one in resolver.url_patterns:
            route = before + str(one.pattern)
            if isinstance(one, URLResolver):
                yield from walk(one, route)
            elif isinstance(one, URLPattern):
                yield one.name or "", route

    for name, route in walk(get_resolver(), "/"):
        if not route.startswith("/api/"):
            plain = re.sub(r"\(\?P(<\w+>)(?:\[[^]]*\]|[^()])*\)", r"\1", route).replace("^", "").replace("$", "")
            yield name, plain.replace("\\Z", "").replace("\\", ""), route


@cache
def ids_of(tenant: FullTenant, name: str, route: str) -> list[str]:
    """What stands for `<name>` in an address: ids (or other names) of the tenant's first row of that kind."""
    organization = tenant.organization
    message = Message.objects.of(organization).earliest("id")
    template = Template.objects.of(organization).get()
    suppression = Suppression.objects.of(organization).get()
    smtp_user = SmtpUser.objects.of(organization).get()
    named: dict[str, list[Any]] = {
        "domain_id": [tenant.domain.pk],
        "key_id": [SmtpUserKey.objects.get(smtp_user=smtp_user).api_key_id]
        if "smtp" in route
        else [tenant.keys["send"].api_key.pk],
        "api_key_id": [tenant.keys["send"].api_key.pk],
        "message_id": [message.pk],
        "attachment_id": [uuid5(message.pk, "2")],
        "reference": [template.pk, template.alias],
        "which": [suppression.pk, suppression.address],
        "organization_id": [organization.pk],
        "member_id": [organization.memberships.earliest("created_at").pk],
        "session_id": [_session_of(organization).pk],
        "endpoint_id": [WebhookEndpoint.objects.of(organization).get().pk],
        "event_id": [WebhookDelivery.objects.of(organization).get().pk],
    }
    for model in tenant_models():
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", model.__name__).lower()
        if f"{snake}_id" == name and name not in named:
            named[name] = [rows_of(model, organization)[0].pk]
    assert name in named or name in FREE, f"say in tests/test_crossed_tenants.py what <{name}> in {route} stands for"
    return [str(value) for value in named.get(name) or FREE[name]]


def _session_of(organization: Organization) -> UserSession:
    owner = organization.memberships.earliest("created_at").user
    facts = {"user": owner, "ip": "192.0.2.1", "user_agent": "Firefox"}
    return UserSession.objects.get_or_create(session_key=organization.pk.hex, defaults=facts)[0]


def addresses(tenant: FullTenant, route: str) -> Iterator[tuple[str, bool]]:
    """With the tenant's ids, and whether there are any."""
    parts = re.findall(r"<(?:\w+:)?(\w+)>|\{(\w+)\}", route)
    names = [one or other for one, other in parts]
    for values in product(*(ids_of(tenant, name, route) for name in names)):
        address = route
        for value in values:
            address = re.sub(r"<[^>]+>|\{\w+\}", quote(value, safe="@"), address, count=1)
        yield address, any(name not in FREE for name in names)


class PageParser(HTMLParser):
    """The forms of a page as (address, fields), and where its links lead."""

    def __init__(self, address: str, page: str) -> None:
        super().__init__()
        self._address = address
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.links: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        for name in ("href", "src", "hx-get"):
            if given.get(name, "").startswith("/"):
                self.links.add(given[name])
        if tag == "form" and given.get("method", "").lower() == "post":
            self.forms.append((given.get("action") or given.get("hx-post") or self._address, {}))
        elif tag in {"input", "button", "option"} and self.forms:
            fields = self.forms[-1][1]
            if tag == "option":
                fields[self._select] = given.get("value", "")
            elif given.get("name"):
                fields[given["name"]] = given.get("value") or "x"
        elif tag in {"select", "textarea"} and self.forms:
            self._select = given.get("name", "")
            self.forms[-1][1].setdefault(self._select, "x")


# ---- The walk --------------------------------------------------------------------------------------------------------


class Walk:
    def __init__(self) -> None:
        Organization.objects.create(name="PlugSend", is_system=True)
        self.mine, self.theirs = make_full_tenant(MINE), make_full_tenant(THEIRS)
        self.swap = counterparts(self.mine, self.theirs) | {MINE: THEIRS}
        self._swap = re.compile("|".join(map(re.escape, self.swap)))
        self._secrets = secrets_of(self.theirs, self.mine)
        self._before = checksums(self.theirs.organization)
        self._has_written = False
        assert THEIRS in "".join(self._secrets)
        assert len(self._secrets) > 100

    def crossed(self, text: str) -> str:
        """With their ids and names in the place of ours."""
        return self._swap.sub(lambda found: self.swap[found[0]], text)

    def check(self, what: str, asked: str, answer: Any) -> None:
        """That the answer tells nothing of theirs but what was asked with, and that none of their rows is another."""
        assert answer.status_code < 500 or answer.status_code == 503, f"{what}: {answer.status_code}"
        told = (b"".join(answer) if answer.streaming else answer.content).decode("utf-8", "replace")
        told += "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        leaked = sorted(secret for secret in self._secrets if secret in told and secret not in asked)
        assert not leaked, f"{what} tells of another organization: {leaked[:5]}"
        if self._has_written or "/emails" in asked:  # which are stored by a connection that nobody watches here
            assert checksums(self.theirs.organization) == self._before, f"{what} changes another organization's rows"
        self._has_written = False

    def __enter__(self) -> Walk:
        self._watching = connection.execute_wrapper(self._watch)
        self._watching.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._watching.__exit__(*error)
        assert checksums(self.theirs.organization) == self._before

    def _watch(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        self._has_written |= (
            re.search(r"\b(INSERT|UPDATE|DELETE|TRUNCATE)\b", sql.replace("FOR UPDATE", "")) is not None
        )
        return execute(sql, parameters, many, context)


@pytest.fixture
def walk(db: None, settings: Settings) -> Iterator[Walk]:
    settings.API_KEY_RATE = settings.API_ORGANIZATION_RATE = 0
    with Walk() as walk:
        yield walk


@contextmanager
def undone() -> Iterator[None]:
    """What a request changes of its own organization must not be in the way of the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_no_page_crosses_organizations(walk: Walk) -> None:
    routes = list(page_patterns())
    assert len(routes) > 60
    roles: list[str | None] = [*(role.value for role in Role), None]
    for role in roles:
        client = walk.mine.client(role) if role else Client()
        cookies = client.cookies.copy()
        for method, (name, route, whole) in product(("GET", "POST"), routes):
            if route.startswith("/admin/") and role != Role.OWNER:
                continue  # it knows no roles but that of operators
            for address, has_ids in addresses(walk.theirs, route):
                client.cookies = cookies.copy()
                with undone():
                    answer = client.generic(method, address)
                    walk.check(f"{method} {address} as {role or 'a stranger'}", address, answer)
                    where = answer.get("Location", "")
                    is_sent_to_sign_in = ("/login/" in where and role is None) or "/reauthenticate/" in where
                    if has_ids and not is_sent_to_sign_in and name not in TELL_KINDLY:
                        assert answer.status_code in REFUSED, (
                            f"{method} {address} as {role} ({whole}): {answer.status_code}"
                        )


@pytest.mark.django_db
def test_no_form_and_no_link_crosses_organizations(walk: Walk) -> None:
    """What the owner's own pages offer, with another organization's ids and names in each place."""
    client = walk.mine.client("owner")
    forms, links, shown = {}, set(), ""
    for name, route, _ in page_patterns():
        for address, has_ids in addresses(walk.mine, route):
            if address.startswith("/admin/"):
                continue
            with undone():
                answer = client.get(address)
            if answer.status_code == 200 and "html" in answer["Content-Type"]:
                page = PageParser(address, answer.content.decode())
                forms |= {(where, frozenset(fields.items())): (where, fields) for where, fields in page.forms}
                links |= page.links
                shown += answer.content.decode()
            elif has_ids:
                assert answer.status_code in {200, 405} or name in LEAD_ON, f"GET {address}: {answer.status_code}"
    assert len(forms) > 20
    for kept in (f"{MINE}.test", f"{MINE} receipt", f"{MINE}-gone@inbox.test", walk.mine.keys["send"].api_key.prefix):
        assert kept in shown  # the walk sees what there is to see

    cookies = client.cookies.copy()
    for where, fields in forms.values():
        body = {name: walk.crossed(value) for name, value in fields.items() if "csrf" not in name}
        client.cookies = cookies.copy()
        with undone():
            walk.check(f"POST {walk.crossed(where)} {body}", f"{where} {body}", client.post(walk.crossed(where), body))
        client.cookies = cookies.copy()
        with undone():  # our address, their ids in the fields
            walk.check(f"POST {where} {body}", f"{walk.crossed(where)} {body}", client.post(where, body))
    for link in sorted({walk.crossed(link) for link in links if walk.crossed(link) != link}):
        client.cookies = cookies.copy()
        with undone():
            walk.check(f"GET {link}", link, client.get(link))


@pytest.mark.django_db
def test_what_is_searched_and_acted_on_stays_within_the_organization() -> None:
    acme, rival = make_tenant("Acme"), make_tenant("Rival")
    make_message(
        make_domain(acme.organization, "walled.test"),
        subject="For Acme only",
        to="bob@walled.example",
        state="deferred",
    )
    for query in ("state=deferred", "q=bob", "q=@walled.example", "q=bob@walled.example"):
        assert "For Acme only" not in rival.client.get(f"/messages/?{query}").content.decode()
    for action in Action:
        url = f"{reverse('messages_act', args=[action])}?state=open"
        assert "There is nothing to do" in rival.client.get(url).content.decode()
        rival.client.post(url)
        assert Client().post(url)["Location"].startswith(reverse("account_login"))
    assert Recipient.objects.get().state == "deferred"


@pytest.mark.django_db
def test_a_session_of_a_former_member_falls_back_to_their_own_organization() -> None:
    acme, rival = make_tenant("Acme"), make_tenant("Rival")
    message = make_message(make_domain(acme.organization))
    session = rival.client.session
    session["organization"] = str(acme.organization.pk)
    session.save()

    assert "Rival" in rival.client.get(reverse("overview")).content.decode()
    assert rival.client.get(reverse("message", args=[message.pk])).status_code == 404


# ---- The API ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def _own_desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its connections would keep the test database from being dropped."""
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield
    shared_desk().close()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in json.loads(document())["paths"].items():
        for method in sorted(methods.keys() & {"get", "post", "put", "patch", "delete"}):
            yield method.upper(), path, methods[method]


def bodies(operation: dict[str, Any], theirs: FullTenant) -> Iterator[str]:
    """The examples of the document, with their names and ids in them."""
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    suppression, template = (
        Suppression.objects.of(theirs.organization).get(),
        Template.objects.of(theirs.organization).get(),
    )
    for example in media.get("examples", {}).values() or [{"value": None}]:
        text = json.dumps(example.get("value")) if example.get("value") is not None else ""
        if operation["operationId"] != "domains_create":  # whose name it is, DNS tells: anybody may try
            if "remove" in operation["operationId"]:
                text = re.sub(r"gone@example\.com", suppression.address, text)
            text = re.sub(r"(example|yourdomain)\.com", theirs.domain.name, text)
        text = re.sub(r'"ids": \["[^"]+"', f'"ids": ["{suppression.pk}"', text)
        text = re.sub(r', \{"filename": "logo\.png"[^}]+\}', "", text)  # fetched from elsewhere
        yield text
        if operation["operationId"] == "emails_send":
            for reference in (str(template.pk), template.alias):
                mail = {"from": f"a@{MINE}.test", "to": ["b@inbox.test"], "template": {"id": reference}}
                yield json.dumps(mail)


def queries(operation: dict[str, Any], theirs: FullTenant) -> Iterator[str]:
    """Each parameter with what would find something of theirs."""
    organization = theirs.organization
    values = {
        "domain": theirs.domain.name, "smtp_user": SmtpUser.objects.of(organization).get().pk,
        "api_key": ApiKey.objects.of(organization)[0].pk, "recipient": f"{THEIRS}-deferred@inbox.test", "subject": THEIRS,
        "tag": f"{THEIRS}-tag", "metadata": f"order:{THEIRS}", "email": THEIRS,
        "before": Message.objects.of(organization).latest("id").pk, "after": Message.objects.of(organization).earliest("id").pk,
    }  # fmt: skip
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query" and parameter["name"] in values:
            yield "?" + urlencode({parameter["name"]: values[parameter["name"]]})


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_own_desk")
def test_no_operation_of_the_api_crosses_organizations(walk: Walk) -> None:
    client = Client(raise_request_exception=False)
    every = list(operations())
    assert len(every) > 50

    def call(method: str, address: str, key: str, body: str = "") -> Any:
        headers = {"Authorization": f"Bearer {walk.mine.keys[key].secret}"}
        given = {"data": body, "content_type": "application/json"} if body else {}
        return client.generic(method, address, headers=headers, **given)

    shown = ""
    for method, path, _ in every:  # what there is to see, is seen
        if method == "GET" and "token" not in path:
            for address, _has_ids in addresses(walk.mine, path):
                answer = call("GET", address, "full")
                shown += answer.content.decode()
                assert answer.status_code == 200 or address.endswith("/content"), f"{address}: {answer.content!r}"
    for kept in (f"{MINE}.test", f"{MINE} receipt", f"{MINE}-gone@inbox.test", f"{MINE} template", f"{MINE}.csv"):
        assert kept in shown

    for key, (method, path, operation) in product(walk.mine.keys, every):
        for address, has_ids in addresses(walk.theirs, path):
            for body in bodies(operation, walk.theirs):
                answer = call(method, address, key, body)
                what = f"{method} {address} {body} with the key “{key}”"
                walk.check(what, address + body, answer)
                if has_ids:
                    assert answer.status_code in {403, 404}, f"{what}: {answer.status_code} {answer.content!r}"
            for query in queries(operation, walk.theirs):
                walk.check(f"GET {address}{query} with the key “{key}”", query, call("GET", address + query, key))
