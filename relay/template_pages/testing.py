"""A test of a template: what it makes of its test values, sent as any mail of an SMTP user's, to a member's own address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import SYSTEM, Actor, note
from accounts.credentials import Credential
from accounts.models import Membership, Organization
from accounts.walls import across_organizations
from domains.models import DomainStatus, SmtpUser
from relay.models import Door, Template, TemplateVersion
from relay.submission.accept import Submission
from relay.submission.addresses import domain_of, parse_mailboxes
from relay.submission.desk import shared_desk
from relay.submission.directory import organization_allowance, smtp_user_allowance
from relay.submission.mime import Letter, build
from relay.submission.options import Options
from relay.templates import stored
from relay.templating.published import FilledIn

TAG = "template-test"


def senders(organization: Organization) -> QuerySet[SmtpUser]:
    """The SMTP users in whose name a test can be sent."""
    users: QuerySet[SmtpUser] = SmtpUser.objects.of(organization)
    return users.filter(disabled_at=None, domain__status=DomainStatus.VERIFIED).order_by("address")


def addresses_of_members(organization: Organization, first: UUID) -> list[str]:
    """Those that are proved to be theirs, the person `first`'s before the others'."""
    members = list(Membership.objects.of(organization).values_list("user_id", flat=True))
    with across_organizations():  # an address is a person's, and no organization's
        rows = list(EmailAddress.objects.filter(user_id__in=members, verified=True).values_list("user_id", "email"))
    return [email for _, email in sorted(rows, key=lambda row: (row[0] != first, row[1]))]


def send_test(
    template: Template,
    version: TemplateVersion,
    values: Mapping[str, Any],
    *,
    smtp_user: SmtpUser,
    to: str,
    by: Actor = SYSTEM,
) -> UUID:
    """Returns the message's id; it is counted as every message. Raises `Refused`."""
    filled = stored(template, version).fill_in(values)
    credential = _credential(smtp_user)
    credential.check_may_send()
    built = build(
        Letter(
            from_=_sender(filled, smtp_user),
            to=(to,),
            subject=filled.subject or template.name,
            text=filled.text,
            html=filled.html,
            reply_to=filled.reply_to,
        )
    )
    submission = Submission(
        credential=credential,
        door=Door.PLATFORM.value,
        protocol="HTTP",
        envelope_sender=built.sender,
        recipients=built.recipients,
        content=built.content,
        is_own=built.is_plain,
        client=by.client or "",
        options=Options(tags=(TAG,)),
        template=filled.use,
    )
    with transaction.atomic():  # the entry is there whenever the answer says that it was sent
        after = {"version": version.number, "to": to, "smtp_user": smtp_user.address}
        note(by, "template.tested", template, organization_id=template.organization_id, after=after)
        return shared_desk().submit(submission).message_id


def _sender(filled: FilledIn, smtp_user: SmtpUser) -> str:
    """The template's own, where the SMTP user's domain may send it."""
    domain = smtp_user.domain
    for _, address in parse_mailboxes(filled.sender) or ():
        at = domain_of(address) or ""
        if at == domain.name or (domain.allow_subdomains and at.endswith(f".{domain.name}")):
            return filled.sender
    return smtp_user.address


def _credential(smtp_user: SmtpUser) -> Credential:
    """As its password would give at the door."""
    organization, plan = smtp_user.organization, smtp_user.organization.plan
    allowances: Iterable[Any] = (
        organization_allowance(
            organization.pk, plan.messages_per_day if plan else None, plan.messages_per_month if plan else None
        ),
    )
    hourly, daily = smtp_user.hourly_limit, smtp_user.daily_limit
    if hourly is not None or daily is not None:
        allowances = (smtp_user_allowance(smtp_user.pk, smtp_user.address, hourly, daily), *allowances)
    return Credential(
        organization_id=organization.pk,
        is_suspended=organization.suspended_at is not None,
        api_key_id=None,
        smtp_user_id=smtp_user.pk,
        scopes=frozenset({"send"}),
        only_domain=smtp_user.domain.name,
        message_octets=organization.message_size_limit,
        is_being_deleted=organization.is_being_deleted,
        recipients_limit=plan.recipients_per_message if plan else None,
        messages_per_second=plan.messages_per_second if plan else None,
        user_name=smtp_user.address,
        is_disabled=not smtp_user.is_enabled,
        stream=smtp_user.stream,
        allowances=tuple(allowances),
    )
