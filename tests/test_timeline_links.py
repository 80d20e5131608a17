"""Links to timelines: what they show to whom, and how they end. tests/test_audit_coverage.py reads their entries."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.deletion import request_deletion
from accounts.models import AuditEntry
from events.models import Event
from relay.models import Message, Recipient, TimelineLink
from relay.reading import timeline_links
from relay.reading.timeline_links import share
from tests.factories import DELIVERED, Tenant, add_recipient, make_domain, make_message, make_tenant
from tests.rest import Api

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
RETURN_PATH = "b+secretpart.tag@psrp.acme.test"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def message(tenant: Tenant) -> Message:
    """To two; the first one's was put off, asked for again, and delivered."""
    reply = {"code": 451, "enhanced": "4.7.1", "text": "Greylisted"}
    message = make_message(
        make_domain(tenant.organization), recipient_count=2, subject="Your code is 1234", tags=["tag-of-ours"],
        metadata={"order": "metadata-of-ours"},
        events=[("deferred", {"reply": reply}), ("retry_requested", {"by": "colleague@acme.test"}),
                ("delivered", DELIVERED | {"return_path": RETURN_PATH})],
    )  # fmt: skip
    add_recipient(message, "second@inbox.test", "deferred", reason="greylisted")
    return message


def recipients(message: Message) -> list[Recipient]:
    return list(Recipient.objects.filter(message_id=message.pk).order_by("id"))


def path_of(url: str) -> str:
    return url[url.index("/timelines/") :]


def test_a_stranger_reads_the_course_and_nothing_else(tenant: Tenant, message: Message) -> None:
    address = path_of(share(recipients(message)[0], timedelta(hours=1)).url)

    answer = Client().get(address)
    page = answer.content.decode()

    for told in ("bob@inbox.test", "451 4.7.1 Greylisted", "Retry requested", "Delivered", "mx1.inbox.test",
                 "RCPT TO:&lt;bob@inbox.test&gt;", "Where the time went", message.message_id_header, "Acme"):  # fmt: skip
        assert told in page, told
    for kept in ("Your code", "Thank you", "tag-of-ours", "metadata-of-ours", "second@inbox.test", "colleague@acme.test",
                 "secretpart", "/messages/", "csrfmiddlewaretoken", "<form"):  # fmt: skip
        assert kept not in page, kept
    assert "no-store" in answer["Cache-Control"]
    assert "noindex" in answer["X-Robots-Tag"]
    assert answer["Referrer-Policy"] == "no-referrer"
    assert '<meta name="robots" content="noindex' in page


def test_the_return_path_of_a_transcript_is_not_given_away(tenant: Tenant, message: Message) -> None:
    second = add_recipient(message, "third@inbox.test", "submitted")
    Event.objects.create(
        organization_id=tenant.organization.pk, message_id=message.pk, recipient_id=second.pk, address=second.address,
        type="deferred", occurred_at=timezone.now(), attempt=1, detail={"return_path": RETURN_PATH},
        transcript=f"C: MAIL FROM:<{RETURN_PATH}>",
    )  # fmt: skip
    page = Client().get(path_of(share(second, timedelta(hours=1)).url)).content.decode()
    assert "MAIL FROM:&lt;…@psrp.acme.test&gt;" in page
    assert "secretpart" not in page


def test_it_follows_while_the_mail_moves(tenant: Tenant, message: Message) -> None:
    second = recipients(message)[1]
    page = Client().get(path_of(share(second, timedelta(hours=1)).url)).content.decode()
    poll = page.partition('hx-get="')[2].partition('"')[0]
    assert Client().get(poll, headers=HTMX).status_code == 204

    Event.objects.create(
        organization_id=tenant.organization.pk, message_id=message.pk, recipient_id=second.pk, address=second.address,
        type="delivered", occurred_at=timezone.now(), attempt=2, detail=DELIVERED,
    )  # fmt: skip
    Recipient.objects.filter(pk=second.pk).update(state="delivered", next_attempt_at=None)
    part = Client().get(poll, headers=HTMX).content.decode()
    assert "Delivered" in part
    assert "hx-get" not in part
    assert "<html" not in part


def ended_by_time(link: TimelineLink) -> None:
    TimelineLink.objects.filter(pk=link.pk).update(expires_at=timezone.now())


def revoked(link: TimelineLink) -> None:
    assert timeline_links.revoke(link.organization, link.pk)
    assert not timeline_links.revoke(link.organization, link.pk)
    assert AuditEntry.objects.filter(action="timeline_link.revoked").count() == 1


def organization_goes(link: TimelineLink) -> None:
    assert request_deletion(link.organization)


def message_goes(link: TimelineLink) -> None:
    Recipient.objects.filter(message_id=link.message_id).delete()
    Message.objects.filter(pk=link.message_id).delete()


@pytest.mark.parametrize("end", [ended_by_time, revoked, organization_goes, message_goes])
def test_a_link_ends(message: Message, end: Any) -> None:
    new = share(recipients(message)[0], timedelta(hours=1))
    assert Client().get(path_of(new.url)).status_code == 200
    end(new.link)
    answer = Client().get(path_of(new.url))
    assert answer.status_code == 410
    assert "bob@inbox.test" not in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_only_the_hash_is_kept_and_only_the_secret_opens(message: Message) -> None:
    new = share(recipients(message)[0], timedelta(days=1))
    secret = path_of(new.url).split("/")[2]
    assert len(secret) >= 43
    stored = str(TimelineLink.objects.values().get()) + str(list(AuditEntry.objects.values()))
    assert secret not in stored
    for wrong in (secret[:-1], secret + "x", new.link.digest.hex(), str(new.link.pk), "x" * 5000):
        assert Client().get(reverse("shared_timeline", args=[wrong])).status_code == 404
    assert Client().post(path_of(new.url)).status_code == 405


def test_a_member_makes_and_revokes_one_on_the_page(tenant: Tenant, message: Message) -> None:
    second = recipients(message)[1]
    url = f"{reverse('timeline_share', args=[message.pk])}?recipient={second.pk}"
    assert url in tenant.client.get(reverse("message", args=[message.pk])).content.decode()

    assert (
        "required" in tenant.client.post(url, {"good_for": "10y"}).content.decode() or not TimelineLink.objects.exists()
    )
    made = tenant.client.post(url, {"good_for": "7d"})
    [shown] = set(re.findall(r"/timelines/[\w-]{43}/", made.content.decode()))

    assert "no-store" in made["Cache-Control"]
    assert shown not in tenant.client.get(url).content.decode()
    assert "second@inbox.test" in Client().get(shown).content.decode()
    link = TimelineLink.objects.get()
    assert timedelta(days=6.9) < link.expires_at - timezone.now() <= timedelta(days=7)
    assert link.created_by == tenant.user.email
    tenant.client.post(reverse("timeline_link_revoke", args=[link.pk]))
    assert Client().get(shown).status_code == 410


def test_all_links_of_the_organization_are_listed(
    tenant: Tenant, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.reading.timeline_link_views.LINKS_SHOWN", 2)
    url = reverse("timeline_links")
    assert "No timeline is shared" in tenant.client.get(url).content.decode()
    first, second = recipients(message)
    oldest = share(first, timedelta(hours=1)).link
    links = [oldest, share(second, timedelta(days=1)).link, share(second, timedelta(days=7)).link]

    def listed(query: str = "") -> list[str]:
        return re.findall(r"/messages/shared/([0-9a-f-]{36})/revoke/", tenant.client.get(url + query).content.decode())

    assert listed() == [str(links[2].pk), str(links[1].pk)]
    assert listed(f"?before={links[1].pk}") == [str(oldest.pk)]
    answer = tenant.client.post(reverse("timeline_link_revoke", args=[links[2].pk]), {"from_list": "1"})
    assert answer["Location"] == url
    assert listed() == [str(links[1].pk), str(oldest.pk)]
    assert make_tenant("Other").client.get(url).content.decode().count("/revoke/") == 0


def test_programs_share_list_and_revoke(tenant: Tenant, message: Message) -> None:
    api = Api(create_api_key(tenant.organization, "Desk", ["full"]).api_key)
    path = f"emails/{message.pk}/timeline-links"
    first, second = recipients(message)

    assert api.call("post", path, {}).json()["code"] == "recipient_needed"
    stranger = add_recipient(make_message(tenant_domain(tenant)), "else@inbox.test", "delivered")
    assert api.call("post", path, {"recipient_id": str(stranger.pk)}).status_code == 404
    assert (
        api.call("post", path, {"recipient_id": str(second.pk), "good_for": "1y"}).json()["code"] == "validation_failed"
    )
    made = api.call("post", path, {"recipient_id": str(second.pk), "good_for": "1h"})
    assert made.status_code == 201
    link = made.json()
    assert link["recipient"] == "second@inbox.test"
    assert link["created_by"] == "API key Desk"
    assert "second@inbox.test" in Client().get(path_of(link["url"])).content.decode()

    [listed] = api.call("get", path).json()["data"]
    assert listed == {name: value for name, value in link.items() if name != "url"}
    reader = Api(create_api_key(tenant.organization, "Reader", ["read"]).api_key)
    assert reader.call("post", path, {"recipient_id": str(first.pk)}).status_code == 403
    assert reader.call("delete", f"{path}/{link['id']}").status_code == 403
    assert api.call("delete", f"{path}/{link['id']}").json()["revoked"] is True
    assert api.call("delete", f"{path}/{link['id']}").status_code == 404
    assert Client().get(path_of(link["url"])).status_code == 410
    assert api.call("get", path).json()["data"] == []


def tenant_domain(tenant: Tenant) -> Any:
    return make_domain(tenant.organization, "second.test")


def test_old_links_are_forgotten(message: Message) -> None:
    old, new = (share(recipients(message)[0], timedelta(hours=1)).link for _ in range(2))
    TimelineLink.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(days=31))
    timeline_links.forget_old()
    assert list(TimelineLink.objects.all()) == [new]
