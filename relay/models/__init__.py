"""The tables of the mail path; each of these modules is one of its subjects."""

from relay.models.counting import KeptLonger, Period, Retention, UsageCounter, UsageShare
from relay.models.delivery import ExchangerGroup, IpPool, MtaStsPolicy, PoolAssignment, SourceAddress
from relay.models.finding import (
    OPEN_EXPORTS,
    ExportKind,
    ExportState,
    MessageExport,
    MessageExportPiece,
    SavedFilter,
    TimelineLink,
)
from relay.models.mail import (
    HAS_OUR_MESSAGE_ID,
    Content,
    Door,
    IdempotencyKey,
    Message,
    Recipient,
    RecipientState,
    ScheduledMessage,
)
from relay.models.returns import ReturnCount, ReturnedMessage, ReturnKind, ReturnOutcome
from relay.models.suppressions import (
    NOTE_LENGTH,
    OPEN_IMPORTS,
    ImportState,
    SoftBounceMark,
    SoftBouncePardon,
    SoftBounceRule,
    Suppression,
    SuppressionImport,
    SuppressionImportPiece,
)
from relay.models.templates import Template, TemplateVersion

__all__ = [
    "HAS_OUR_MESSAGE_ID",
    "NOTE_LENGTH",
    "OPEN_EXPORTS",
    "OPEN_IMPORTS",
    "Content",
    "Door",
    "ExchangerGroup",
    "ExportKind",
    "ExportState",
    "IdempotencyKey",
    "ImportState",
    "IpPool",
    "KeptLonger",
    "Message",
    "MessageExport",
    "MessageExportPiece",
    "MtaStsPolicy",
    "Period",
    "PoolAssignment",
    "Recipient",
    "RecipientState",
    "Retention",
    "ReturnCount",
    "ReturnKind",
    "ReturnOutcome",
    "ReturnedMessage",
    "SavedFilter",
    "ScheduledMessage",
    "SoftBounceMark",
    "SoftBouncePardon",
    "SoftBounceRule",
    "SourceAddress",
    "Suppression",
    "SuppressionImport",
    "SuppressionImportPiece",
    "Template",
    "TemplateVersion",
    "TimelineLink",
    "UsageCounter",
    "UsageShare",
]
