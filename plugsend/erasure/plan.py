"""Where rows of an organization stand: every table of the platform is either here, with the condition by which its rows are
found, or among those that hold nothing of any organization. A test walks all models and wants each in one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.admin.models import LogEntry
from django.db.models import Model

from accounts.models import (
    ApiKey,
    AuditEntry,
    Erasure,
    FeatureSetting,
    IdempotentAnswer,
    Invitation,
    Membership,
    Notice,
    OperatorNote,
    Organization,
    Plan,
    QuotaNotice,
    User,
)
from domains.models import ConnectKey, DkimKey, DnsRecord, SendingDomain, SmtpUser, SmtpUserKey
from events.models import Event
from plugsend.status.models import ComponentDay, ComponentState, Incident, IncidentUpdate, Throughput
from relay.models import (
    Content,
    ExchangerGroup,
    IdempotencyKey,
    IpPool,
    KeptLonger,
    Message,
    MessageExport,
    MessageExportPiece,
    MtaStsPolicy,
    PausedDestination,
    PoolAssignment,
    Recipient,
    Retention,
    ReturnCount,
    ReturnedMessage,
    SavedFilter,
    ScheduledMessage,
    SoftBounceMark,
    SoftBouncePardon,
    SoftBounceRule,
    SourceAddress,
    Suppression,
    SuppressionImport,
    SuppressionImportPiece,
    Template,
    TemplateVersion,
    TimelineLink,
    UsageCounter,
    UsageShare,
)
from relay.sandbox.models import ReceivedMail, ZoneFault, ZoneRecord
from relay.statistics.models import Alert, Failure, Progress, Rollup
from relay.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookProgress, WebhookReplay

OWN = "organization_id = %(organization)s"
_OF_DOMAINS = f"IN (SELECT id FROM domains_sendingdomain WHERE {OWN})"  # noqa: S608
_OF_SMTP_USERS = f"IN (SELECT id FROM domains_smtpuser WHERE {OWN})"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Step:
    """A table whose rows of an organization fulfil `where`."""

    model: type[Model]
    where: str = OWN
    cut: tuple[str, ...] = ()  # columns that point to other rows of the table: emptied before

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def name(self) -> str:
        return str(self.model._meta.verbose_name_plural)


def _logged(model: type[Model], ids: str) -> str:
    """Operators' acts on such objects, which the admin logs with their names."""
    label, name = model._meta.app_label, model._meta.model_name
    kind = f"(SELECT id FROM django_content_type WHERE app_label = '{label}' AND model = '{name}')"  # noqa: S608
    return f"content_type_id = {kind} AND object_id IN ({ids})"


_LOGGED = " OR ".join(
    [
        _logged(Organization, "%(organization)s::text"),
        *(
            _logged(model, f"SELECT id::text FROM {model._meta.db_table} WHERE {OWN}")  # noqa: S608
            for model in (SendingDomain, SmtpUser, ApiKey, PoolAssignment, Membership, Template)
        ),
    ]
)

# Keys first. A row goes before what it points to.
BEFORE_MAIL = [
    Step(LogEntry, _LOGGED),
    Step(DnsRecord, f"domain_id {_OF_DOMAINS}"),
    Step(DkimKey, f"domain_id {_OF_DOMAINS}"),
    Step(SmtpUserKey, f"smtp_user_id {_OF_SMTP_USERS}"),
    Step(ApiKey, cut=("created_with_id", "replaced_by_id")),
    Step(Invitation),
    Step(OperatorNote),
    Step(WebhookReplay),
    Step(WebhookEndpoint),
    Step(IdempotentAnswer),
    Step(IdempotencyKey),
]
# Found by the recipients whom its return path names.
ARRIVED = Step(ReceivedMail, "")
# Message by message, all of one in a transaction: states and events agree at any moment. Contents have the message's id.
CONTENTS, EVENTS, RECIPIENTS = Step(Content, ""), Step(Event), Step(Recipient)
SCHEDULED, RETURNED, MESSAGES = Step(ScheduledMessage), Step(ReturnedMessage), Step(Message)
# Also what no message led to, such as tests.
WEBHOOK_DELIVERIES = Step(WebhookDelivery)
MAIL = [CONTENTS, EVENTS, RECIPIENTS, SCHEDULED, RETURNED, WEBHOOK_DELIVERIES, MESSAGES]
AFTER_MAIL = [
    RETURNED,
    Step(UsageShare, f"subject_id {_OF_SMTP_USERS} OR subject_id = %(organization)s"),
    Step(UsageCounter, f"subject_id {_OF_SMTP_USERS} OR subject_id = %(organization)s"),
    Step(Retention),
    Step(KeptLonger),
    Step(Rollup),
    Step(Failure),
    Step(Alert),
    Step(MessageExportPiece, f"export_id IN (SELECT id FROM relay_messageexport WHERE {OWN})"),  # noqa: S608
    Step(MessageExport),
    Step(SavedFilter),
    Step(SuppressionImportPiece, f"import_of_id IN (SELECT id FROM relay_suppressionimport WHERE {OWN})"),  # noqa: S608
    Step(SuppressionImport),
    Step(SoftBouncePardon),
    Step(SoftBounceRule),
    Step(Suppression),
    Step(TimelineLink),
    Step(TemplateVersion, f"template_id IN (SELECT id FROM relay_template WHERE {OWN})"),  # noqa: S608
    Step(Template),
    Step(SmtpUser),
    Step(ZoneRecord, f"published_for_id {_OF_DOMAINS}"),
    Step(ZoneFault, f"published_for_id {_OF_DOMAINS}"),
    Step(PoolAssignment, f"{OWN} OR domain_id {_OF_DOMAINS}"),
    Step(SendingDomain),
    Step(QuotaNotice),
    Step(Notice),
    Step(AuditEntry),
]
# In one transaction with the last mail to its owners and the line that stays.
LAST = [
    *(Step(model) for model in (Notice, AuditEntry, Retention, KeptLonger, WebhookDelivery, Membership)),
    Step(Organization, "id = %(organization)s"),
]

STEPS = [*BEFORE_MAIL, ARRIVED, *MAIL, *AFTER_MAIL, *LAST]
ERASED: frozenset[type[Model]] = frozenset(step.model for step in STEPS)

# Of no organization: the platform's, operators' and people's own.
KEPT: frozenset[type[Model]] = frozenset(
    {
        User, User.groups.through, User.user_permissions.through, Plan, Erasure, ConnectKey, ExchangerGroup, IpPool,
        SourceAddress, MtaStsPolicy, Progress, SoftBounceMark, ReturnCount, WebhookProgress, FeatureSetting,
        PausedDestination, ComponentDay, ComponentState, Incident, IncidentUpdate, Throughput,
    }
)  # fmt: skip
# Django's and django-allauth's: about people, how they sign in, their sessions and the admin. People keep their accounts; these
# go with an account that is deleted (accounts.account_deletion).
KEPT_APPS = frozenset({"account", "auth", "contenttypes", "mfa", "sessions", "sites", "socialaccount", "usersessions"})
