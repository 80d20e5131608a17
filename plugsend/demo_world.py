"""A PlugSend in use, for demonstrations and screenshots in the sandbox: `manage.py fill_demo`.

What can come in by a door does: mail by SMTP and REST, bounces and complaints from the sandbox's exchanger, events to webhooks.
The days before today: `plugsend.demo_history`.
"""

from __future__ import annotations

import json
import random
import smtplib
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.utils import timezone

from accounts.api_keys import create_api_key, revoke_api_key
from accounts.audit import Actor
from accounts.invitations import invite
from accounts.models import Membership, Organization, Role, Scope, User
from accounts.services import create_organization
from domains.models import SendingDomain, SmtpUser
from domains.services import add_domain
from domains.smtp_users import Limits, add_key, create_smtp_user, disable_smtp_user
from domains.verification import check_domain
from plugsend.demo_history import make_history
from relay.finding.asked import Asked
from relay.finding.exporting import request_export
from relay.finding.saved_filters import save_filter
from relay.models import Message, Recipient, RecipientState, Suppression
from relay.reading.timeline_links import share
from relay.sandbox.zone import publish
from relay.suppressing.importing import request_import
from relay.suppressing.suppressions import suppress
from relay.templates import TemplateContent, create_template, publish_template, update_template
from relay.templating.starting import STARTS
from relay.webhooks.endpoints import create_endpoint, disable
from relay.webhooks.models import DeliveryState, WebhookDelivery

NAME = "Acme"
PASSWORD_OF_ALL = "demo-demo-demo"  # noqa: S105 - of people who exist in a sandbox alone
OWNER, OPERATOR, NEWCOMER = "ada@acme.test", "operator@acme.test", "newcomer@people.test"
PEOPLE = ("ada", "grace", "linus", "barbara", "edsger", "margaret", "alan", "katherine", "dennis", "radia")
MAILBOXES = ("gmail.test", "outlook.test", "proton.test", "fastmail.test", "example.test", "university.test")
PATIENCE_S = 40


@dataclass(frozen=True, slots=True)
class World:
    organization: Organization
    by: Actor
    domain: SendingDomain
    shop: SmtpUser
    password: str
    api_key: str


def fill(say: Callable[[str], object]) -> None:
    """Takes half a minute. Does nothing where it was done before."""
    if User.objects.filter(email=OWNER).exists():
        say("The demo data is there already.")
        return
    world = _organization()
    say(f"organization {NAME} with its people, domains and keys")
    _templates(world)
    make_history(
        world.organization, world.domain, world.shop
    )  # before today's mail, or its one complaint is a great part of all mail
    with _receiver() as url:
        _webhooks(world, url)
        _mail(world, say)
        _suppressions(world)
        _asks(world)
        _wait(lambda: _is_told(world), "webhooks are told")
    _newcomer()
    say("everything else")


# ---- Who and from where ----------------------------------------------------------------------------------------------


def _person(email: str, **fields: Any) -> User:
    user = User.objects.create_user(email, PASSWORD_OF_ALL, **fields)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def _actor(user: User) -> Actor:
    return Actor("user", user.pk, user.email, "192.0.2.44")


def _organization() -> World:
    owner = _person(OWNER)
    by = _actor(owner)
    organization = create_organization(NAME, owner, by=by)
    for name, role in (("grace", Role.ADMIN), ("linus", Role.DEVELOPER), ("vera", Role.VIEWER)):
        Membership.objects.create(organization=organization, user=_person(f"{name}@acme.test"), role=role)
    invite(Membership.objects.of(organization).get(user=owner), ["margaret@acme.test"], Role.DEVELOPER, by=by)
    create_organization("Acme Labs", owner, by=by)
    _person(OPERATOR, is_staff=True, is_superuser=True)

    domain = _domain(organization, "acme.test", by)
    _domain(organization, "news.acme.test", by)
    _domain(organization, "shop.acme.test", by, mistake="doubled_name")
    add_domain(organization, "store.acme.test", by=by)
    made = create_smtp_user(domain, "shop", created_by=owner, by=by)
    limits: Limits = {"hourly_limit": 500, "daily_limit": 5000, "stream": "news"}
    create_smtp_user(domain, "newsletter", created_by=owner, limits=limits, by=by)
    disable_smtp_user(create_smtp_user(domain, "old-crm", created_by=owner, by=by).smtp_user, by=by)
    add_key(made.smtp_user, "Warehouse", created_by=owner, by=by)
    key = create_api_key(organization, "Backend", [Scope.FULL], created_by=owner, by=by)
    create_api_key(organization, "Dashboard", [Scope.READ], created_by=owner, by=by)
    ends = timezone.now() + timedelta(days=3)
    create_api_key(organization, "Pop-up store", [Scope.SEND], created_by=owner, expires_at=ends, by=by)
    gone = create_api_key(organization, "Old backend", [Scope.SEND], created_by=owner, by=by)
    revoke_api_key(gone.api_key, reason="It was in a log file.", by=by)
    return World(organization, by, domain, made.smtp_user, made.secret, key.secret)


def _domain(organization: Organization, name: str, by: Actor, *, mistake: str = "") -> SendingDomain:
    domain = add_domain(organization, name, by=by)
    publish(domain, mistake=mistake)
    return check_domain(domain, by)


def _newcomer() -> None:
    """Somebody who has just come: every page is empty."""
    create_organization("Newcomers", _person(NEWCOMER))


# ---- Templates -------------------------------------------------------------------------------------------------------


def _templates(world: World) -> None:
    for start in reversed(STARTS.values()):  # the receipt last, which lists show first
        content = TemplateContent(
            sender=f"Acme <{world.shop.address}>", subject=start.subject, html=start.html, text=start.text,
            variables=start.variables,
        )  # fmt: skip
        template = create_template(
            world.organization, start.name, content, alias=start.code, test_values=start.test_values, by=world.by
        )
        if start.code != "invitation":
            publish_template(template, by=world.by)
        if start.code == "receipt":
            for subject in ("Order {{ order.number }} at {{ company }}", "Your order {{ order.number }}"):
                update_template(template, {"subject": subject}, by=world.by)
                publish_template(template, by=world.by)
            update_template(template, {"subject": "{{ name }}, your order {{ order.number }}"}, by=world.by)


# ---- Mail ------------------------------------------------------------------------------------------------------------


def _mail(world: World, say: Callable[[str], object]) -> None:
    chance = random.Random(1)  # noqa: S311 - the same demo each time
    _by_smtp(world, chance)
    say("mail by SMTP")
    _by_rest(world, chance)
    say("mail by REST")
    everybody = Recipient.objects.of(world.organization)
    moving = (RecipientState.SUBMITTED, RecipientState.IN_DOUBT)
    _wait(lambda: not everybody.filter(state__in=moving).exists(), "all mail is tried")
    newest = Message.objects.of(world.organization).latest("id").pk
    _wait(
        lambda: everybody.filter(message_id=newest, state=RecipientState.DELIVERED).exists(), "a greylisted one arrives"
    )
    _wait(lambda: Suppression.objects.of(world.organization).count() > 2, "what comes back has come back")


def _by_smtp(world: World, chance: random.Random) -> None:
    lines = [
        ("Your order A-{} is on its way", "shipping"), ("Invoice {}", "invoice"), ("Order A-{} received", "receipt"),
        ("How do you like your teapot? (A-{})", "survey"),
    ]  # fmt: skip
    scripted = ["bounce", "greylist", "full", "defer", "latebounce", "complain", "vacation", "slow"]
    with smtplib.SMTP(settings.SMTP_HOST, settings.SMTP_PORT, timeout=20) as client:
        client.starttls(context=ssl._create_unverified_context())  # noqa: S323 - we talk to ourselves
        client.login(world.shop.address, world.password)
        for number in range(70):
            title, tag = lines[number % len(lines)]
            message = EmailMessage(policy=policy.SMTP)
            local_part = scripted[number // 4] if number % 4 == 0 and number // 4 < len(scripted) else ""
            to = f"{local_part or chance.choice(PEOPLE)}@{chance.choice(MAILBOXES)}"
            message["From"], message["To"] = f"Acme <{world.shop.address}>", to
            message["Subject"] = title.format(chance.randint(1000, 9999))
            message["X-PlugSend-Tag"] = tag
            message["X-PlugSend-Metadata"] = json.dumps({"customer": str(chance.randint(100, 999))})
            message.set_content("Thank you for your order.\n\nAcme\n")
            message.add_alternative("<h1>Thank you</h1><p>for your order.</p><p>Acme</p>", subtype="html")
            client.send_message(message)


def _by_rest(world: World, chance: random.Random) -> None:
    for number in range(24):
        code = ("receipt", "sign_in_code", "welcome", "password_reset")[number % 4]
        body = {
            "to": f"{chance.choice(PEOPLE)}@{chance.choice(MAILBOXES)}", "tags": [{"name": code, "value": "app"}],
            "template": {"id": code, "variables": STARTS[code].test_values},
        }  # fmt: skip
        _call(world, "POST", "/emails", body)
    now = timezone.now()
    plain: dict[str, Any] = {"from": f"Acme <{world.shop.address}>", "text": "Thank you.\n"}
    for days in (1, 2):
        at = (now + timedelta(days=days)).isoformat()
        _call(
            world, "POST", "/emails", plain | {"to": "ada@example.test", "subject": "Sale begins", "scheduled_at": at}
        )
    many = [f"{name}@example.test" for name in PEOPLE[:5]]
    _call(world, "POST", "/emails", plain | {"to": [*many, "bounce@gmail.test"], "subject": "Opening hours"})
    later = plain | {
        "to": "radia@example.test",
        "subject": "Reminder",
        "scheduled_at": (now + timedelta(hours=3)).isoformat(),
    }
    _call(world, "POST", f"/emails/{_call(world, 'POST', '/emails', later)['id']}/cancel")
    held = _call(world, "POST", "/emails", later | {"to": "alan@example.test", "subject": "Payment due"})
    _call(world, "POST", f"/emails/{held['id']}/hold")
    # The newest, whose timeline has something to tell.
    receipt = {"id": "receipt", "variables": STARTS["receipt"].test_values}
    _call(
        world,
        "POST",
        "/emails",
        {"to": "greylist+ada@gmail.test", "tags": [{"name": "receipt", "value": "app"}], "template": receipt},
    )


def _call(world: World, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{settings.WEB_URL}/api/v1{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {world.api_key}", "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


# ---- Webhooks --------------------------------------------------------------------------------------------------------


@contextmanager
def _receiver() -> Iterator[str]:
    """A customer's program that takes events, but not at `/broken`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_broken = self.path.startswith("/broken")
            self.send_response(500 if is_broken else 200)
            self.end_headers()
            self.wfile.write(b"database is locked\n" if is_broken else b"ok\n")

        def log_message(self, *_: Any) -> None:
            """Nothing: what was answered is on the pages."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def _webhooks(world: World, url: str) -> None:
    create_endpoint(world.organization, f"{url}/plugsend/events", description="Order system", by=world.by)
    create_endpoint(
        world.organization,
        f"{url}/broken/events",
        event_types=["bounced", "complained"],
        description="CRM",
        by=world.by,
    )
    old = create_endpoint(world.organization, "https://old.acme.test/hooks", description="Before the move", by=world.by)
    disable(old, by=world.by)


def _is_told(world: World) -> bool:
    rows = WebhookDelivery.objects.of(world.organization)
    return (
        rows.filter(state=DeliveryState.DELIVERED).count() > 50
        and rows.filter(attempts__gt=0).exclude(state=DeliveryState.DELIVERED).exists()
    )


# ---- What people ask for ---------------------------------------------------------------------------------------------


def _suppressions(world: World) -> None:
    suppress(world.organization, "legal@example.test", note="Asked by phone", by=world.by)
    suppress(world.organization, "dennis@example.test", stream="news", by=world.by)
    rows = "".join(f"former-{number}@old-list.test\n" for number in range(12))
    request_import(world.organization, "from-the-old-service.csv", [f"email\n{rows}no address\n".encode()], by=world.by)


def _asks(world: World) -> None:
    save_filter(world.organization, "Bounces of today", Asked.parse("state=bounced"), by=world.by)
    save_filter(world.organization, "Invoices", Asked.parse("tag=invoice"), by=world.by)
    request_export(world.organization, Asked.parse("tag=receipt"), "csv", by=world.by)
    message = Message.objects.of(world.organization).latest("id")
    share(
        Recipient.objects.of(world.organization).filter(message_id=message.pk).earliest("id"),
        timedelta(days=7),
        by=world.by,
    )


# ---- Waiting ---------------------------------------------------------------------------------------------------------


def _wait(is_so: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {within_s:.0f} s")
        time.sleep(0.2)
