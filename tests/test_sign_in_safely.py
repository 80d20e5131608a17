"""What signing in tells strangers, how often it may be tried, and what is asked for again."""

import json
import re
from datetime import timedelta

import pytest
from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.account.models import EmailAddress
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from allauth.usersessions.models import UserSession
from django.contrib.auth.hashers import make_password
from django.contrib.messages.storage import default_storage
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import adapter
from accounts.devices import device_name
from accounts.models import AuditEntry, User
from accounts.tasks import forget_sessions
from tests.factories import PASSWORD, Tenant, make_tenant

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "staple-battery-horse"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@pytest.fixture(autouse=True)
def _mail_and_counts_stay_here(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


def sign_in(address: str = "ada@people.test", password: str = PASSWORD, **headers: str) -> Client:
    client = Client(headers={"user-agent": CHROME, **headers})
    client.post("/accounts/login/", {"login": address, "password": password})
    return client


def is_in(client: Client) -> bool:
    return client.get("/overview/").status_code == 200


def code_of(user: User) -> str:
    secret = totp.decrypt(Authenticator.objects.get(user=user, type=Authenticator.Type.TOTP).data["secret"])
    return totp.format_hotp_value(totp.hotp_value(secret, next(iter(totp.yield_hotp_counters_from_time()))))


@pytest.mark.parametrize(
    ("path", "field", "others"),
    [
        ("/accounts/login/", "login", {"password": "not-the-password"}),
        ("/accounts/signup/", "email", {"password1": PASSWORD, "organization_name": "Other"}),
        ("/accounts/signup/passkey/", "email", {"organization_name": "Other"}),
        ("/accounts/password/reset/", "email", {}),
    ],
)
def test_strangers_do_not_learn_who_has_an_account(path: str, field: str, others: dict[str, str]) -> None:
    """Not by the page, the way there, nor by whether a mail goes out."""
    make_tenant("Acme", "known@people.test")

    def ask(address: str) -> tuple[list[tuple[str, int]], str, int]:
        mail.outbox.clear()
        answer = Client().post(path, {field: address, **others}, follow=True)
        page = re.sub(r'(csrfmiddlewaretoken" value=")[^"]+', r"\1", answer.content.decode())
        return (
            answer.redirect_chain,
            page.replace(address, "").replace(address.replace("@", "%40"), ""),
            len(mail.outbox),
        )

    assert ask("known@people.test") == ask("nobody@people.test")


def test_signing_up_takes_as_long_for_a_known_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing is what takes long: each of them hashes once."""
    make_tenant("Acme", "known@people.test")
    hashed = []

    def count(password: str) -> str:
        hashed.append(password)
        return make_password(password)

    monkeypatch.setattr(adapter, "make_password", count)
    monkeypatch.setattr("django.contrib.auth.base_user.make_password", count)
    for address in ("known@people.test", "new@people.test"):
        hashed.clear()
        form = {"email": address, "password1": PASSWORD, "organization_name": "Other"}
        Client().post("/accounts/signup/", form)
        assert len(hashed) == 1, address


@pytest.mark.parametrize("valkey", ["there", "away"])
def test_guessing_is_stopped_also_without_valkey(settings: Settings, valkey: str) -> None:
    make_tenant("Acme", "ada@people.test")
    if valkey == "away":
        settings.CACHES = {"default": {"BACKEND": "plugsend.cache.Cache", "LOCATION": "redis://127.0.0.1:1/0"}}

    for number in range(6):
        page = Client().post("/accounts/login/", {"login": "ada@people.test", "password": f"wrong-{number}"})
    assert "Too many failed tries" in page.content.decode()
    assert not is_in(sign_in())


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("short", "Take at least 10 characters"),
        ("password123", "one of those that are tried first"),
        ("ada.lovelace@people", "too much like your email"),
        ("73920184736251", "only digits"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(password: str, told: str) -> None:
    form = {"email": "ada.lovelace@people.test", "password1": password, "organization_name": "Acme"}
    assert told in Client().post("/accounts/signup/", form).content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/2fa/recovery-codes/",
        "/accounts/2fa/recovery-codes/generate/",
        "/accounts/2fa/recovery-codes/download/",
    ],
)
def test_a_secret_is_asked_for_again_before_dangerous_acts(path: str) -> None:
    tenant = make_tenant("Acme", "ada@people.test")
    RecoveryCodes.activate(tenant.user)

    assert tenant.client.get(path)["Location"].startswith("/accounts/reauthenticate/?next=")
    assert tenant.client.post("/accounts/reauthenticate/", {"password": "wrong", "next": path}).status_code == 200
    assert tenant.client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": path})["Location"] == path
    assert tenant.client.get(path).status_code == 200
    assert sign_in().get(path).status_code == 200  # just now, with the password


def with_app(tenant: Tenant) -> None:
    totp.TOTP.activate(tenant.user, totp.generate_totp_secret())
    RecoveryCodes.activate(tenant.user)


def test_an_app_s_code_is_asked_for_and_good_once() -> None:
    tenant = make_tenant("Acme", "ada@people.test")
    with_app(tenant)
    code = code_of(tenant.user)

    first, second = sign_in(), sign_in()
    assert not is_in(first)
    assert first.post("/accounts/2fa/authenticate/", {"code": code})["Location"] == "/overview/"
    assert is_in(first)
    cache.delete(totp.TOTP(Authenticator(user=tenant.user))._get_used_cache_key(code))  # as 30 s later
    page = second.post("/accounts/2fa/authenticate/", {"code": f"{code[:3]}-{code[3:]}"}).content.decode()
    assert "was used already" in page
    assert not is_in(second)

    recovery = RecoveryCodes(Authenticator.objects.get(type=Authenticator.Type.RECOVERY_CODES)).get_unused_codes()[3]
    assert second.post("/accounts/2fa/authenticate/", {"code": recovery})["Location"] == "/overview/"
    assert "was used already" in sign_in().post("/accounts/2fa/authenticate/", {"code": recovery}).content.decode()


def test_a_further_address_is_told_of_and_in_the_log() -> None:
    tenant = make_tenant("Acme", "ada@people.test")
    further = EmailAddress.objects.create(user=tenant.user, email="ada@elsewhere.test")
    request = RequestFactory().get("/")
    request.user, request.session = tenant.user, tenant.client.session
    request._messages = default_storage(request)  # type: ignore[attr-defined]
    with request_context(request):
        assert get_account_adapter(request).confirm_email(request, further)
    assert "ada@people.test" in mail.outbox[-1].to
    assert AuditEntry.objects.filter(action="user.address_verified").count() == 1


def test_secrets_of_the_second_factor_are_not_readable_in_the_database() -> None:
    tenant = make_tenant()
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(tenant.user, secret)
    RecoveryCodes.activate(tenant.user)

    stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert not re.search(r'"seed": "[0-9a-f]{80}"', stored)


def test_operators_come_in_by_the_same_door() -> None:
    tenant = make_tenant("Acme", "ada@people.test")
    User.objects.update(is_staff=True, is_superuser=True)
    with_app(tenant)

    client = Client()
    assert client.post("/admin/login/", {"username": "ada@people.test", "password": PASSWORD})["Location"] == (
        "/accounts/login/?next=%2Fadmin%2Flogin%2F"
    )
    assert client.get("/admin/").status_code == 302
    assert sign_in().get("/admin/").status_code == 302


def test_a_session_that_is_ended_is_out_at_once() -> None:
    make_tenant("Acme", "ada@people.test")
    stranger = make_tenant("Other")
    here, phone, other = sign_in(), sign_in(**{"user-agent": "curl/8"}), sign_in()
    page = here.get("/accounts/sessions/").content.decode()
    assert "Chrome on Linux" in page
    [phones] = UserSession.objects.filter(user_agent="curl/8")

    assert stranger.client.post(f"/accounts/sessions/{phones.pk}/end/").status_code == 404
    assert is_in(phone)
    here.post(f"/accounts/sessions/{phones.pk}/end/")
    assert (is_in(here), is_in(phone), is_in(other)) == (True, False, True)
    here.post("/accounts/sessions/")
    assert (is_in(here), is_in(other)) == (True, False)


def test_a_new_password_ends_the_other_sessions_and_tells_the_owner() -> None:
    make_tenant("Acme", "ada@people.test")
    here, other = sign_in(), sign_in()
    form = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    here.post("/accounts/password/change/", form)

    assert (is_in(here), is_in(other), is_in(sign_in(password=NEW_PASSWORD))) == (True, False, True)
    told = next(message for message in mail.outbox if "changed" in message.subject)
    assert told.to == ["ada@people.test"]
    assert "Chrome on Linux" in told.body
    assert CHROME not in told.body
    assert AuditEntry.objects.filter(action="user.password_changed", object_name="ada@people.test").count() == 1


def test_a_browser_that_was_not_here_before_is_told_of_once() -> None:
    make_tenant("Acme", "ada@people.test")
    client = sign_in()
    assert [message.subject for message in mail.outbox] == ["New sign-in to your PlugSend account"]

    client.post("/accounts/logout/")
    client.post("/accounts/login/", {"login": "ada@people.test", "password": PASSWORD})
    assert is_in(client)
    assert len(mail.outbox) == 1
    actions = AuditEntry.objects.filter(action__startswith="user.").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["user.signed_in_on_new_device", "user.signed_in"]


def test_name_and_addresses_are_changed_on_one_page() -> None:
    tenant = make_tenant("Acme", "ada@people.test")
    assert "/accounts/email/" in tenant.client.get("/account/")["Location"]
    assert (
        "Shorten it to 120 characters"
        in tenant.client.post("/accounts/email/", {"action_name": "", "name": "x" * 121}).content.decode()
    )
    tenant.client.post("/accounts/email/", {"action_name": "", "name": "Ada"})
    assert User.objects.get().name == "Ada"

    client = sign_in()
    client.post("/accounts/email/", {"action_add": "", "email": "ada@new.test"})
    assert not EmailAddress.objects.filter(email="ada@new.test", verified=True).exists()
    assert mail.outbox[-1].to == ["ada@new.test"]


def test_sessions_that_have_run_out_are_forgotten() -> None:
    make_tenant("Acme", "ada@people.test")
    Session.objects.all().delete()
    sign_in(), sign_in()
    old = timezone.now() - timedelta(days=20)
    [first, second] = UserSession.objects.order_by("pk")
    Session.objects.filter(session_key=first.session_key).update(expire_date=old)
    UserSession.objects.update(created_at=old, last_seen_at=old)

    forget_sessions()
    assert [session.session_key for session in UserSession.objects.all()] == [second.session_key]
    assert Session.objects.count() == 1


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (CHROME, "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on macOS"),
        ("see https://evil.test", "A browser that we do not know"),
        ("", "A browser that we do not know"),
    ],
)
def test_browsers_are_named_in_our_words(user_agent: str, name: str) -> None:
    assert device_name(user_agent) == name
