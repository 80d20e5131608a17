"""What came back becomes events: state, event, suppression, the row that tells of it and its count, in one transaction.

It is told apart by the recipient's state, under its row's lock, what a report may still change; so the same report a second
time changes nothing, and neither does one of a recipient to whom nothing ever left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import Organization
from accounts.scoping import OrganizationQuerySet
from events.log import Detail, Exchanger
from events.models import Event, EventType
from relay.finding.search import Span
from relay.models import Recipient, RecipientState, ReturnCount, ReturnedMessage, ReturnKind, ReturnOutcome
from relay.returns.addresses import address_in
from relay.returns.classify import Finding, Returned, classify
from relay.returns.mailboxes import Mailbox
from relay.suppressing.suppressions import COMPLAINT, AddressRefused, normalized, suppress
from relay.suppressing.unsubscribing import unsubscribe_by_mail

KEPT = timedelta(days=7)
COUNTS_KEPT = timedelta(days=400)
RAW_OCTETS = 64 * 1024
RAW_MOST = 100  # of an organization, and of all that told none together
ROWS_OF_A_MESSAGE = 100  # what comes beyond is only counted: a loop, or somebody's joke
TOLD_MOST = 5  # delays, and automatic replies, of one recipient and message that become events
RECIPIENTS_READ = 10_000  # of one message
FORGET_AT_ONCE = 1000
WAITS_FOR_LOCKS = "5s"  # then the sender comes again

# What a copy may have left for. Of the others nothing did, or somebody has ended it otherwise.
_MAY_HAVE_ARRIVED = (RecipientState.DELIVERED, RecipientState.UNKNOWN_OUTCOME)
_TOLD_AS = {"delay": EventType.DELAYED, "auto_reply": EventType.AUTO_REPLIED}
_COUNT = """
    INSERT INTO relay_returncount AS c (day, kind, outcome, count) VALUES (%s, %s, %s, %s)
    ON CONFLICT (day, kind, outcome) DO UPDATE SET count = c.count + excluded.count
"""
_TOLD_FIRST = (
    ReturnOutcome.RECORDED, ReturnOutcome.REPEATED, ReturnOutcome.NOTED, ReturnOutcome.UNEXPECTED,
)  # fmt: skip


class Busy(Exception):
    """The recipient is in a worker's hands just now: its outcome is to be known first."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail as it came. `raw`: its beginning, at least as much as is read; `size`: octets of the whole."""

    mailbox: Mailbox
    raw: bytes
    size: int
    sender: str = ""  # of the envelope


def record(arrival: Arrival) -> ReturnOutcome:
    """Raises Busy, and what the database raises; then nothing has happened."""
    if arrival.mailbox.is_to_unsubscribe:
        return _unsubscribe(arrival.mailbox)
    told = classify(arrival.raw, arrival.sender)
    recipient_id, message_id = arrival.mailbox.recipient_id, arrival.mailbox.message_id
    if arrival.mailbox.is_feedback and told.kind in ("complaint", "feedback"):
        recipient_id, message_id = told.recipient_id, told.message_id
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [WAITS_FOR_LOCKS])
        if recipient_id is None and message_id is None:
            outcome = _keep(arrival, told, ReturnOutcome.UNATTRIBUTED, ())
        else:
            outcome = _record(arrival, told, recipient_id, message_id)
        count(told.kind, outcome)  # last: its row is everybody's
    return outcome


def _unsubscribe(mailbox: Mailbox) -> ReturnOutcome:
    """Whatever the mail says: only who has the recipient's mail knows the address."""
    assert mailbox.recipient_id is not None
    with transaction.atomic():
        is_new = unsubscribe_by_mail(mailbox.recipient_id)
        outcome = {True: ReturnOutcome.RECORDED, False: ReturnOutcome.REPEATED, None: ReturnOutcome.FORGOTTEN}[is_new]
        count(ReturnKind.UNSUBSCRIBE, outcome)
    return outcome


def count(kind: str, outcome: str, number: int = 1) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [timezone.now().date(), str(kind), str(outcome), number])


def forget_old() -> int:
    """What came back is kept for some days. Returns how many rows went."""
    gone, before = 0, first_id_at(timezone.now() - KEPT)
    while ids := list(
        ReturnedMessage.objects.filter(pk__lt=before).order_by("pk").values_list("pk", flat=True)[:FORGET_AT_ONCE]
    ):
        gone += ReturnedMessage.objects.filter(pk__in=ids).delete()[0]
    ReturnCount.objects.filter(day__lt=(timezone.now() - COUNTS_KEPT).date()).delete()
    return gone


def _record(arrival: Arrival, told: Returned, recipient_id: UUID | None, message_id: UUID | None) -> ReturnOutcome:
    if recipient_id is not None:
        pairs = [(one, _finding_of(one, told)) for one in _locked([recipient_id])]
        if not pairs:
            return ReturnOutcome.FORGOTTEN
    else:
        assert message_id is not None
        of_message = Recipient.objects.filter(message_id=message_id, **Span.of([message_id]).of_recipients())
        among = list(of_message.order_by("id")[:RECIPIENTS_READ])
        if not among:
            return ReturnOutcome.FORGOTTEN
        named = _named(among, told)
        pairs = [(one, named[one.pk]) for one in _locked(sorted(named))]
        if not pairs:
            return _keep(arrival, told, ReturnOutcome.UNATTRIBUTED, among)
    if told.kind in ("bounce", "complaint") and any(one.leased_by is not None for one, _ in pairs):
        raise Busy
    kept = _keep(arrival, told, ReturnOutcome.NOTED, [one for one, _ in pairs])
    if kept is ReturnOutcome.REPEATED:
        return kept
    outcomes = {_apply(one, told, finding) for one, finding in pairs}
    outcome = next(one for one in _TOLD_FIRST if one in outcomes)
    if outcome is not ReturnOutcome.NOTED:
        ReturnedMessage.objects.filter(fingerprint=_fingerprint(arrival)).update(outcome=outcome)
    return outcome


# ---- Whom it is about ------------------------------------------------------------------------------------------------


def _locked(ids: Sequence[UUID]) -> list[Recipient]:
    """In the order of their ids, in which engines take them, too."""
    return list(Recipient.objects.filter(pk__in=ids).order_by("pk").select_for_update()) if ids else []


def _finding_of(recipient: Recipient, told: Returned) -> Finding:
    """Its return path says whom it is about, whatever address a receiver has passed it on to."""
    own = [one for one in told.findings if _names(recipient, one)]
    return next(iter([*own, *told.findings]), Finding(""))


def _named(recipients: Sequence[Recipient], told: Returned) -> dict[UUID, Finding]:
    """Of those who share a return path, the ones that the report names, or whose mailbox answers by itself; a single one need
    not be named."""
    by_address: dict[str, Recipient] = {_key(one): one for one in recipients}
    found: dict[UUID, Finding] = {}
    answering = [Finding(address_in(told.reporter))] if told.kind == "auto_reply" else []
    for finding in (*told.findings, *answering):
        for address in (finding.address, finding.final_address):
            recipient = by_address.get(normalized(address) or "")
            if recipient is not None:
                found.setdefault(recipient.pk, finding)
                break
    if not found and len(recipients) == 1:
        found[recipients[0].pk] = next(iter(told.findings), Finding(""))
    return found


def _names(recipient: Recipient, finding: Finding) -> bool:
    return _key(recipient) in {normalized(finding.address), normalized(finding.final_address)}


def _key(recipient: Recipient) -> str:
    return f"{recipient.address.rpartition('@')[0].lower()}@{recipient.destination}"


# ---- What follows ----------------------------------------------------------------------------------------------------


def _apply(recipient: Recipient, told: Returned, finding: Finding) -> ReturnOutcome:
    if told.kind == "bounce":
        return _bounce(recipient, told, finding)
    if told.kind == "complaint":
        return _complain(recipient, told)
    if type_ := _TOLD_AS.get(told.kind):
        return _tell(recipient, type_, told, finding)
    return ReturnOutcome.NOTED


def _bounce(recipient: Recipient, told: Returned, finding: Finding) -> ReturnOutcome:
    if recipient.state == RecipientState.BOUNCED:
        return ReturnOutcome.REPEATED
    if not _may_have_arrived(recipient):
        return ReturnOutcome.UNEXPECTED
    now = timezone.now()
    reply = finding.reply
    said = finding.diagnostic
    detail: Detail = {"reported_by": told.reporter}
    if reply:
        said = str(reply)
        detail["reply"] = {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}
    elif finding.diagnostic:
        detail["error"] = finding.diagnostic
    reached = finding.final_address or finding.address
    if reached and not _names(recipient, Finding(reached)):
        detail["passed_on_to"] = reached
    if exchanger := _exchanger_of(recipient):
        detail["exchanger"] = exchanger
    reason = finding.reason or "permanent_failure"
    Recipient.objects.filter(pk=recipient.pk).update(
        state=RecipientState.BOUNCED, state_at=now, reason=reason, last_reply=said, next_attempt_at=None
    )
    _write(recipient, EventType.BOUNCED, detail, reason)
    if finding.bounce == "hard":
        _suppress(recipient, reason, said)
    return ReturnOutcome.RECORDED


def _complain(recipient: Recipient, told: Returned) -> ReturnOutcome:
    """The first of a recipient about a message counts; whatever its state is now, if a copy may have reached it."""
    if recipient.state != RecipientState.BOUNCED and not _may_have_arrived(recipient):
        return ReturnOutcome.UNEXPECTED
    if _events_of(recipient).filter(type=EventType.COMPLAINED).exists():
        return ReturnOutcome.REPEATED
    detail: Detail = {"reported_by": told.reporter, "feedback": told.feedback_type}
    _write(recipient, EventType.COMPLAINED, detail)
    _suppress(recipient, COMPLAINT, "")
    return ReturnOutcome.RECORDED


def _tell(recipient: Recipient, type_: EventType, told: Returned, finding: Finding) -> ReturnOutcome:
    """What changes no state. Some servers report a delay every few hours, and some mailboxes answer each answer."""
    if recipient.state != RecipientState.BOUNCED and not _may_have_arrived(recipient):
        return ReturnOutcome.UNEXPECTED
    if _events_of(recipient).filter(type=type_).count() >= TOLD_MOST:
        return ReturnOutcome.NOTED
    detail: Detail = {"reported_by": told.reporter}
    if finding.diagnostic:
        detail["error"] = finding.diagnostic
    _write(recipient, type_, detail)
    return ReturnOutcome.RECORDED


def _may_have_arrived(recipient: Recipient) -> bool:
    """Of those that have not ended as delivered: an attempt was in doubt, so the receiver may have had it."""
    if recipient.state in _MAY_HAVE_ARRIVED:
        return True
    is_open = recipient.next_attempt_at is not None
    return is_open and recipient.attempts > 0 and _events_of(recipient).filter(type=EventType.IN_DOUBT).exists()


def _events_of(recipient: Recipient) -> OrganizationQuerySet[Event]:
    of_message = Event.objects.filter(message_id=recipient.message_id, id__gte=recipient.message_id)
    return of_message.filter(recipient_id=recipient.pk)


def _exchanger_of(recipient: Recipient) -> Exchanger | None:
    """Who had taken it, by which bounces are counted for providers (relay.statistics)."""
    types = [EventType.DELIVERED, EventType.IN_DOUBT, EventType.UNKNOWN_OUTCOME]
    detail = _events_of(recipient).filter(type__in=types).order_by("-id").values_list("detail", flat=True).first()
    return (detail or {}).get("exchanger")


def _write(recipient: Recipient, type_: EventType, detail: Detail, reason: str = "") -> None:
    """Of no attempt (0): it ended long before."""
    Event.objects.bulk_create(
        [
            Event(
                organization_id=recipient.organization_id, message_id=recipient.message_id, recipient_id=recipient.pk,
                address=recipient.address, type=type_, occurred_at=timezone.now(), reason=reason, detail=detail,
            )
        ]
    )  # fmt: skip


def _suppress(recipient: Recipient, reason: str, reply: str) -> None:
    organization = Organization(pk=recipient.organization_id)
    try:
        suppress(organization, recipient.address, reason=reason, message_id=recipient.message_id, reply=reply)
    except AddressRefused:
        return  # it was taken once; addresses that no rule of today takes are sent nothing either


# ---- What is kept ----------------------------------------------------------------------------------------------------


def _keep(arrival: Arrival, told: Returned, outcome: ReturnOutcome, recipients: Sequence[Recipient]) -> ReturnOutcome:
    """The row that tells of it. Returns `outcome`, or that it is known already. `recipients`: whom it is about, or may be."""
    first = recipients[0] if recipients else None
    organization_id = first.organization_id if first else None
    message_id = first.message_id if first else None
    if message_id and ReturnedMessage.objects.filter(message_id=message_id).count() >= ROWS_OF_A_MESSAGE:
        return outcome
    is_unclear = told.kind == "unknown" or (
        outcome is ReturnOutcome.UNATTRIBUTED and (told.kind != "auto_reply" or organization_id is None)
    )
    keeps_raw = is_unclear and _may_keep_raw(organization_id)
    if organization_id is None and not keeps_raw:  # everybody may write to a feedback address
        return outcome
    finding = told.findings[0] if told.findings else Finding("")
    about = recipients if outcome is not ReturnOutcome.UNATTRIBUTED else ()
    row = ReturnedMessage(
        organization_id=organization_id,
        message_id=message_id,
        recipient_id=about[0].pk if len(about) == 1 else None,
        address=", ".join(one.address for one in about[:5]) or finding.address,
        kind=ReturnKind(told.kind),
        outcome=outcome,
        reported_by=told.reporter,
        subject=told.subject,
        status=finding.status[:12],
        reason=finding.reason,
        diagnostic=finding.diagnostic,
        size_bytes=arrival.size,
        raw=arrival.raw[:RAW_OCTETS] if keeps_raw else None,
        fingerprint=_fingerprint(arrival),
        received_at=timezone.now(),
    )
    ReturnedMessage.objects.bulk_create([row], ignore_conflicts=True)
    is_new = ReturnedMessage.objects.filter(pk=row.pk).exists()
    return outcome if is_new else ReturnOutcome.REPEATED


def _may_keep_raw(organization_id: UUID | None) -> bool:
    kept = ReturnedMessage.objects.filter(raw__isnull=False)
    kept = kept.filter(organization_id=organization_id) if organization_id else kept.filter(organization=None)
    return kept[:RAW_MOST].count() < RAW_MOST


def _fingerprint(arrival: Arrival) -> bytes:
    box = arrival.mailbox
    return hashlib.sha256(f"{box.recipient_id} {box.message_id} {arrival.size} ".encode() + arrival.raw).digest()
