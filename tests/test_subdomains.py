"""Mail from names below a verified domain: only where its owner has turned that on, and nobody stands between."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from django.urls import reverse

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.models import ApiKey, AuditEntry, Organization, Scope
from domains.models import DkimAlgorithm, DkimKey, SendingDomain
from relay.database import database_url
from relay.lanes import Lane
from relay.models import Door, Message
from relay.submission.accept import Submission
from relay.submission.desk import Desk
from tests.dkim_verifiers import by_dkimpy
from tests.factories import Tenant, make_domain, make_tenant
from tests.peer import Peer
from tests.rest import make_api, refused
from tests.test_fairness import at_work
from tests.test_wishes import until_settled

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Row:
    """A domain: `name`, with "!" in front when it is not verified, "~" when it is stopped, "+" when its subdomains may
    send; whose."""

    name: str
    ours: bool = True

    def make(self, ours: Organization, other: Organization) -> SendingDomain:
        owner = ours if self.ours else other
        domain = make_domain(owner, self.name.strip("!+~"), verified="!" not in self.name)
        changes: dict[str, Any] = {"status": "stopped"} if "~" in self.name else {}
        SendingDomain.objects.filter(pk=domain.pk).update(allow_subdomains="+" in self.name, **changes)
        return domain


def theirs(name: str) -> Row:
    return Row(name, ours=False)


def a_submission(organization: Organization, sender: str, only_domain: str = "", envelope: str = "") -> Submission:
    credential = Credential(organization.pk, False, None, None, frozenset({"send"}), only_domain)
    content = f"From: {sender}\r\nSubject: Hello\r\n\r\nHello\r\n".encode()
    return Submission(credential, Door.SMTP.value, "ESMTPSA", envelope or sender, ("bob@inbox.test",), content)


def submit(submission: Submission) -> str:
    """The sending domain's name, or the code of the refusal."""

    async def main() -> UUID:
        desk = Desk(database_url())
        await desk.open()
        try:
            return (await desk.submit(submission)).message_id
        finally:
            await desk.close()

    try:
        message_id = asyncio.run(main())
    except Refused as refusal:
        return refusal.refusal.code
    return SendingDomain.objects.get(pk=Message.objects.get(pk=message_id).domain_id).name


CASES = [
    ([Row("+acme.test")], "mail.acme.test", "acme.test"),
    ([Row("+acme.test")], "a.b.c.acme.test", "acme.test"),
    ([Row("+acme.test")], "acme.test", "acme.test"),
    ([Row("acme.test")], "mail.acme.test", "sender_subdomain_not_allowed"),
    ([Row("!+acme.test")], "mail.acme.test", "sender_domain_unknown"),
    ([Row("+acme.test")], "notacme.test", "sender_domain_unknown"),
    ([Row("+acme.test"), Row("mail.acme.test")], "mail.acme.test", "mail.acme.test"),
    ([Row("+acme.test"), Row("mail.acme.test")], "x.mail.acme.test", "sender_subdomain_not_allowed"),  # the nearest rules
    ([Row("acme.test"), Row("+mail.acme.test")], "x.mail.acme.test", "mail.acme.test"),
    ([Row("+acme.test"), Row("!mail.acme.test")], "mail.acme.test", "acme.test"),
    ([Row("acme.test"), Row("!mail.acme.test")], "mail.acme.test", "sender_domain_not_verified"),
    ([Row("+acme.test"), theirs("mail.acme.test")], "mail.acme.test", "sender_domain_unknown"),
    ([Row("+acme.test"), theirs("mail.acme.test")], "x.mail.acme.test", "sender_domain_unknown"),
    ([Row("+acme.test"), theirs("mail.acme.test")], "other.acme.test", "acme.test"),
    ([Row("+acme.test"), theirs("!mail.acme.test")], "mail.acme.test", "acme.test"),  # proves nothing
    ([Row("+acme.test"), Row("~mail.acme.test")], "mail.acme.test", "sender_domain_stopped"),  # its owner is to hear of it
    ([theirs("+acme.test")], "mail.acme.test", "sender_domain_unknown"),
    ([theirs("+acme.test"), Row("mail.acme.test")], "mail.acme.test", "mail.acme.test"),
    ([Row("+acme.test"), theirs("mail.acme.test"), Row("!x.mail.acme.test")], "x.mail.acme.test", "sender_domain_not_verified"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "name", "outcome"), CASES)
def test_whose_name_covers_an_address(rows: list[Row], name: str, outcome: str) -> None:
    ours, other = (Organization.objects.create(name=name) for name in ("Ours", "Theirs"))
    for row in rows:
        row.make(ours, other)
    assert submit(a_submission(ours, f"ada@{name}")) == outcome


def test_a_key_for_one_domain_may_send_from_below_it_only_through_it() -> None:
    ours = Organization.objects.create(name="Ours")
    Row("+acme.test").make(ours, ours)
    Row("shop.acme.test").make(ours, ours)
    assert submit(a_submission(ours, "ada@mail.acme.test", "acme.test")) == "acme.test"
    assert submit(a_submission(ours, "ada@shop.acme.test", "acme.test")) == "sender_not_allowed"
    assert submit(a_submission(ours, "ada@acme.test", "shop.acme.test")) == "sender_not_allowed"
    envelope = a_submission(ours, "ada@acme.test", "acme.test", envelope="ada@shop.acme.test")
    assert submit(envelope) == "sender_not_allowed"
    assert submit(replace(envelope, envelope_sender="ada@mail.acme.test")) == "acme.test"


def test_what_leaves_is_signed_by_the_domain_above() -> None:
    ours = Organization.objects.create(name="Ours")
    domain = Row("+acme.test").make(ours, ours)
    peer = Peer()

    async def main() -> None:
        async with peer, at_work({"inbox.test": peer.port}) as (desk, engine):
            await desk.submit(a_submission(ours, "ada@news.acme.test"))
            engine.wake({Lane(ours.pk, "inbox.test")})
            await until_settled(1)

    asyncio.run(main())
    key = DkimKey.objects.get(domain=domain, state="active", algorithm=DkimAlgorithm.RSA)
    mail = peer.messages[0].removesuffix(b".\r\n")
    [signature] = by_dkimpy(mail, {str(key): f"v=DKIM1; k=rsa; p={key.public_key}"})
    assert (signature.holds, signature.domain) == (True, "acme.test")
    assert any("@psrp.acme.test>" in line for said in peer.said.values() for line in said if line.startswith("MAIL"))


def test_it_is_turned_on_over_rest_and_in_the_audit_log() -> None:
    ours = Organization.objects.create(name="Ours")
    domain = Row("acme.test").make(ours, ours)
    api = make_api(ours, Scope.FULL)
    assert api.get(f"domains/{domain.pk}").json()["allow_subdomains"] is False
    for _ in range(2):  # the second changes nothing
        assert api.patch(f"domains/{domain.pk}", {"allow_subdomains": True}).status_code == 200
    assert api.get(f"domains/{domain.pk}").json()["allow_subdomains"] is True
    refused(
        api.patch(f"domains/{domain.pk}", {"allow_subdomains": "maybe"}), 422, "validation_failed", "/allow_subdomains"
    )
    entry = AuditEntry.objects.get(action="domain.changed")
    assert (entry.actor_kind, entry.actor_id, entry.object_name) == ("api_key", ApiKey.objects.get().pk, "acme.test")
    assert (entry.before, entry.after) == ({"allow_subdomains": False}, {"allow_subdomains": True})


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def test_it_is_turned_on_at_the_page(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    url = reverse("domain_subdomains", args=[domain.pk])
    page = tenant.client.post(url, {"allow": "on"}, follow=True).content.decode()
    assert SendingDomain.objects.get().allow_subdomains
    assert "Names below acme.test may send now." in page
    tenant.client.post(url)
    assert not SendingDomain.objects.get().allow_subdomains
    assert [entry.actor_name for entry in AuditEntry.objects.filter(action="domain.changed")] == [tenant.user.email] * 2
    assert make_tenant("Other").client.post(url, {"allow": "on"}).status_code == 404
