"""SMTP users: names, keys and limits, as services, over REST and as pages. What the doors make of them: `test_user_doors`."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import digest_of, is_live, is_well_formed
from accounts.audit import Actor
from accounts.models import ApiKey, AuditEntry, Organization, Scope
from domains.cidr import read_network
from domains.models import DomainStatus, SendingDomain, SmtpUser
from domains.smtp_users import (
    MOST_KEYS,
    SmtpUserRefused,
    add_key,
    change_smtp_user,
    create_smtp_user,
    disable_smtp_user,
    enable_smtp_user,
    keys_in_use,
    remove_smtp_user,
    replace_password,
    revoke_key,
)
from relay.models import Period, UsageCounter
from relay.usage import KEPT, forget_old, start_of
from tests.factories import Tenant, make_domain, make_smtp_user, make_tenant
from tests.rest import Api, make_api, refused

pytestmark = pytest.mark.django_db

ADA = Actor("user", None, "ada@people.test", "192.0.2.1")


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture
def api(acme: Organization) -> Api:
    return make_api(acme)


@pytest.fixture
def domain(acme: Organization) -> SendingDomain:
    return make_domain(acme)


@pytest.fixture
def smtp_user(domain: SendingDomain) -> SmtpUser:
    return make_smtp_user(domain)


def is_in_use(secret: str) -> bool:
    return ApiKey.objects.filter(is_live(), digest=digest_of(secret)).exists()


def entries() -> list[tuple[str, str, Any, Any]]:
    return [
        (entry.actor_name, entry.action, entry.before, entry.after)
        for entry in AuditEntry.objects.order_by("id")
        if entry.object_type == "smtp_user"
    ]


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(SmtpUserRefused) as refused:
        call(*arguments, **named)
    return refused.value.code


# ---- Names -----------------------------------------------------------------------------------------------------------


def test_a_user_has_a_key_that_sends_from_its_domain_only(domain: SendingDomain) -> None:
    made = create_smtp_user(domain, " Admin ")
    assert made.smtp_user.address == "admin@acme.test"
    [key] = keys_in_use(made.smtp_user)
    assert key == ApiKey.objects.get(digest=digest_of(made.secret))
    assert (key.scopes, key.only_domain, key.organization_id) == ([Scope.SEND], "acme.test", domain.organization_id)


def test_a_user_wants_a_verified_domain(acme: Organization) -> None:
    domain = make_domain(acme, verified=False)
    domain.status = DomainStatus.VERIFIED  # what the caller holds does not count
    assert code_of(create_smtp_user, domain, "admin") == "smtp_user_domain_not_verified"
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("local_part", ["admin", "a.b+c_d-e", "ADMIN@acme.test", "x" * 64, "o'neil"])
def test_usual_user_names_are_taken(domain: SendingDomain, local_part: str) -> None:
    expected = local_part.lower().removesuffix("@acme.test")
    assert create_smtp_user(domain, local_part).smtp_user.address == f"{expected}@acme.test"


@pytest.mark.parametrize(
    "local_part", ["", " ", "a b", "a..b", ".a", "a@other.test", "x" * 65, "jürgen", "a\r\nb", '"a b"', "a\0"]
)
def test_odd_user_names_are_refused(domain: SendingDomain, local_part: str) -> None:
    assert code_of(create_smtp_user, domain, local_part) == "smtp_user_invalid"
    assert not ApiKey.objects.exists()


def test_a_name_is_given_out_once_until_its_user_is_disabled(domain: SendingDomain) -> None:
    first = create_smtp_user(domain, "admin")
    assert code_of(create_smtp_user, domain, "ADMIN") == "smtp_user_exists"
    assert ApiKey.objects.count() == 1
    disable_smtp_user(first.smtp_user)
    second = create_smtp_user(domain, "admin")

    assert code_of(enable_smtp_user, first.smtp_user) == "smtp_user_name_taken"
    first.smtp_user.refresh_from_db()
    assert first.smtp_user.disabled_at
    remove_smtp_user(second.smtp_user)
    enable_smtp_user(first.smtp_user)
    assert is_in_use(first.secret)
    assert not is_in_use(second.secret)


def test_who_holds_the_domain_now_gives_out_its_names(domain: SendingDomain) -> None:
    former = make_smtp_user(domain)
    SendingDomain.objects.filter(pk=domain.pk).update(status=DomainStatus.TAKEN_OVER)
    theirs = make_domain(Organization.objects.create(name="Rival"))

    created = create_smtp_user(theirs, "admin").smtp_user

    former.refresh_from_db()
    assert former.disabled_at
    assert AuditEntry.objects.of(domain.organization).filter(action="smtp_user.disabled").count() == 1
    assert code_of(enable_smtp_user, former) == "smtp_user_name_taken"
    disable_smtp_user(created)
    enable_smtp_user(former)
    enable_smtp_user(created)  # the holder's wish counts
    former.refresh_from_db()
    assert former.disabled_at


# ---- Keys ------------------------------------------------------------------------------------------------------------


def test_each_key_is_a_password_until_it_is_revoked(smtp_user: SmtpUser) -> None:
    one, two = add_key(smtp_user, "Web shop", by=ADA), add_key(smtp_user)
    assert one.api_key.name == "Web shop"
    assert keys_in_use(smtp_user).count() == 3

    assert revoke_key(smtp_user, one.api_key, by=ADA)
    assert not revoke_key(smtp_user, one.api_key)
    assert (is_in_use(one.secret), is_in_use(two.secret)) == (False, True)
    assert entries()[1:] == [
        (ADA.name, "smtp_user.key_added", None, {"key": one.api_key.prefix, "name": "Web shop"}),
        ("PlugSend", "smtp_user.key_added", None, {"key": two.api_key.prefix, "name": "SMTP admin@acme.test"}),
        (ADA.name, "smtp_user.key_revoked", {"key": one.api_key.prefix, "name": "Web shop"}, None),
    ]
    assert one.secret not in str(entries())


def test_the_last_key_may_be_revoked_too(smtp_user: SmtpUser) -> None:
    [key] = keys_in_use(smtp_user)
    assert revoke_key(smtp_user, key)
    assert not keys_in_use(smtp_user)
    assert is_in_use(add_key(smtp_user).secret)


def test_a_key_of_another_user_is_not_revoked(domain: SendingDomain, smtp_user: SmtpUser) -> None:
    other = make_smtp_user(domain, "other")
    assert not revoke_key(smtp_user, keys_in_use(other).get())
    assert keys_in_use(other).count() == 1


def test_keys_are_bounded(smtp_user: SmtpUser) -> None:
    for _ in range(MOST_KEYS - 1):
        add_key(smtp_user)
    assert code_of(add_key, smtp_user) == "too_many_smtp_user_keys"
    assert code_of(replace_password, smtp_user, keep_old=timedelta(hours=24)) == "too_many_smtp_user_keys"
    assert keys_in_use(smtp_user).count() == MOST_KEYS
    replace_password(smtp_user)
    assert keys_in_use(smtp_user).count() == 1


def test_a_new_password_ends_all_others_at_once(smtp_user: SmtpUser) -> None:
    other, key = add_key(smtp_user), replace_password(smtp_user)
    assert not is_in_use(other.secret)
    assert list(keys_in_use(smtp_user)) == [key.api_key]


def test_a_new_password_leaves_the_others_their_time(smtp_user: SmtpUser, monkeypatch: pytest.MonkeyPatch) -> None:
    old, now = add_key(smtp_user), timezone.now()
    soon = replace_password(smtp_user, keep_old=timedelta(hours=24))
    newest = replace_password(smtp_user, keep_old=timedelta(days=7))

    def in_use_after(hours: int) -> list[bool]:
        monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=hours))
        return [is_in_use(key.secret) for key in (old, soon, newest)]

    assert in_use_after(23) == [True, True, True]
    assert in_use_after(25) == [False, True, True]  # no second change gives the first one's keys more time
    assert in_use_after(7 * 24 - 1) == [False, True, True]
    assert in_use_after(7 * 24 + 1) == [False, False, True]


# ---- Disabled, enabled, gone -----------------------------------------------------------------------------------------


def test_disabling_keeps_the_keys_and_enabling_is_told_once(smtp_user: SmtpUser) -> None:
    [key] = keys_in_use(smtp_user)
    for _ in range(2):
        disable_smtp_user(smtp_user, by=ADA)
    assert list(keys_in_use(smtp_user)) == [key]
    for _ in range(2):
        enable_smtp_user(smtp_user, by=ADA)
    assert smtp_user.disabled_at is None
    assert [entry[:2] for entry in entries()[1:]] == [
        (ADA.name, "smtp_user.disabled"),
        (ADA.name, "smtp_user.enabled"),
    ]


def test_a_removed_user_takes_its_keys_along(smtp_user: SmtpUser) -> None:
    add_key(smtp_user)
    stale = SmtpUser.objects.get()
    assert remove_smtp_user(smtp_user, by=ADA)
    assert ApiKey.objects.filter(revoked_at__isnull=False).count() == 2
    assert not remove_smtp_user(stale)
    assert (
        code_of(add_key, stale) == code_of(replace_password, stale) == code_of(enable_smtp_user, stale) == "not_found"
    )
    assert code_of(change_smtp_user, stale, {"daily_limit": 1}) == "not_found"
    assert entries()[-1][:2] == (ADA.name, "smtp_user.removed")


def test_a_change_of_limits_tells_what_changed(smtp_user: SmtpUser) -> None:
    change_smtp_user(smtp_user, {"hourly_limit": 10, "allowed_networks": ["192.0.2.0/24"]}, by=ADA)
    change_smtp_user(smtp_user, {"hourly_limit": 20, "daily_limit": None}, by=ADA)
    change_smtp_user(smtp_user, {"hourly_limit": 20}, by=ADA)
    smtp_user.refresh_from_db()
    assert (smtp_user.hourly_limit, smtp_user.daily_limit, smtp_user.allowed_networks) == (20, None, ["192.0.2.0/24"])
    assert entries()[1:] == [
        (
            ADA.name,
            "smtp_user.changed",
            {"hourly_limit": None, "allowed_networks": []},
            {"hourly_limit": 10, "allowed_networks": ["192.0.2.0/24"]},
        ),
        (ADA.name, "smtp_user.changed", {"hourly_limit": 10}, {"hourly_limit": 20}),
    ]


# ---- Networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.0/24 ", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),  # IPv4 as a socket for both shows it
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks_have_one_form(typed: str, network: str) -> None:
    assert read_network(typed) == network


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "no IP address"),
        ("office.acme.test", "no IP address"),
        ("192.0.2", "no IP address"),
        ("fe80::1%eth0", "no IP address"),
        ("192.0.2.0/33", "from 0 to 32"),
        ("192.0.2.0/", "from 0 to 32"),
        ("2001:db8::/129", "from 0 to 128"),
        ("192.0.2.7/24", "write 192.0.2.0/24 for all of it, or 192.0.2.7 for the one address"),
    ],
)
def test_what_is_no_network_is_told_at_the_field(api: Api, smtp_user: SmtpUser, typed: str, words: str) -> None:
    answer = api.patch(f"smtp-users/{smtp_user.pk}", {"allowed_networks": ["192.0.2.1", typed]})
    assert words in refused(answer, 422, "network_invalid", "/allowed_networks/1")["detail"]


# ---- REST ------------------------------------------------------------------------------------------------------------


def test_keys_over_rest(api: Api, smtp_user: SmtpUser) -> None:
    path = f"smtp-users/{smtp_user.pk}/keys"
    answer = api.post(path, {"name": "Web shop"}, key="once")
    added = answer.json()
    assert answer.status_code == 201
    assert api.post(path, {"name": "Web shop"}, key="once").json() == added
    assert is_well_formed(added.pop("password"))
    assert (added["object"], added["name"], added["expires_at"]) == ("smtp_user_key", "Web shop", None)
    listed = api.get(path).json()["data"]
    assert (listed[0], len(listed)) == (added, 2)

    gone = api.delete(f"{path}/{added['id']}")
    assert gone.json() == {"object": "smtp_user_key", "id": added["id"], "deleted": True}
    refused(api.delete(f"{path}/{added['id']}"), 404, "not_found")
    assert len(api.get(path).json()["data"]) == 1


def test_a_password_replaced_over_rest_may_leave_the_old_one_its_time(api: Api, smtp_user: SmtpUser) -> None:
    path = f"smtp-users/{smtp_user.pk}"
    api.post(f"{path}/password", {"keep_old_hours": 48})
    new, old = api.get(f"{path}/keys").json()["data"]
    assert new["expires_at"] is None
    assert old["expires_at"]
    for hours in (-1, 169, "24", True, 1.5):
        refused(api.post(f"{path}/password", {"keep_old_hours": hours}), 422, "validation_failed", "/keep_old_hours")


def test_limits_over_rest(api: Api, domain: SendingDomain) -> None:
    limits = {"hourly_limit": 100, "daily_limit": 1000, "allowed_networks": ["192.0.2.7"]}
    created = api.post("smtp-users", {"address": "admin@acme.test"} | limits).json()
    path = f"smtp-users/{created['id']}"
    assert {name: created[name] for name in limits} == limits | {"allowed_networks": ["192.0.2.7/32"]}
    changed = api.patch(path, {"hourly_limit": None}).json()
    assert (changed["hourly_limit"], changed["daily_limit"]) == (None, 1000)
    assert api.get(path).json() == changed
    for name in ("hourly_limit", "daily_limit"):
        for value in (0, -1, "5", True, 2.5, 10**12):
            refused(api.patch(path, {name: value}), 422, "validation_failed", f"/{name}")
    refused(api.patch(path, {"address": "x@acme.test"}), 422, "validation_failed", "/address")
    refused(api.patch(path, {"allowed_networks": ["192.0.2.1"] * 51}), 422, "validation_failed", "/allowed_networks")
    assert api.get(path).json() == changed


def test_disabled_and_enabled_over_rest(api: Api, smtp_user: SmtpUser) -> None:
    path = f"smtp-users/{smtp_user.pk}"
    assert api.post(f"{path}/disable").json()["disabled_at"]
    assert api.post(f"{path}/password").status_code == 200  # its keys can be changed meanwhile
    assert api.post(f"{path}/enable").json()["disabled_at"] is None
    actor = AuditEntry.objects.order_by("id").last()
    assert actor is not None
    assert (actor.actor_kind, actor.actor_name, actor.action) == ("api_key", "Tests", "smtp_user.enabled")


def test_the_last_use_of_any_of_its_keys_is_told(api: Api, smtp_user: SmtpUser) -> None:
    moment = timezone.now().replace(microsecond=0)
    add_key(smtp_user)
    used = add_key(smtp_user).api_key
    ApiKey.objects.filter(pk=used.pk).update(last_used_at=moment, last_used_from="2001:db8::7")
    ApiKey.objects.exclude(pk=used.pk).update(last_used_at=moment - timedelta(hours=1), last_used_from="192.0.2.7")
    replace_password(smtp_user)  # what became of the key does not matter
    answer = api.get(f"smtp-users/{smtp_user.pk}").json()
    assert answer["last_used_from"] == "2001:db8::7"
    assert answer["last_used_at"] == moment.isoformat().replace("+00:00", "Z")


def test_a_list_of_users_asks_the_database_no_more_for_more_of_them(
    api: Api, domain: SendingDomain, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        add_key(make_smtp_user(domain, f"user{number}"))
    with django_assert_max_num_queries(3):
        assert len(api.get("smtp-users").json()["data"]) == 12


# ---- Pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def theirs(tenant: Tenant) -> SmtpUser:
    return make_smtp_user(make_domain(tenant.organization, "pages.test"))


def page_of(client: Client, smtp_user: SmtpUser) -> str:
    return client.get(reverse("smtp_user", args=[smtp_user.pk])).content.decode()


@pytest.mark.parametrize(("hours", "words"), [(0, "All others are refused"), (24, "in 24 hours"), (168, "in 7 days")])
def test_a_new_password_is_shown_once_and_says_when_the_others_stop(
    tenant: Tenant, theirs: SmtpUser, hours: int, words: str
) -> None:
    [old] = keys_in_use(theirs)
    url = reverse("smtp_user_password", args=[theirs.pk])
    tenant.client.get(url)
    assert list(keys_in_use(theirs)) == [old]

    answer = tenant.client.post(url, {"keep_old_hours": hours, "name": "Cron"})

    page = answer.content.decode()
    secret = re.search(r"ps_live_\w{38}", page)
    assert secret
    assert words in page
    assert "no-store" in answer["Cache-Control"]
    assert ApiKey.objects.get(digest=digest_of(secret[0])).name == "Cron"
    assert keys_in_use(theirs).filter(pk=old.pk).exists() is (hours > 0)
    later = page_of(tenant.client, theirs)
    assert secret[0] not in later
    assert ("it stops" in later) is (hours > 0)
    assert ("Former keys" in later) is (hours == 0)


def test_a_key_is_added_and_revoked_on_the_page(tenant: Tenant, theirs: SmtpUser) -> None:
    answer = tenant.client.post(reverse("smtp_user_key_add", args=[theirs.pk]), {"name": "Web shop"})
    assert re.search(r"ps_live_\w{38}", answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    assert "Web shop" in page_of(tenant.client, theirs)
    for is_last in (False, True):
        key = keys_in_use(theirs).order_by("-created_at").first()
        assert key
        revoke = reverse("smtp_user_key_revoke", args=[theirs.pk, key.pk])
        assert ("It is the only key" in tenant.client.get(revoke).content.decode()) is is_last
        assert "is revoked" in tenant.client.post(revoke, follow=True).content.decode()
    assert "There is no key" in page_of(tenant.client, theirs)
    assert "No key" in tenant.client.get("/smtp-users/").content.decode()


def test_a_user_is_disabled_enabled_and_removed_on_its_page(tenant: Tenant, theirs: SmtpUser) -> None:
    def post(name: str) -> str:
        return tenant.client.post(reverse(name, args=[theirs.pk]), follow=True).content.decode()

    assert "is disabled" in post("smtp_user_disable")
    assert "Disabled" in page_of(tenant.client, theirs)
    other = make_smtp_user(theirs.domain)
    assert "another SMTP user has the name" in post("smtp_user_enable")
    remove_smtp_user(other)
    assert "is enabled" in post("smtp_user_enable")
    assert "is removed" in post("smtp_user_remove")
    assert not SmtpUser.objects.exists()
    kinds = AuditEntry.objects.of(tenant.organization).filter(object_id=theirs.pk).values_list("actor_kind", "action")
    assert list(kinds.order_by("id"))[1:] == [
        ("user", "smtp_user.disabled"),
        ("user", "smtp_user.enabled"),
        ("user", "smtp_user.removed"),
    ]


def test_limits_are_set_and_shown_on_the_page(tenant: Tenant, theirs: SmtpUser) -> None:
    url = reverse("smtp_user_limits", args=[theirs.pk])
    form = {"hourly_limit": "40", "daily_limit": "", "allowed_networks": "192.0.2.7,  2001:db8::/32\n192.0.2.7"}
    assert tenant.client.post(url, form).status_code == 302
    theirs.refresh_from_db()
    assert (theirs.hourly_limit, theirs.daily_limit) == (40, None)
    assert theirs.allowed_networks == ["192.0.2.7/32", "2001:db8::/32"]
    now = timezone.now()
    UsageCounter.objects.create(
        subject_id=theirs.pk, period=Period.HOUR, starts_at=start_of(Period.HOUR, now), count=39
    )
    page = page_of(tenant.client, theirs)
    assert 'max="40"' in page
    assert 'value="39"' in page
    assert "2001:db8::/32" in page
    assert "this day" not in page

    page = tenant.client.post(url, {"hourly_limit": "0", "allowed_networks": "office, 1.2.3.4/8"}).content.decode()
    assert "Take 1 or more." in page
    assert "“office” is no IP address" in page
    assert "write 1.0.0.0/8 for all of it" in page
    theirs.refresh_from_db()
    assert theirs.hourly_limit == 40


def test_old_counters_are_forgotten(theirs: SmtpUser) -> None:
    now = timezone.now()
    for age in (timedelta(0), KEPT[Period.DAY] + timedelta(days=1)):
        starts_at = start_of(Period.DAY, now - age)
        UsageCounter.objects.create(subject_id=theirs.pk, period=Period.DAY, starts_at=starts_at, count=1)
    assert forget_old() == 1
    assert UsageCounter.objects.get().starts_at == start_of(Period.DAY, now)
