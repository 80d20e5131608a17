"""People, the organizations they belong to, and the API keys with which their programs come in."""

from accounts.models.api_keys import EXPIRY_WARNING, SCOPES_IN_WORDS, ApiKey, IdempotentAnswer, Scope
from accounts.models.members import Invitation, Membership, Role
from accounts.models.organizations import Erasure, MailHold, Organization, OutgoingTls, Plan, QuotaNotice
from accounts.models.people import User, UserManager
from accounts.models.records import AuditEntry, Notice

__all__ = [
    "EXPIRY_WARNING",
    "SCOPES_IN_WORDS",
    "ApiKey",
    "AuditEntry",
    "Erasure",
    "IdempotentAnswer",
    "Invitation",
    "MailHold",
    "Membership",
    "Notice",
    "Organization",
    "OutgoingTls",
    "Plan",
    "QuotaNotice",
    "Role",
    "Scope",
    "User",
    "UserManager",
]
