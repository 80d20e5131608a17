"""The pages that there are, found in the URL patterns: what is added is among them by itself."""

from __future__ import annotations

import re
from uuid import UUID

from django.contrib import admin
from django.test import Client

from relay.acting.actions import Action
from relay.models import Message, Recipient
from relay.sandbox.models import ReceivedMail
from tests.factories import RAW
from tests.full_tenant import FullTenant
from tests.test_crossed_tenants import addresses, page_patterns


def paths_of(tenant: FullTenant) -> list[str]:
    """Of everything but the operators' admin and the API."""
    mail = ReceivedMail.objects.first() or ReceivedMail.objects.create(
        envelope_sender="a@b.test", recipients=["c@d.test"], raw=RAW, dkim="none"
    )
    paths = ["/nowhere/", "/api/v1/reference", f"/messages/{Message.objects.of(tenant.organization)[0].pk}/html/"]
    for _, route, _ in page_patterns():
        if not route.startswith("/admin/"):
            paths.append(next(addresses(tenant, route))[0].replace(str(UUID(int=7)), str(mail.pk)))
    return list(dict.fromkeys(paths))


def pages_of(client: Client, paths: list[str]) -> list[str]:
    """Those that answer its reader with a page."""
    answers = ((path, client.get(path)) for path in paths)
    return [
        path
        for path, answer in answers
        if "html" in answer.get("Content-Type", "") and answer.status_code not in {302, 405}
    ]


def operators_pages(client: Client) -> list[str]:
    """Of the admin, found in its registry: what an operator's client is shown, with the newest row of each model."""
    recipient = Recipient.objects.order_by("-id").first()
    names = {"action": Action.HOLD.value, "destination": recipient.destination if recipient else "inbox.test"}
    queue = "/admin/relay/recipient/{}?queue=open"
    paths = [
        "/admin/",
        "/admin/password_change/",
        queue.format(""),
        queue.format("all/hold/"),
        "/admin/relay/message/?q=-",
    ]
    for model, model_admin in admin.site._registry.items():
        newest = model._default_manager.order_by("-pk").first()
        row = str(newest.pk) if newest else "none"
        for pattern in model_admin.urls:
            route = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{pattern.pattern}"
            for name in re.findall(r"<(?:\w+:)?(\w+)>", route):
                route = re.sub(rf"<(?:\w+:)?{name}>", names.get(name, row), route)
            paths.append(route)
    answers = {path: client.get(path) for path in paths}
    return [path for path, answer in answers.items() if answer.status_code == 200 and "html" in answer["Content-Type"]]
