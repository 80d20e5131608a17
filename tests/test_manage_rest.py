"""What an organization manages over REST: domains, SMTP users, API keys, suppressions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.api_keys import create_api_key, digest_of, is_live, is_well_formed
from accounts.models import ApiKey, Organization, OutgoingTls
from domains.models import DkimKey, DnsRecord, RecordStatus, SendingDomain, SmtpUser
from relay.models import Suppression
from relay.suppressing.suppressions import suppress
from tests.factories import make_domain, make_smtp_user
from tests.rest import Api, make_api, refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture
def api(acme: Organization) -> Api:
    return make_api(acme)


def uuids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


# ---- Who may what ----------------------------------------------------------------------------------------------------


def make_rows(organization: Organization) -> dict[str, Any]:
    """One of each, by the word that stands for its id in OPERATIONS."""
    domain = make_domain(organization, "walled.test")
    smtp_user = make_smtp_user(domain)
    return {
        "domain": domain.pk,
        "smtp_user": smtp_user.pk,
        "smtp_user_key": smtp_user.live_keys[0].pk,
        "api_key": create_api_key(organization, "Web app").api_key.pk,
        "suppression": suppress(organization, "gone@walled-inbox.test")[0].pk,
    }


# (method, path, body, scope)
OPERATIONS: list[tuple[str, str, Any, str]] = [
    ("GET", "domains", None, "read"),
    ("POST", "domains", {"name": "new.test"}, "full"),
    ("GET", "domains/{domain}", None, "read"),
    ("PATCH", "domains/{domain}", {}, "full"),
    ("DELETE", "domains/{domain}", None, "full"),
    ("POST", "domains/{domain}/verify", None, "full"),
    ("GET", "domains/{domain}/records", None, "read"),
    ("GET", "domains/{domain}/health", None, "read"),
    ("GET", "smtp-users", None, "read"),
    ("POST", "smtp-users", {"address": "new@walled.test"}, "full"),
    ("GET", "smtp-users/{smtp_user}", None, "read"),
    ("POST", "smtp-users/{smtp_user}/password", None, "full"),
    ("POST", "smtp-users/{smtp_user}/disable", None, "full"),
    ("POST", "smtp-users/{smtp_user}/enable", None, "full"),
    ("PATCH", "smtp-users/{smtp_user}", {"daily_limit": 5}, "full"),
    ("GET", "smtp-users/{smtp_user}/keys", None, "read"),
    ("POST", "smtp-users/{smtp_user}/keys", None, "full"),
    ("DELETE", "smtp-users/{smtp_user}/keys/{smtp_user_key}", None, "full"),
    ("DELETE", "smtp-users/{smtp_user}", None, "full"),
    ("GET", "api-keys", None, "read"),
    ("POST", "api-keys", {"name": "New"}, "full"),
    ("GET", "api-keys/{api_key}", None, "read"),
    ("PATCH", "api-keys/{api_key}", {"name": "Other"}, "full"),
    ("DELETE", "api-keys/{api_key}", None, "full"),
    ("POST", "api-keys/{api_key}/rotate", {}, "full"),
    ("GET", "suppressions", None, "read"),
    ("POST", "suppressions", {"email": "new@inbox.test"}, "full"),
    ("POST", "suppressions/batch/add", {"emails": ["new@inbox.test"]}, "full"),
    ("POST", "suppressions/batch/remove", {"emails": ["new@inbox.test"]}, "full"),
    ("GET", "suppressions/{suppression}", None, "read"),
    ("GET", "suppressions/gone@walled-inbox.test", None, "read"),
    ("DELETE", "suppressions/{suppression}", None, "full"),
    ("DELETE", "suppressions/gone@walled-inbox.test", None, "full"),
]
OF_ONE = [one for one in OPERATIONS if "{" in one[1] or "@" in one[1]]


@pytest.fixture
def silent_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domains.looking.check_domain", lambda domain, by: domain)


@pytest.mark.usefixtures("silent_dns")
@pytest.mark.parametrize("scopes", [["send"], ["read"], ["full"], ["read", "send"]], ids="+".join)
@pytest.mark.parametrize(("method", "path", "body", "scope"), OPERATIONS, ids=lambda part: str(part))
def test_each_operation_wants_its_scope(
    acme: Organization, method: str, path: str, body: Any, scope: str, scopes: list[str]
) -> None:
    answer = make_api(acme, *scopes).call(method, path.format(**make_rows(acme)), body)
    if {scope, "full"} & set(scopes):
        assert answer.status_code in {200, 201}, answer.json()
    else:
        refused(answer, 403, "insufficient_scope")


@pytest.mark.usefixtures("silent_dns")
@pytest.mark.parametrize(("method", "path", "body", "scope"), OF_ONE, ids=lambda part: str(part))
def test_another_organizations_object_is_not_found_and_not_touched(
    acme: Organization, method: str, path: str, body: Any, scope: str
) -> None:
    rows = make_rows(acme)
    rival = make_api(Organization.objects.create(name="Rival"))

    refused(rival.call(method, path.format(**rows), body), 404, "not_found")

    assert SendingDomain.objects.filter(pk=rows["domain"]).exists()
    assert SmtpUser.objects.get(pk=rows["smtp_user"]).disabled_at is None
    assert set(ApiKey.objects.of(acme).values_list("revoked_at", flat=True)) == {None}
    assert ApiKey.objects.get(pk=rows["api_key"]).name == "Web app"
    assert Suppression.objects.filter(pk=rows["suppression"]).exists()


@pytest.mark.parametrize("path", ["domains", "smtp-users", "api-keys", "suppressions"])
def test_lists_hold_nothing_of_another_organization(acme: Organization, path: str) -> None:
    make_rows(acme)
    rival = Organization.objects.create(name="Rival")
    answer = make_api(rival).get(path).json()
    assert [row["name"] for row in answer["data"]] == (["Tests"] if path == "api-keys" else [])
    assert answer["has_more"] is False


def test_another_organizations_things_cannot_be_used(acme: Organization) -> None:
    rows = make_rows(acme)
    rival = make_api(Organization.objects.create(name="Rival"))
    asked = {"name": "Spy", "permission": "sending_access"}
    refused(rival.post("api-keys", asked | {"domain_id": str(rows["domain"])}), 422, "validation_failed", "/domain_id")
    refused(rival.post("api-keys", asked | {"domain": "walled.test"}), 422, "validation_failed", "/domain")
    refused(rival.post("smtp-users", {"address": "spy@walled.test"}), 403, "sender_domain_unknown", "/address")
    removed = rival.post("suppressions/batch/remove", {"ids": [str(rows["suppression"])]}).json()
    assert (removed["data"], [error["index"] for error in removed["errors"]]) == ([], [0])
    assert Suppression.objects.of(acme).exists()


@pytest.mark.usefixtures("silent_dns")
def test_a_key_for_one_domain_keeps_to_it(acme: Organization) -> None:
    rows = make_rows(acme)
    own = make_domain(acme, "own.test")
    own_user = make_smtp_user(own)
    own_key = create_api_key(acme, "Own", only_domain="own.test").api_key
    api = make_api(acme, only_domain="own.test")

    for method, path, body, _ in OF_ONE:
        if path.startswith("suppressions"):
            refused(api.call(method, path.format(**rows), body), 403, "key_restricted_to_domain")
        else:
            refused(api.call(method, path.format(**rows), body), 404, "not_found")
    assert uuids(api.get("domains").json()["data"]) == [str(own.pk)]
    assert uuids(api.get("smtp-users").json()["data"]) == [str(own_user.pk)]
    assert uuids(api.get("api-keys").json()["data"]) == [str(api.api_key.pk), str(own_key.pk)]
    for path in ("suppressions", "suppressions/gone@walled-inbox.test"):
        refused(api.get(path), 403, "key_restricted_to_domain")
    for path, body in (
        ("domains", {"name": "third.test"}),
        ("smtp-users", {"address": "spy@walled.test"}),
        ("api-keys", {"name": "Spy", "domain": "walled.test"}),
        ("suppressions", {"email": "bob@inbox.test"}),
        ("suppressions/batch/add", {"emails": ["bob@inbox.test"]}),
        ("suppressions/batch/remove", {"emails": ["gone@walled-inbox.test"]}),
    ):
        refused(api.post(path, body), 403, "key_restricted_to_domain")
    refused(
        api.post("api-keys", {"name": "Spy", "domain_id": str(rows["domain"])}), 422, "validation_failed", "/domain_id"
    )
    assert api.post("smtp-users", {"address": "new@own.test"}).status_code == 201
    # A key made by it may not more than itself.
    assert api.post("api-keys", {"name": "Child"}).json()["domain"] == "own.test"
    assert api.delete(f"domains/{own.pk}").status_code == 200


# ---- Domains ---------------------------------------------------------------------------------------------------------


def test_a_domain_is_created_with_its_records_as_resend_shapes_them(api: Api) -> None:
    answer = api.post("domains", {"name": " Mail.BÜCHER.test "})
    assert answer.status_code == 201
    domain = answer.json()

    assert (domain["object"], domain["name"]) == ("domain", "mail.xn--bcher-kva.test")
    assert (domain["display_name"], domain["status"]) == ("mail.bücher.test", "not_started")
    assert domain["capabilities"] == {"sending": "enabled", "receiving": "disabled"}
    assert (domain["open_tracking"], domain["click_tracking"], domain["region"]) == (False, False, None)
    selectors = DkimKey.objects.filter(domain_id=domain["id"]).order_by("id").values_list("selector", flat=True)
    first, second, ed25519 = [f"{selector}._domainkey.mail" for selector in selectors]
    assert [(r["record"], r["name"], r["type"], r["ttl"], r["status"]) for r in domain["records"]] == [
        ("Ownership", "_plugsend.mail", "TXT", "Auto", "not_started"),
        ("DKIM", first, "TXT", "Auto", "not_started"),
        ("DKIM", second, "TXT", "Auto", "not_started"),
        ("SPF", "psrp.mail", "CNAME", "Auto", "not_started"),
        ("DMARC", "_dmarc.mail", "TXT", "Auto", "not_started"),
        ("DKIM", ed25519, "TXT", "Auto", "not_started"),
    ]
    rows = DnsRecord.objects.filter(domain_id=domain["id"])
    assert [(r["fqdn"], r["value"], r["required"]) for r in domain["records"]] == [
        (row.name, row.value, row.required) for row in rows
    ]
    assert api.get(f"domains/{domain['id']}").json() == domain
    listed = api.get("domains").json()
    assert listed == {
        "object": "list",
        "has_more": False,
        "data": [{name: value for name, value in domain.items() if name not in {"records", "dkim", "spf"}}],
    }


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("", 422, "domain_empty"),
        ("https://acme.test/x", 422, "domain_is_url"),
        ("ada@acme.test", 422, "domain_is_address"),
        ("192.0.2.1", 422, "domain_is_ip"),
        ("a..test", 422, "domain_invalid"),
        ("a" * 64 + ".test", 422, "domain_too_long"),
        (".".join(["a" * 59] * 4) + ".test", 422, "domain_too_long"),
        ("localhost", 422, "domain_single_label"),
        ("co.uk", 422, "domain_public_suffix"),
        ("mail.plugsend.test", 422, "domain_of_platform"),
        ("mine.test", 409, "domain_already_added"),
        ("MINE.test.", 409, "domain_already_added"),
        (3, 422, "validation_failed"),
        (None, 422, "validation_failed"),
        (["acme.test"], 422, "validation_failed"),
    ],
)
def test_what_is_no_domain_is_refused_by_its_code(
    api: Api, acme: Organization, name: object, status: int, code: str
) -> None:
    make_domain(acme, "mine.test")
    problem = refused(api.post("domains", {"name": name}), status, code, "/name")
    assert problem["type"].endswith(f"/errors/{code}/")
    assert SendingDomain.objects.count() == 1


@pytest.mark.parametrize(
    ("settings", "pointer"),
    [
        ({}, None),
        ({"open_tracking": False, "click_tracking": False}, None),
        ({"tls": "opportunistic"}, None),
        ({"capabilities": {"sending": "enabled", "receiving": "disabled"}}, None),
        ({"capabilities": {}}, None),
        ({"open_tracking": True}, "/open_tracking"),
        ({"click_tracking": "false"}, "/click_tracking"),
        ({"click_tracking": 0}, "/click_tracking"),
        ({"open_tracking": None}, "/open_tracking"),
        ({"tls": "enforced"}, "/tls"),
        ({"tls": "never"}, "/tls"),
        ({"capabilities": {"receiving": "enabled"}}, "/capabilities/receiving"),
        ({"capabilities": {"sending": "disabled"}}, "/capabilities/sending"),
        ({"tracking_subdomain": "links"}, "/tracking_subdomain"),
        ({"region": "us-east-1"}, "/region"),
        ({"custom_return_path": "bounces"}, "/custom_return_path"),
    ],
)
def test_settings_of_resends_are_taken_where_they_are_so_and_refused_by_name_elsewhere(
    api: Api, acme: Organization, settings: dict[str, Any], pointer: str | None
) -> None:
    domain = make_domain(acme)
    updated = api.patch(f"domains/{domain.pk}", settings)
    created = api.post("domains", {"name": "new.test"} | settings)
    if pointer is None:
        assert updated.json() == {"object": "domain", "id": str(domain.pk)}
        assert created.status_code == 201
    else:
        refused(updated, 422, "validation_failed", pointer)
        refused(created, 422, "validation_failed", pointer)


def test_an_update_may_repeat_the_id_of_its_address(api: Api, acme: Organization) -> None:
    domain = make_domain(acme)
    assert api.patch(f"domains/{domain.pk}", {"id": str(domain.pk)}).status_code == 200
    refused(api.patch(f"domains/{domain.pk}", {"id": str(uuid4())}), 422, "validation_failed", "/id")


def test_enforced_tls_is_so_where_the_organization_wishes_it(api: Api, acme: Organization) -> None:
    domain = make_domain(acme)
    acme.outgoing_tls = OutgoingTls.ENCRYPTED
    acme.save()
    assert api.patch(f"domains/{domain.pk}", {"tls": "enforced"}).status_code == 200
    assert "“enforced” now" in refused(api.patch(f"domains/{domain.pk}", {"tls": "opportunistic"}), 422,
                                       "validation_failed", "/tls")["detail"]  # fmt: skip


def test_states_are_told_in_resends_words(api: Api, acme: Organization) -> None:
    domain = make_domain(acme, verified=False)
    for purpose, status in (
        ("ownership", RecordStatus.FOUND),
        ("dkim", RecordStatus.DIFFERENT),
        ("return_path", RecordStatus.MISSING),
        ("dmarc", RecordStatus.UNREACHABLE),
        ("dkim_ed25519", RecordStatus.MISSING),
    ):
        domain.records.filter(purpose=purpose).update(status=status, found=["v=DKIM1"], explanation="Mend it.")

    def status() -> str:
        return str(api.get("domains").json()["data"][0]["status"])

    assert status() == "not_started"
    SendingDomain.objects.update(checked_at=timezone.now())
    shown = api.get(f"domains/{domain.pk}").json()
    assert {record["purpose"]: record["status"] for record in shown["records"]} == {
        "ownership": "verified",
        "dkim": "failed",
        "dkim_next": "not_started",
        "return_path": "pending",
        "dmarc": "temporary_failure",
        "dkim_ed25519": "not_started",
    }
    assert (shown["status"], status()) == ("pending", "pending")
    assert (shown["records"][1]["found"], shown["records"][1]["explanation"]) == (["v=DKIM1"], "Mend it.")
    for lost in ("stopped", "taken_over"):
        SendingDomain.objects.update(status=lost)
        assert status() == "failed"
    SendingDomain.objects.update(status="verified")
    domain.records.update(status=RecordStatus.MISSING)
    assert status() == "verified"


def test_a_removed_domain_takes_its_smtp_users_along(api: Api, acme: Organization) -> None:
    domain = make_domain(acme)
    [key] = make_smtp_user(domain).live_keys
    answer = api.delete(f"domains/{domain.pk}")
    assert answer.json() == {"object": "domain", "id": str(domain.pk), "deleted": True}
    assert not SendingDomain.objects.exists()
    key.refresh_from_db()
    assert key.is_revoked
    refused(api.delete(f"domains/{domain.pk}"), 404, "not_found")


# ---- Lists -----------------------------------------------------------------------------------------------------------


def test_lists_are_paged_in_both_directions(api: Api, acme: Organization) -> None:
    for number in range(5):
        suppress(acme, f"person{number}@inbox.test")

    def page(query: str) -> tuple[list[str], bool, list[str]]:
        answer = api.get(f"suppressions?limit=2{query}").json()
        rows = answer["data"]
        return [row["email"][:7] for row in rows], answer["has_more"], uuids(rows)

    emails, more, ids = page("")
    assert (emails, more) == (["person4", "person3"], True)
    emails, more, ids = page(f"&after={ids[-1]}")
    assert (emails, more) == (["person2", "person1"], True)
    middle = ids
    emails, more, ids = page(f"&after={ids[-1]}")
    assert (emails, more) == (["person0"], False)
    assert page(f"&before={middle[0]}")[:2] == (["person4", "person3"], False)
    for query in ("limit=0", "limit=101", "limit=x", "after=x", "page=2"):
        refused(api.get(f"suppressions?{query}"), 422, "validation_failed", f"/{query.partition('=')[0]}")


# ---- SMTP users ------------------------------------------------------------------------------------------------------


def is_in_use(secret: str) -> bool:
    return ApiKey.objects.filter(is_live(), digest=digest_of(secret)).exists()


def test_an_smtp_user_is_created_shown_given_a_new_password_disabled_and_deleted(api: Api, acme: Organization) -> None:
    domain = make_domain(acme)
    answer = api.post("smtp-users", {"address": "Admin@ACME.test"})
    assert answer.status_code == 201
    user = answer.json()
    first = user.pop("password")
    assert is_well_formed(first)
    assert (user["object"], user["address"], user["domain"]) == ("smtp_user", "admin@acme.test", "acme.test")
    assert (user["domain_id"], user["disabled_at"], set(user["server"])) == (
        str(domain.pk), None, {"host", "port", "tls_port"},
    )  # fmt: skip
    key = ApiKey.objects.get(digest=digest_of(first))
    assert (key.scopes, key.only_domain) == (["send"], "acme.test")
    path = f"smtp-users/{user['id']}"
    assert api.get(path).json() == user
    assert api.get("smtp-users").json()["data"] == [user]

    second = api.post(f"{path}/password").json()
    assert second["id"] == user["id"]
    assert (is_in_use(first), is_in_use(second["password"])) == (False, True)

    disabled = api.post(f"{path}/disable").json()
    assert disabled["disabled_at"]
    assert api.post(f"{path}/disable").json() == disabled
    assert is_in_use(second["password"])  # kept, for when the user is enabled again
    assert api.post("smtp-users", {"address": "admin@acme.test"}).status_code == 201  # its name is free
    refused(api.post(f"{path}/enable"), 409, "smtp_user_name_taken")

    assert api.delete(path).json() == {"object": "smtp_user", "id": user["id"], "deleted": True}
    refused(api.get(path), 404, "not_found")


def test_a_deleted_smtp_users_password_stops_working(api: Api, acme: Organization) -> None:
    make_domain(acme)
    user = api.post("smtp-users", {"address": "admin@acme.test"}).json()
    api.delete(f"smtp-users/{user['id']}")
    assert not is_in_use(user["password"])


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("taken@acme.test", 409, "smtp_user_exists"),
        ("admin@waiting.test", 409, "smtp_user_domain_not_verified"),
        ("admin@nowhere.test", 403, "sender_domain_unknown"),
        ("admin", 422, "smtp_user_invalid"),
        ("@acme.test", 422, "smtp_user_invalid"),
        ("a b@acme.test", 422, "smtp_user_invalid"),
        ("a@b@acme.test", 422, "smtp_user_invalid"),
        ("admin@", 422, "domain_empty"),
        ("admin@127.0.0.1", 422, "domain_is_ip"),
        ("", 422, "validation_failed"),
        (3, 422, "validation_failed"),
    ],
)
def test_what_is_no_smtp_user_is_refused_by_its_code(
    api: Api, acme: Organization, address: object, status: int, code: str
) -> None:
    make_smtp_user(make_domain(acme), "taken")
    make_domain(acme, "waiting.test", verified=False)
    refused(api.post("smtp-users", {"address": address}), status, code, "/address")
    assert SmtpUser.objects.count() == 1


def test_smtp_users_are_listed_by_domain(api: Api, acme: Organization) -> None:
    make_smtp_user(make_domain(acme))
    wanted = make_smtp_user(make_domain(acme, "bücher.test"))
    assert uuids(api.get("smtp-users?domain=B%C3%BCcher.test").json()["data"]) == [str(wanted.pk)]
    assert api.get("smtp-users?domain=other.test").json()["data"] == []
    refused(api.get("smtp-users?domain=a..b"), 422, "domain_invalid", "/domain")


# ---- API keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "scopes"),
    [
        ({}, ["full"]),
        ({"permission": "full_access"}, ["full"]),
        ({"permission": "sending_access"}, ["send"]),
        ({"scopes": ["read"]}, ["read"]),
        ({"scopes": ["send", "read", "send"]}, ["read", "send"]),
        ({"scopes": ["send", "full"]}, ["full"]),
    ],
)
def test_a_key_is_created_with_what_was_asked(api: Api, asked: dict[str, Any], scopes: list[str]) -> None:
    answer = api.post("api-keys", {"name": "Web"} | asked)
    assert answer.status_code == 201
    made = answer.json()
    token = made.pop("token")
    key = ApiKey.objects.get(digest=digest_of(token))
    assert (str(key.pk), key.scopes, key.only_domain, key.prefix) == (made["id"], scopes, "", made["prefix"])
    assert (made["name"], made["scopes"], made["domain"], made["is_current"]) == ("Web", scopes, None, False)
    assert api.get(f"api-keys/{made['id']}").json() == made
    assert token not in api.get("api-keys").content.decode()


def test_a_key_is_for_one_domain_by_name_or_id(api: Api, acme: Organization) -> None:
    domain = make_domain(acme, "bücher.test")
    for asked in ({"domain": "BÜCHER.test"}, {"domain_id": str(domain.pk)}):
        made = api.post("api-keys", {"name": "Shop", "permission": "sending_access"} | asked).json()
        assert made["domain"] == "xn--bcher-kva.test"
        assert ApiKey.objects.get(pk=made["id"]).only_domain == "xn--bcher-kva.test"


@pytest.mark.parametrize(
    ("asked", "code", "pointer"),
    [
        ({"name": ""}, "validation_failed", "/name"),
        ({"name": "n" * 121}, "validation_failed", "/name"),
        ({"permission": "root"}, "validation_failed", "/permission"),
        ({"scopes": []}, "validation_failed", "/scopes"),
        ({"scopes": ["root"]}, "validation_failed", "/scopes/0"),
        ({"scopes": "full"}, "validation_failed", "/scopes"),
        ({"scopes": ["send"], "permission": "full_access"}, "validation_failed", "/scopes"),
        ({"domain": "acme.test", "domain_id": str(uuid4())}, "validation_failed", "/domain"),
        ({"domain_id": str(uuid4())}, "validation_failed", "/domain_id"),
        ({"domain_id": 7}, "validation_failed", "/domain_id"),
        ({"domain": "nowhere.test"}, "validation_failed", "/domain"),
        ({"domain": "a..b"}, "domain_invalid", "/domain"),
        ({"expires_at": "tomorrow"}, "validation_failed", "/expires_at"),
    ],
)
def test_what_makes_no_key_is_refused_by_name(
    api: Api, acme: Organization, asked: dict[str, Any], code: str, pointer: str
) -> None:
    make_domain(acme)
    refused(api.post("api-keys", {"name": "Web"} | asked), 422, code, pointer)
    assert ApiKey.objects.count() == 1


def test_a_key_is_renamed_and_revoked(api: Api, acme: Organization) -> None:
    key = create_api_key(acme, "Web").api_key
    assert api.patch(f"api-keys/{key.pk}", {"name": "Shop"}).json() == {"object": "api_key", "id": str(key.pk)}
    refused(api.patch(f"api-keys/{key.pk}", {"name": " "}), 422, "validation_failed", "/name")
    refused(api.patch(f"api-keys/{key.pk}", {"scopes": ["full"]}), 422, "validation_failed")
    key.refresh_from_db()
    assert key.name == "Shop"
    assert api.delete(f"api-keys/{key.pk}").json() == {
        "object": "api_key", "id": str(key.pk), "is_current": False, "deleted": True,
    }  # fmt: skip
    key.refresh_from_db()
    assert key.is_revoked
    assert uuids(api.get("api-keys").json()["data"]) == [str(api.api_key.pk)]
    for call in (lambda: api.get(f"api-keys/{key.pk}"), lambda: api.delete(f"api-keys/{key.pk}")):
        refused(call(), 404, "not_found")


def test_the_key_in_use_can_be_revoked_and_is_told_so(api: Api) -> None:
    assert api.get("api-keys").json()["data"][0]["is_current"] is True
    assert api.delete(f"api-keys/{api.api_key.pk}").json()["is_current"] is True
    api.api_key.refresh_from_db()
    assert api.api_key.is_revoked


def test_an_smtp_users_password_is_no_key_of_the_list(api: Api, acme: Organization) -> None:
    [key] = make_smtp_user(make_domain(acme)).live_keys
    assert str(key.pk) not in uuids(api.get("api-keys").json()["data"])
    refused(api.delete(f"api-keys/{key.pk}"), 404, "not_found")


# ---- Suppressions ----------------------------------------------------------------------------------------------------


def test_an_address_is_added_once_and_looked_up_and_removed(api: Api) -> None:
    answer = api.post("suppressions", {"email": " Ada@BÜCHER.test "})
    added = answer.json()
    assert (answer.status_code, added["object"], added["email"]) == (201, "suppression", "ada@xn--bcher-kva.test")
    assert (added["origin"], added["reason"], added["source_id"], added.pop("is_new")) == (
        "manual",
        "manual",
        None,
        True,
    )
    again = api.post("suppressions", {"email": "ada@bücher.test"})
    assert (again.status_code, again.json()) == (200, added | {"is_new": False})
    for which in (added["id"], "ada@xn--bcher-kva.test", quote("ADA@bücher.test", safe="")):
        assert api.get(f"suppressions/{which}").json() == added
    for which in ("nobody", "bob@inbox.test", str(uuid4()), "%00", "batch/other"):
        refused(api.get(f"suppressions/{which}"), 404, "not_found")
        refused(api.delete(f"suppressions/{which}"), 404, "not_found")
    removed = api.delete("suppressions/Ada@b%C3%BCcher.test").json()
    assert removed == {"object": "suppression", "id": added["id"], "email": added["email"], "deleted": True}
    refused(api.delete(f"suppressions/{added['id']}"), 404, "not_found")
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    "address", ["a/b@inbox.test", "a+b@inbox.test", "a%b@inbox.test", '"odd one"@inbox.test', "a?b#c@inbox.test"]
)
def test_odd_addresses_have_an_address_too(api: Api, address: str) -> None:
    added = api.post("suppressions", {"email": address}).json()
    assert api.get(f"suppressions/{quote(address, safe='')}").json()["id"] == added["id"]
    assert api.delete(f"suppressions/{quote(address, safe='')}").status_code == 200


@pytest.mark.parametrize(
    ("email", "code"),
    [
        ("nobody", "invalid_recipient"),
        ("", "validation_failed"),
        (3, "validation_failed"),
        ("\ud800@a.test", "validation_failed"),
    ],
)
def test_what_is_no_address_is_not_suppressed(api: Api, email: object, code: str) -> None:
    refused(api.post("suppressions", {"email": email}), 422, code, "/email")


def test_suppressions_are_filtered(api: Api, acme: Organization) -> None:
    bounced = suppress(acme, "gone@inbox.test", reason="no_such_address", message_id=uuid4(), reply="550 5.1.1")[0]
    complained = suppress(acme, "angry@inbox.test", reason="complaint")[0]
    by_hand = suppress(acme, "ada@elsewhere.test")[0]
    Suppression.objects.filter(pk=bounced.pk).update(created_at=timezone.now() - timedelta(days=2))

    def found(query: str) -> list[str]:
        return uuids(api.get(f"suppressions?{query}").json()["data"])

    newest_first = [str(by_hand.pk), str(complained.pk), str(bounced.pk)]
    assert found("") == newest_first
    assert found("origin=bounce") == found("reason=no_such_address") == [str(bounced.pk)]
    assert found("origin=complaint") == [str(complained.pk)]
    assert found("origin=manual") == found("email=ELSEWHERE") == [str(by_hand.pk)]
    assert found("email=Gone@INBOX.test") == found("email=gone&origin=bounce") == [str(bounced.pk)]
    assert found("email=inbox&origin=manual") == []
    yesterday = quote((timezone.now() - timedelta(days=1)).isoformat())
    assert found(f"since={yesterday}") == newest_first[:2]
    row = api.get(f"suppressions/{bounced.pk}").json()
    assert (row["origin"], row["source_id"], row["reply"]) == ("bounce", str(bounced.message_id), "550 5.1.1")
    assert row["title"] == "The address does not exist"
    for query, pointer in (("origin=spite", "/origin"), ("since=yesterday", "/since"), ("email=%00", "/email")):
        refused(api.get(f"suppressions?{query}"), 422, "validation_failed", pointer)


def test_many_are_added_at_once_and_each_is_told_of(api: Api, acme: Organization) -> None:
    there = suppress(acme, "gone@inbox.test", reason="no_such_address")[0]
    emails = ["New@inbox.test", "nobody", "gone@INBOX.test", "new@inbox.test", ""]
    refused(api.post("suppressions/batch/add", {"emails": emails}), 422, "validation_failed", "/emails/4")
    answer = api.post("suppressions/batch/add", {"emails": emails[:4]}).json()
    assert [(row["email"], row["is_new"]) for row in answer["data"]] == [
        ("new@inbox.test", True),
        ("gone@inbox.test", False),
    ]
    assert answer["errors"] == [{"index": 1, "message": "nobody is not a valid address."}]
    there.refresh_from_db()
    assert there.reason == "no_such_address"

    asked = ["gone@inbox.test", "fine@inbox.test", "nobody", "new@inbox.test"]
    answer = api.post("suppressions/batch/remove", {"emails": asked}).json()
    assert [(row["email"], row["deleted"]) for row in answer["data"]] == [
        ("gone@inbox.test", True),
        ("new@inbox.test", True),
    ]
    assert answer["errors"] == [
        {"index": 1, "message": "fine@inbox.test is not suppressed."},
        {"index": 2, "message": "nobody is not a valid address."},
    ]
    assert not Suppression.objects.exists()


def test_a_thousand_at_once_take_few_statements(api: Api, django_assert_max_num_queries: Callable[[int], Any]) -> None:
    emails = [f"person{number}@inbox.test" for number in range(1000)]
    with django_assert_max_num_queries(6):
        answer = api.post("suppressions/batch/add", {"emails": emails}).json()
    assert [row["email"] for row in answer["data"]] == emails
    with django_assert_max_num_queries(6):
        removed = api.post("suppressions/batch/remove", {"ids": uuids(answer["data"])}).json()
    assert (len(removed["data"]), removed["errors"]) == (1000, [])
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("add", {"emails": []}, "/emails"),
        ("add", {"emails": ["a@b.test"] * 1001}, "/emails"),
        ("add", {"emails": "a@b.test"}, "/emails"),
        ("add", {}, "/emails"),
        ("remove", {}, "/emails"),
        ("remove", {"ids": [str(uuid4())], "emails": ["a@b.test"]}, "/emails"),
        ("remove", {"ids": ["7"]}, "/ids/0"),
        ("remove", {"ids": [7]}, "/ids/0"),
        ("remove", {"ids": [str(uuid4())] * 1001}, "/ids"),
    ],
)
def test_a_batch_that_is_none_is_refused_by_name(api: Api, path: str, body: dict[str, Any], pointer: str) -> None:
    refused(api.post(f"suppressions/batch/{path}", body), 422, "validation_failed", pointer)


# ---- Never twice -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "count"),
    [
        ("domains", {"name": "new.test"}, lambda: SendingDomain.objects.filter(name="new.test").count()),
        ("smtp-users", {"address": "new@acme.test"}, lambda: SmtpUser.objects.filter(address="new@acme.test").count()),
        ("smtp-users/{smtp_user}/password", {}, lambda: ApiKey.objects.filter(revoked_at__isnull=False).count()),
        ("api-keys", {"name": "New"}, lambda: ApiKey.objects.filter(name="New").count()),
        ("suppressions", {"email": "new@inbox.test"}, lambda: Suppression.objects.count()),
        ("suppressions/batch/add", {"emails": ["new@inbox.test"]}, lambda: Suppression.objects.count()),
    ],
)
def test_everything_that_creates_does_so_once_for_a_key(
    api: Api, acme: Organization, path: str, body: dict[str, Any], count: Callable[[], int]
) -> None:
    path = path.format(smtp_user=make_smtp_user(make_domain(acme)).pk)
    first, again = api.post(path, body, key="once"), api.post(path, body, key="once")
    assert first.status_code in {200, 201}
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again["Idempotent-Replayed"] == "true"
    assert count() == 1
    refused(api.post(path, {"other": 1}, key="once"), 409, "invalid_idempotent_request")


def test_a_second_batch_removal_with_the_key_tells_what_the_first_removed(api: Api, acme: Organization) -> None:
    suppress(acme, "gone@inbox.test")
    body = {"emails": ["gone@inbox.test"]}
    first, again = (api.post("suppressions/batch/remove", body, key="once") for _ in range(2))
    assert len(first.json()["data"]) == 1
    assert again.content == first.content
