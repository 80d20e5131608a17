"""What becomes of API keys: made, rotated, revoked, warned of, ended and found, each with its audit entry."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from accounts import key_expiry, notices
from accounts.api_keys import create_api_key, digest_of, is_well_formed, make_secret
from accounts.credentials import Credential
from accounts.models import ApiKey, AuditEntry, Membership, Notice, Organization, Role, User
from domains import smtp_users
from tests.factories import make_domain, make_smtp_user, make_tenant
from tests.platform import REPO
from tests.rest import Api, make_api, refused

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def acme() -> Organization:
    return make_tenant().organization


@pytest.fixture
def api(acme: Organization) -> Api:
    return make_api(acme, "full")


def entries(key: ApiKey) -> list[tuple[str, str]]:
    """(who, what) in the audit log, the oldest first."""
    told = AuditEntry.objects.filter(object_id=key.pk).order_by("id")
    return [(entry.actor_kind, entry.action) for entry in told]


def key_of(answer: Any) -> ApiKey:
    return ApiKey.objects.get(digest=digest_of(answer.json()["token"]))


def age(key: ApiKey, by: timedelta) -> None:
    """As if all that happened to it so far had happened earlier."""
    key.refresh_from_db()
    for field in ("created_at", "expires_at", "last_used_at"):
        if moment := getattr(key, field):
            setattr(key, field, moment - by)
    key.save()


# ---- Over REST -------------------------------------------------------------------------------------------------------


def test_each_act_is_in_the_audit_log_with_the_key_that_did_it(api: Api) -> None:
    ends = timezone.now() + 90 * DAY
    asked = {"name": "CI", "scopes": ["send"], "expires_at": ends.isoformat(), "allowed_networks": ["192.0.2.7"]}
    made = api.post("api-keys", asked)
    key = key_of(made)
    assert (key.expires_at, key.allowed_networks, key.created_with) == (ends, ["192.0.2.7/32"], api.api_key)
    assert made.json()["created_by"] == api.api_key.prefix
    path = f"api-keys/{key.pk}"
    for change in ({"name": "Build"}, {"name": "Build"}, {"allowed_networks": []}, {}):
        assert api.patch(path, change).status_code == 200
    rotated = api.post(f"{path}/rotate", {"keep_old_hours": 24})
    assert rotated.status_code == 201
    assert api.delete(f"{path}?reason=Leaked").status_code == 200
    refused(api.delete(path), 404, "not_found")
    key.refresh_from_db()
    assert (key.is_revoked, key.revoke_reason) == (True, "Leaked")
    verbs = ("created", "renamed", "changed", "rotated", "revoked")
    assert entries(key) == [("api_key", f"api_key.{verb}") for verb in verbs]
    assert entries(key_of(rotated)) == [("api_key", "api_key.created")]
    renamed = AuditEntry.objects.get(action="api_key.renamed")
    assert (renamed.before, renamed.after) == ({"name": "CI"}, {"name": "Build"})
    for entry in AuditEntry.objects.all():  # no secret, no digest
        assert made.json()["token"] not in f"{entry.before} {entry.after}"


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "pointer"),
    [
        ("POST", "api-keys", {"name": "x", "expires_at": "2026-01-01T00:00:00Z"}, "validation_failed", "/expires_at"),
        ("POST", "api-keys", {"name": "x", "expires_at": "2126-01-01"}, "validation_failed", "/expires_at"),
        ("POST", "api-keys", {"name": "x", "allowed_networks": ["::1", "x"]}, "network_invalid", "/allowed_networks/1"),
        ("PATCH", "api-keys/{}", {"allowed_networks": ["192.0.2.1/24"]}, "network_invalid", "/allowed_networks/0"),
        ("PATCH", "api-keys/{}", {"expires_at": "2126-01-01T00:00:00Z"}, "validation_failed", "/expires_at"),
        ("PATCH", "api-keys/{}", {"domain": "acme.test"}, "validation_failed", "/domain"),
        ("POST", "api-keys/{}/rotate", {"keep_old_hours": 169}, "validation_failed", "/keep_old_hours"),
        ("DELETE", "api-keys/{}?why=x", None, "validation_failed", "/why"),
    ],
)
def test_what_is_not_possible_changes_nothing(
    api: Api, method: str, path: str, body: Any, code: str, pointer: str
) -> None:
    before = list(ApiKey.objects.values())
    refused(api.call(method, path.format(api.api_key.pk), body), 422, code, pointer)
    assert list(ApiKey.objects.values()) == before


@pytest.mark.parametrize("scopes", [["send"], ["read"], ["read", "send"]])
def test_a_key_without_the_scope_makes_rotates_and_revokes_none(acme: Organization, scopes: list[str]) -> None:
    api = make_api(acme, *scopes)
    own = f"api-keys/{api.api_key.pk}"
    for method, path in (("POST", "api-keys"), ("POST", f"{own}/rotate"), ("PATCH", own), ("DELETE", own)):
        refused(api.call(method, path, {"name": "More"}), 403, "insufficient_scope")
    assert ApiKey.objects.get().is_live


def test_a_key_for_one_domain_makes_and_touches_keys_for_that_domain_only(acme: Organization) -> None:
    make_domain(acme)
    other = make_domain(acme, "other.test")
    api = make_api(acme, "full", only_domain="acme.test")
    mightier = [create_api_key(acme, "All").api_key, create_api_key(acme, "Other", only_domain="other.test").api_key]
    for asked in ({}, {"domain": "acme.test"}, {"scopes": ["send"]}):
        assert api.post("api-keys", {"name": "Mine"} | asked).json()["domain"] == "acme.test"
    refused(api.post("api-keys", {"name": "x", "domain": "other.test"}), 403, "key_restricted_to_domain", "/domain")
    refused(api.post("api-keys", {"name": "x", "domain_id": str(other.pk)}), 422, "validation_failed", "/domain_id")
    for key in mightier:
        for method, path in (("POST", f"api-keys/{key.pk}/rotate"), ("DELETE", f"api-keys/{key.pk}")):
            refused(api.call(method, path), 404, "not_found")
        key.refresh_from_db()
        assert (key.is_live, key.replaced_by) == (True, None)
    rotated = api.post(f"api-keys/{api.api_key.pk}/rotate")
    assert (rotated.json()["domain"], rotated.json()["scopes"]) == ("acme.test", ["full"])


def test_a_rotated_key_may_do_the_same_for_as_long_and_once_only(acme: Organization, api: Api) -> None:
    now = timezone.now()
    old = create_api_key(
        acme, "CI", ["send"], only_domain="acme.test", expires_at=now + 90 * DAY, allowed_networks=["192.0.2.0/24"]
    ).api_key
    age(old, 80 * DAY)

    answer = api.post(f"api-keys/{old.pk}/rotate", {"keep_old_hours": 24})

    new, told = key_of(answer), answer.json()
    old.refresh_from_db()
    same = ("name", "scopes", "only_domain", "allowed_networks")
    assert [getattr(new, field) for field in same] == [getattr(old, field) for field in same]
    assert new.expires_at
    assert old.expires_at
    assert abs(new.expires_at - now - 90 * DAY) < timedelta(minutes=1)
    assert abs(old.expires_at - now - DAY) < timedelta(minutes=1)
    assert told["replaces"] == {"id": str(old.pk), "ends_at": old.expires_at.isoformat().replace("+00:00", "Z")}
    assert api.get(f"api-keys/{old.pk}").json()["replaced_by"] == told["id"]
    refused(api.post(f"api-keys/{old.pk}/rotate"), 409, "api_key_replaced")
    # A week's overlap does not make it live longer than it was to.
    soon = create_api_key(acme, "Soon", expires_at=now + DAY).api_key
    api.post(f"api-keys/{soon.pk}/rotate", {"keep_old_hours": 168, "name": "Later"})
    soon.refresh_from_db()
    assert soon.expires_at == now + DAY
    at_once = api.post(f"api-keys/{new.pk}/rotate").json()
    assert at_once["replaces"]["id"] == str(new.pk)
    new.refresh_from_db()
    assert (new.is_revoked, new.is_live) == (True, False)
    # Idempotent by its key: the same secret again.
    first = api.post(f"api-keys/{at_once['id']}/rotate", {}, key="once")
    assert api.post(f"api-keys/{at_once['id']}/rotate", {}, key="once").json() == first.json()


def test_passwords_of_smtp_users_are_no_keys_of_the_list_even_when_their_user_is_gone(
    acme: Organization, api: Api
) -> None:
    smtp_user = make_smtp_user(make_domain(acme))
    key = smtp_user.live_keys[0]
    refused(api.post(f"api-keys/{key.pk}/rotate"), 404, "not_found")
    smtp_users.remove_smtp_user(smtp_user)
    assert not ApiKey.objects.filter(is_password=False).exclude(pk=api.api_key.pk).exists()
    assert entries(key) == []  # those of its user tell of it


# ---- Their end -------------------------------------------------------------------------------------------------------


def test_owners_and_the_maker_are_warned_once_and_the_end_is_written_down_once(acme: Organization) -> None:
    maker, stranger = (User.objects.create_user(f"{name}@people.test") for name in ("maker", "stranger"))
    Membership.objects.create(organization=acme, user=maker, role=Role.DEVELOPER)
    now = timezone.now()
    key = create_api_key(acme, "CI", expires_at=now + 90 * DAY, created_by=maker).api_key
    left = create_api_key(acme, "Left", expires_at=now + 90 * DAY, created_by=stranger).api_key  # no member any more
    brief = create_api_key(acme, "Brief", expires_at=now + 6 * DAY).api_key
    replaced = create_api_key(acme, "Old", expires_at=now + 90 * DAY).api_key
    replaced.replaced_by = key
    replaced.save()
    revoked = create_api_key(acme, "Gone", expires_at=now + 90 * DAY).api_key
    revoked.revoked_at = now
    revoked.save()
    make_smtp_user(make_domain(acme))
    smtp_users.replace_password(make_smtp_user(make_domain(acme, "b.test")), keep_old=7 * DAY)
    keys = (key, left, replaced, revoked)
    assert (key_expiry.warn_of_ends(), key_expiry.note_ends()) == (0, 0)

    for one in keys:
        age(one, timedelta(days=83, minutes=1))
    assert (key_expiry.warn_of_ends(), key_expiry.warn_of_ends(), key_expiry.note_ends()) == (2, 0, 0)
    notices.send_due()
    told = sorted((message.to[0], message.subject) for message in mail.outbox)
    assert [(to, re.findall("“(.*)”", subject)) for to, subject in told] == [
        ("acme@people.test", ["CI"]), ("acme@people.test", ["Left"]), ("maker@people.test", ["CI"]),
    ]  # fmt: skip
    assert [f"/api-keys/{key.pk}/" in message.body for message in mail.outbox if "CI" in message.subject] == [
        True,
        True,
    ]

    for one in (*keys, brief):
        age(one, 7 * DAY)
    assert (key_expiry.warn_of_ends(), key_expiry.note_ends(), key_expiry.note_ends()) == (0, 4, 0)
    assert entries(key)[-1] == ("system", "api_key.expired")
    assert entries(revoked) == [("system", "api_key.created")]
    assert Notice.objects.count() == 2


# ---- Found by strangers ----------------------------------------------------------------------------------------------


def test_a_found_key_is_told_to_its_owners_once_a_day_and_goes_on(client: Any, acme: Organization) -> None:
    new = create_api_key(acme, "Shop")
    revoked = create_api_key(acme, "Old")
    ApiKey.objects.filter(pk=revoked.api_key.pk).update(revoked_at=timezone.now())

    def report(token: object, **more: object) -> Any:
        return client.post("/api/v1/api-keys/leaks", {"token": token, **more}, content_type="application/json")

    answers = [
        report(token, found_at="https://git.example/shop") for token in
        (new.secret, new.secret, revoked.secret, make_secret(), new.secret[:-1], "ps_live_", "nonsense")
    ]  # fmt: skip
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b'{"object":"leak_report"}')}
    for wrong in (7, "", "x" * 201, None):
        refused(report(wrong), 422, "validation_failed", "/token")
    new.api_key.refresh_from_db()
    assert new.api_key.is_live
    notices.send_due()
    [message] = mail.outbox
    assert "“Shop”" in message.subject
    assert "git.example" not in message.body  # nobody gets a link of a stranger's into a mail of ours
    [entry] = AuditEntry.objects.filter(action="api_key.leak_reported")
    assert (entry.object_id, entry.after) == (new.api_key.pk, {"found_at": "https://git.example/shop"})


def test_scanners_recognise_keys_as_the_documentation_says() -> None:
    page = (REPO / "docs" / "api-keys.md").read_text()
    [code] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    [pattern] = re.findall(r"^(\\bps_live_.*)$", page, re.MULTILINE)
    [example] = re.findall(r"`(ps_live_\w{38})`", page)
    there: dict[str, Any] = {}
    exec(code, there)
    secrets = [make_secret() for _ in range(100)]
    text = "\n".join(f'api_key = "{secret}"' for secret in secrets)
    assert there["find_keys"](text) == secrets == re.findall(pattern, text)
    assert is_well_formed(example)
    assert there["find_keys"](example) == [example]
    assert there["find_keys"](example[:-1] + "x" + example) == []


# ---- What the doors make of a credential -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({}, ""),
        ({"is_revoked": True, "is_disabled": True}, "api_key_revoked"),
        ({"expires_at": -1}, "api_key_expired"),
        ({"expires_at": 60}, ""),
        ({"is_disabled": True}, "smtp_user_disabled"),
    ],
)
def test_an_end_counts_from_its_moment_however_long_the_credential_was_kept(
    acme: Organization, state: dict[str, Any], code: str
) -> None:
    if "expires_at" in state:
        state = state | {"expires_at": timezone.now() + timedelta(seconds=state["expires_at"])}
    credential = Credential(acme.pk, False, None, None, frozenset({"send"}), "", key_name="Shop", **state)
    assert credential.is_live is (not code)
    try:
        credential.check_may_enter("192.0.2.7")
        said = ""
    except Exception as refusal:
        said = getattr(refusal, "code", "")
    assert said == code
