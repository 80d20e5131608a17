"""Entries of the audit log in words that a person understands. No I/O.

An action that has no sentence here is told by its own words: member.role_changed is “changed the role of the member Ada”.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.template.defaultfilters import filesizeformat

from accounts.models import AuditEntry

OPERATOR = "PlugSend operator"
LISTED = 10  # of a longer list; exports have all of it

# What follows who did it; {} is the object.
_SENTENCES = {
    "organization.created": "created the organization {}",
    "organization.changed": "changed settings of {}",
    "organization.deletion_requested": "asked for the deletion of {}",
    "organization.deletion_undone": "undid the deletion of {}",
    "organization.suspended": "suspended {}",
    "organization.held": "held the mail of {} because of its rates",
    "organization.resumed": "resumed sending for {}",
    "organization.look_begun": "began to look at pages as {}",
    "organization.look_ended": "ended the look at pages as {}",
    "organization.approved": "looked at {} and found it in order",
    "organization.erasure_hastened": "had {} erased without the rest of the grace period",
    "domain.changed": "changed settings of {}",
    "domain.verified": "verified the domain {}",
    "domain.failing": "found that {} has lost DNS records",
    "domain.warned": "warned the owners that {} has lost DNS records",
    "domain.rate_alert": "found that a rate of {} has passed a threshold",
    "domain.recovered": "found the DNS records of {} again",
    "domain.stopped": "stopped mail from {}, whose DNS records stayed away",
    "domain.taken_over": "gave up {}, which another organization has proved to be its own",
    "domain.dkim_rotated": "replaced the DKIM key of {}",
    "domain.dkim_rotation_requested": "asked for a new DKIM key for {}",
    "domain.dkim_rotation_withdrawn": "withdrew the rotation of the DKIM key of {}",
    "domain.dkim_key_made": "made the next DKIM key for {}",
    "domain.dkim_key_paused": "paused a DKIM key of {}, whose record is gone",
    "domain.dkim_key_retired": "retired a DKIM key of {}",
    "domain.dkim_fallback": "went back to the former DKIM key of {}",
    "domain.dkim_schedule_changed": "changed how often the DKIM key of {} is replaced",
    "smtp_user.key_added": "added a key to the SMTP user {}",
    "smtp_user.key_revoked": "revoked a key of the SMTP user {}",
    "domain.dkim_key_activated": "made a DKIM key of {} sign",
    "smtp_user.password_replaced": "changed the password of the SMTP user {}",
    "suppression.added": "suppressed {}",
    "suppression.removed": "removed {} from the suppressions",
    "suppression_import.requested": "had the list {} imported into the suppressions",
    "suppression_import.finished": "finished the import of {} into the suppressions",
    "suppression_import.cancelled": "cancelled the import of {} into the suppressions",
    "suppression_import.failed": "gave up the import of {} into the suppressions",
    "soft_bounce_rule.changed": "changed the rule for soft bounces of {}",
    "webhook.changed": "changed the webhook {}",
    "webhook.resumed": "resumed the webhook {}",
    "webhook.secret_rotated": "replaced the signing secret of the webhook {}",
    "webhook.secret_revealed": "looked at the signing secret of the webhook {}",
    "webhook.tested": "sent a test to the webhook {}",
    "webhook.replayed": "sent an event again to the webhook {}",
    "webhook.replay_requested": "asked for events to be sent again to the webhook {}",
    "webhook.paused": "paused the webhook {}, to which nothing could be sent",
    "webhook.paused_by_operator": "paused the webhook {}",
    "webhook.gone": "stopped the webhook {}, which answered 410 Gone",
    "template.changed": "changed the template {}",
    "destination.paused": "paused mail to {}",
    "destination.resumed": "resumed mail to {}",
    "feature_settings.changed": "changed settings of the {}",
    "template.tested": "sent a test of the template {}",
    "message.retried": "retried {}",
    "message.held": "held {}",
    "message.released": "released {}",
    "message.cancelled": "cancelled {}",
    "message.rescheduled": "rescheduled {}",
    "message.read": "opened the message {}",
    "message.content_read": "read the content of the message {}",
    "returned_message.content_read": "read the source of what came back by mail ({})",
    "returned_message.read": "opened what came back by mail ({})",
    "timeline_link.created": "shared the timeline of {} by a link",
    "timeline_link.revoked": "revoked a link to the timeline of {}",
    "user.signed_in": "signed in, as {}",
    "user.signed_in_on_new_device": "signed in on a new device, as {}",
    "user.password_changed": "changed the password of {}",
    "user.password_set": "set a password for {}",
    "user.password_reset": "reset the password of {}",
    "user.address_changed": "changed the address of {}",
    "user.address_verified": "verified an address of {}",
    "user.address_removed": "removed an address of {}",
    "user.authenticator_app_added": "added an authenticator app for {}",
    "user.authenticator_app_removed": "removed the authenticator app of {}",
    "user.passkey_added": "added a passkey for {}",
    "user.passkey_removed": "removed a passkey of {}",
    "user.recovery_codes_made": "made new recovery codes for {}",
    "user.account_connected": "connected an account elsewhere to {}",
    "user.account_disconnected": "disconnected an account elsewhere from {}",
    "plan.changed": "changed the limits of the plan {}",
    "audit_log.exported": "exported the audit log",
    "saved_filter.added": "saved the filter {}",
    "saved_filter.changed": "changed the saved filter {}",
    "saved_filter.removed": "removed the saved filter {}",
    "message_export.requested": "asked for an {}",
    "message_export.finished": "finished the {}",
    "message_export.failed": "gave up the {}",
    "message_export.cancelled": "cancelled the {}",
    "message_export.downloaded": "downloaded the {}",
    "message_export.removed": "removed the {}",
    "message_export.expired": "deleted the {}, whose time was over",
    "organization.second_factor_required": "required multi-factor sign-in of the members of {}",
    "organization.second_factor_optional": "stopped requiring multi-factor sign-in of the members of {}",
    "invitation.sent": "invited {}",
    "invitation.resent": "invited {} again",
    "invitation.accepted": "accepted the invitation for {}",
    "member.joined": "joined the organization",
    "member.left": "left the organization",
    "api_key.expired": "ended the API key {}, whose time was over",
}
_ABBREVIATIONS = {"smtp": "SMTP", "api": "API", "dkim": "DKIM", "dns": "DNS", "mfa": "MFA", "ip": "IP", "tls": "TLS"}
# A field that is a switch: completes “turned on …”.
_SWITCHES = {
    "allow_subdomains": "subdomains",
    "never_twice": "“never twice”",
    "show_client_address": "client addresses in Received fields",
    "require_mfa": "required multi-factor sign-in",
    "is_active": "the account",
}
_CODES = frozenset({"status", "reason", "outgoing_tls", "role", "state"})  # fields whose values are words of ours

_TYPES_IN_WORDS = {
    "organization": "Organization and settings",
    "member": "Members",
    "invitation": "Invitations",
    "user": "People’s accounts",
    "domain": "Domains",
    "smtp_user": "SMTP users",
    "api_key": "API keys",
    "template": "Templates",
    "plan": "Plan",
    "suppression": "Suppressions",
    "message": "Messages",
    "timeline_link": "Links to timelines",
    "message_export": "Exports of messages",
    "saved_filter": "Saved filters",
    "audit_log": "Audit log",
}
KINDS_IN_WORDS = {"operator": OPERATOR, "system": "PlugSend itself"}


@dataclass(frozen=True, slots=True)
class Change:
    """A field with its value before and after, in words; empty where there is none."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Who:
    """As members may know the actor: operators are not named to them."""

    kind: str
    id: UUID | None
    name: str
    client: str | None

    @property
    def in_words(self) -> str:
        return f"API key “{self.name}”" if self.kind == "api_key" else self.name


@dataclass(frozen=True, slots=True)
class Told:
    """An entry in words: `who`, then `did`, the object and `rest` of the sentence."""

    entry: AuditEntry
    who: Who
    did: str
    object: str
    rest: str
    changes: list[Change]

    @property
    def sentence(self) -> str:
        return f"{self.who.in_words} {self.did}{self.object}{self.rest}"


def told(entry: AuditEntry) -> Told:
    before, after = entry.before or {}, entry.after or {}
    did, mark, rest = _sentence(entry.action, before, after).partition("{}")
    return Told(entry, who(entry), did, entry.object_name if mark else "", rest, _changes(before, after))


def who(entry: AuditEntry) -> Who:
    if entry.actor_kind == "operator":
        return Who("operator", None, OPERATOR, None)
    return Who(entry.actor_kind, entry.actor_id, entry.actor_name, entry.client)


def type_in_words(object_type: str) -> str:
    """Of many objects, as a filter names them."""
    return _TYPES_IN_WORDS.get(object_type) or _capitalized(_spelled(object_type))


def _sentence(action: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    if action.endswith(".changed"):
        if "suspended_at" in after:
            return "suspended {}" if after["suspended_at"] else "lifted the suspension of {}"
        if len(after) == 1 and isinstance(value := next(iter(after.values())), bool):
            field = next(iter(after))
            return f"turned {'on' if value else 'off'} {_SWITCHES.get(field) or _spelled(field)} for {{}}"
    if sentence := _SENTENCES.get(action):
        return sentence
    kind, _, verb = action.partition(".")
    *what, done = _spelled(verb).split(" ")
    return f"{done} the {' '.join(what)} of the {_spelled(kind)} {{}}" if what else f"{done} the {_spelled(kind)} {{}}"


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    fields = [*before, *(field for field in after if field not in before)]
    told = [
        Change(_spelled(field), _words(field, before.get(field)), _words(field, after.get(field))) for field in fields
    ]
    return [change for change in told if change.before or change.after]


def _words(field: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        more = len(value) - LISTED
        return ", ".join(_words(field, one) for one in value[:LISTED]) + (f" and {more:,} more" if more > 0 else "")
    if isinstance(value, int):
        return filesizeformat(value) if field.endswith("_bytes") else f"{value:,}"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value else None
    except ValueError:
        moment = None
    if moment and moment.tzinfo:
        return f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
    return str(value).replace("_", " ") if field in _CODES else str(value)


def _spelled(name: str) -> str:
    return " ".join(_ABBREVIATIONS.get(word, word) for word in name.removesuffix("_bytes").split("_"))


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
