"""Every page of an organization declares a permission; each role gets in exactly where the table says, and strangers are
asked to sign in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.api_keys import create_api_key
from accounts.models import Membership, Role, User
from accounts.permissions import PERMISSIONS, PERMISSIONS_IN_WORDS, Permission
from relay.finding.asked import Asked
from relay.finding.exporting import request_export
from relay.finding.saved_filters import save_filter
from relay.models import Recipient
from relay.reading.timeline_links import share
from relay.suppressing.importing import request_import
from relay.suppressing.suppressions import suppress
from relay.templates import TemplateContent, create_template
from relay.webhooks.endpoints import create_endpoint, send_test
from tests.factories import RAW, make_domain, make_message, make_smtp_user, make_tenant
from tests.full_tenant import ATTACHED

pytestmark = pytest.mark.django_db

# What belongs to a person or to everybody; all other addresses of our apps belong to an organization.
NOT_AN_ORGANIZATIONS = {
    "home", "healthz", "readyz", "favicon", "error_index", "error_help", "docs", "docs_page", "docs_search",
    "docs_reader", "docs_file", "docs_api", "account", "account_delete", "account_data", "appearance", "components",
    "organization_create", "organization_open", "look_end", "second_factor", "invitation", "invited_signup",
    "shared_timeline", "unsubscribe", "sandbox:inbox", "sandbox:mail", "sandbox:mail_html", "sandbox:mail_raw",
    "try_send", "try_course", "robots", "sitemap", "status", "status_live", "status_incident", "status_json", "status_feed",
    "sandbox:dns_host_settings", "sandbox:dns_host_template", "sandbox:dns_host_apply",
}  # fmt: skip
OTHERS_OWN = ("accounts/", "admin/", "api/")  # allauth, Django's admin and REST guard themselves


def pages(
    patterns: list[Any] | None = None, prefix: str = "", space: str = ""
) -> Iterator[tuple[str, str, URLPattern]]:
    for one in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from pages(one.url_patterns, route, f"{space}{one.namespace}:" if one.namespace else space)
        elif not route.startswith(OTHERS_OWN):
            yield f"{space}{one.name or one.callback.__name__}", route, one


SENT = {
    "audit_log_export": {"format": "csv"},
    "message_export_start": {"format": "csv"},
    "suppression_export": {"format": "csv"},
}


def test_each_role_gets_exactly_what_the_table_says() -> None:
    tenant = make_tenant()
    domain = make_domain(tenant.organization)
    smtp_user = make_smtp_user(domain)
    message = make_message(domain, state="deferred", raw=RAW.replace(b"--b--", ATTACHED.encode() + b"--b--"))
    member = Membership.objects.get(user=tenant.user)
    webhook = create_endpoint(tenant.organization, "https://hooks.example/")
    keys = {
        "endpoint_id": webhook.pk,
        "webhook_delivery_id": send_test(webhook).pk,
        "domain_id": domain.pk,
        "smtp_user_id": smtp_user.pk,
        "message_id": message.pk,
        "suppression_id": suppress(tenant.organization, "gone@inbox.test")[0].pk,
        "timeline_link_id": share(Recipient.objects.get(message_id=message.pk), timedelta(days=1)).link.pk,
        "attachment_id": uuid5(message.pk, "2"),
        "member_id": member.pk,
        "invitation_id": member.pk,  # there is none: the answer to who may is a page that says so
        "action": "hold",
        "saved_filter_id": save_filter(tenant.organization, "Bounces", Asked.parse("state=bounced")).pk,
        "message_export_id": request_export(tenant.organization, Asked(), "csv").pk,
        "suppression_import_id": request_import(tenant.organization, "list.csv", [b"ada@inbox.test"]).pk,
        "template_id": create_template(tenant.organization, "Receipt", TemplateContent(text="Hello")).pk,
        "number": 1,
    }
    api_key = create_api_key(tenant.organization, "Web app").api_key
    clients = {role: client_of(tenant.organization, role) for role in Role}
    stranger = Client()
    undeclared, wrong = set(), []
    for name, route, pattern in pages():
        if not hasattr(pattern.callback, "permissions"):
            undeclared.add(name)
            continue
        wanted = [word.split(":")[-1] for word in re.findall(r"<([^>]+)>", route)]
        key = smtp_user.live_keys[0].pk if "smtp" in name else api_key.pk
        url = reverse(name, kwargs={word: keys.get(word, key) for word in wanted})
        for method in ("get", "post"):
            answer = getattr(stranger, method)(url)
            asks = answer.get("Location", "").startswith(f"{reverse('account_login')}?next={url}")
            if not asks and answer.status_code != 405:
                wrong.append(f"a stranger {method} {url}: {answer.status_code}, expected the way to sign in")
        to_read, to_change = pattern.callback.permissions
        for (role, client), (method, permission) in product(clients.items(), [("get", to_read), ("post", to_change)]):
            status = status_of(client, method, url, SENT.get(name))
            expected = (200, 204, 302, 405) if permission in PERMISSIONS[role] else (403, 405)
            if status not in expected:
                wrong.append(f"{role} {method} {url}: {status}, expected {expected}")
    assert not wrong, "\n".join(wrong)
    assert undeclared == NOT_AN_ORGANIZATIONS


def status_of(client: Client, method: str, url: str, sent: dict[str, str] | None = None) -> int:
    """What the request changes is undone, so that the next one finds all as it was."""
    with transaction.atomic():
        status: int = getattr(client, method)(url, sent).status_code
        transaction.set_rollback(True)
    return status


def client_of(organization: Any, role: Role) -> Client:
    user = User.objects.create_user(f"{role}@roles.test", "x")
    Membership.objects.create(organization=organization, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


def test_the_page_of_roles_is_the_table() -> None:
    page = make_tenant().client.get(reverse("roles")).content.decode()

    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)[1:]
    shown = [re.findall(r'sr-only">(yes|no)<', row) for row in rows]
    assert shown == [["yes" if permission in PERMISSIONS[role] else "no" for role in Role] for permission in Permission]
    assert set(PERMISSIONS) == set(Role)
    assert set(PERMISSIONS_IN_WORDS) == set(Permission)


def test_templates_ask_for_permissions_that_exist() -> None:
    """A misspelt one would be an error only where it is rendered."""
    asked = {
        word
        for path in Path(settings.BASE_DIR, "templates").rglob("*.html")
        for word in re.findall(r"\bmay\.(\w+)", path.read_text())
    }
    assert asked
    assert asked <= set(Permission)


def test_a_viewer_sees_no_buttons_that_are_refused_and_no_content() -> None:
    tenant = make_tenant()
    domain = make_domain(tenant.organization)
    smtp_user, message = make_smtp_user(domain), make_message(domain, state="deferred")
    template = create_template(tenant.organization, "Receipt", TemplateContent(text="Hello"))
    viewer, developer = client_of(tenant.organization, Role.VIEWER), client_of(tenant.organization, Role.DEVELOPER)
    places = [
        "overview",
        "messages",
        "templates",
        "suppressions",
        "domains",
        "smtp_users",
        "api_keys",
        "members",
        "settings",
    ]
    urls = [reverse(name) for name in places] + [
        reverse("domain", args=[domain.pk]),
        reverse("domain_settings", args=[domain.pk]),
        reverse("domain_history", args=[domain.pk]),
        reverse("smtp_user", args=[smtp_user.pk]),
        reverse("message", args=[message.pk]),
        reverse("template", args=[template.pk]),
        reverse("template_versions", args=[template.pk]),
        reverse("template_version", args=[template.pk, 1]),
    ]
    refused = []
    for url in urls:
        page = viewer.get(url).content.decode()
        main = page[page.index('<main id="main"') :]
        for address in re.findall(r'(?:href|action|hx-post)="(/[^"?]*)', main):
            if viewer.get(address).status_code == 403:
                refused.append(f"{url} leads to {address}")
        for form in re.findall(r'<form method="post"[^>]*action="([^"]+)"', main):
            refused += [f"{url} posts to {form}"] if viewer.post(form).status_code == 403 else []
    assert not refused, "\n".join(refused)

    url = reverse("message", args=[message.pk])
    assert "Thank you for your order" in developer.get(url).content.decode()
    page = viewer.get(url).content.decode()
    assert "Thank you for your order" not in page
    assert "Your role does not show the content" in page
