"""What an installation needs before anybody signs up: the platform's own organization, and in the sandbox a demo one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from accounts.api_keys import create_api_key
from accounts.files import read_settings, write_whole
from accounts.models import Organization, Scope, User
from accounts.services import create_organization
from domains.models import SendingDomain, SmtpUser
from domains.services import add_domain
from domains.smtp_users import create_smtp_user, replace_password
from domains.verification import check_domain

SYSTEM_NAME = "PlugSend"
DEMO_NAME = "Demo"
DEMO_DOMAIN = "demo.test"
DEMO_LOCAL_PART = "admin"
DEMO_EMAIL = "demo@demo.test"
KEYS = [
    "WEB_URL",
    "API_URL",
    "SMTP_HOST",
    "SMTP_PORT",
    "SMTP_USER",
    "SMTP_PASSWORD",
    "API_KEY",
    "LOGIN_EMAIL",
    "LOGIN_PASSWORD",
]  # of var/demo.env


@dataclass(frozen=True, slots=True)
class Demo:
    """`is_new`: the credentials in `var/demo.env` were made just now."""

    organization: Organization
    credentials: dict[str, str]
    is_new: bool


def ensure_system_organization() -> SendingDomain:
    """The organization in whose name the platform sends its own mail, with its domain; made once."""
    with transaction.atomic():
        organization, _ = Organization.objects.get_or_create(is_system=True, defaults={"name": SYSTEM_NAME})
        domain = SendingDomain.objects.of(organization).filter(name=settings.SYSTEM_DOMAIN).first()
        return domain or add_domain(organization, settings.SYSTEM_DOMAIN)


def verify_in_sandbox(domain: SendingDomain) -> SendingDomain:
    """Publishes a domain's records in the sandbox's zone and verifies it as any other: by asking DNS."""
    from relay.sandbox.zone import publish

    if domain.is_verified:
        return domain
    publish(domain)
    return check_domain(domain)


def ensure_demo() -> Demo:
    """A demo organization with a verified domain and an SMTP user; its credentials are kept in `var/demo.env`."""
    path = settings.VAR / "demo.env"
    credentials = read_settings(path)
    user = User.objects.filter(email=DEMO_EMAIL).first()
    if user is None:
        with transaction.atomic():
            user = User.objects.create_user(DEMO_EMAIL)
            _mark_address_verified(user)
        credentials = {}  # of an account that was deleted
    organization = Organization.objects.filter(memberships__user=user).order_by("memberships__created_at").first()
    if organization is None:
        organization, credentials = create_organization(DEMO_NAME, user), {}  # it was erased
    domain = SendingDomain.objects.of(organization).filter(name=DEMO_DOMAIN).first() or add_domain(
        organization, DEMO_DOMAIN
    )
    verify_in_sandbox(domain)
    is_new = not credentials.get("SMTP_PASSWORD")
    if is_new:
        credentials = _make_credentials(user, organization, domain)
    credentials |= _where()
    write_whole(path, "".join(f"{key}={credentials[key]}\n" for key in KEYS))
    return Demo(organization, credentials, is_new)


def _make_credentials(user: User, organization: Organization, domain: SendingDomain) -> dict[str, str]:
    """Secrets are shown once; when the file that kept them is gone, new ones take their place."""
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    address = f"{DEMO_LOCAL_PART}@{DEMO_DOMAIN}"
    smtp_user = SmtpUser.objects.of(organization).filter(address=address, disabled_at=None).first()
    if smtp_user:
        smtp_password = replace_password(smtp_user).secret
    else:
        smtp_password = create_smtp_user(domain, DEMO_LOCAL_PART, created_by=user).secret
    api_key = create_api_key(organization, "Demo", [Scope.FULL], created_by=user)
    return {
        "SMTP_USER": address,
        "SMTP_PASSWORD": smtp_password,
        "API_KEY": api_key.secret,
        "LOGIN_EMAIL": DEMO_EMAIL,
        "LOGIN_PASSWORD": password,
    }


def _where() -> dict[str, str]:
    return {
        "WEB_URL": settings.WEB_URL,
        "API_URL": f"{settings.WEB_URL}/api/v1",
        "SMTP_HOST": settings.SMTP_PUBLIC_HOST,
        "SMTP_PORT": str(settings.SMTP_PORT),
    }


def _mark_address_verified(user: User) -> None:
    from allauth.account.models import EmailAddress

    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
