"""People, the organizations they belong to, and the API keys with which their programs come in."""

from accounts.models.api_keys import EXPIRY_WARNING, SCOPES_IN_WORDS, ApiKey, IdempotentAnswer, Scope
from accounts.models.members import Invitation, Membership, Role
from accounts.models.organizations import (
    Erasure,
    FeatureSetting,
    MailHold,
    OperatorNote,
    Organization,
    OutgoingTls,
    Plan,
    QuotaNotice,
    ReviewCause,
    Suspension,
)
from accounts.models.people import User, UserManager
from accounts.models.records import AuditEntry, Notice

__all__ = [
    "EXPIRY_WARNING",
    "SCOPES_IN_WORDS",
    "ApiKey",
    "AuditEntry",
    "Erasure",
    "FeatureSetting",
    "IdempotentAnswer",
    "Invitation",
    "MailHold",
    "Membership",
    "Notice",
    "OperatorNote",
    "Organization",
    "OutgoingTls",
    "Plan",
    "QuotaNotice",
    "ReviewCause",
    "Role",
    "Scope",
    "Suspension",
    "User",
    "UserManager",
]
