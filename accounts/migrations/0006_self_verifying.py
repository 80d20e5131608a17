"""The audit log, and mails to owners."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import accounts.ids

APPEND_ONLY = """
CREATE FUNCTION accounts_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_auditentry
    FOR EACH ROW EXECUTE FUNCTION accounts_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_rest_door"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="last_used_from",
            field=models.GenericIPAddressField(editable=False, null=True),
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("occurred_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("actor_kind", models.CharField(help_text="user, api_key, operator or system.", max_length=8)),
                ("actor_id", models.UUIDField(null=True)),
                (
                    "actor_name",
                    models.CharField(help_text="As it was then: a person's address, a key's name.", max_length=320),
                ),
                ("client", models.GenericIPAddressField(help_text="From where.", null=True)),
                ("action", models.CharField(help_text="domain.verified, smtp_user.disabled, …", max_length=40)),
                ("object_type", models.CharField(max_length=20)),
                ("object_id", models.UUIDField(null=True)),
                ("object_name", models.CharField(max_length=320)),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="audit_by_organization"),
                    models.Index(fields=["object_id", "-id"], name="audit_by_object"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Notice",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "template",
                    models.CharField(
                        help_text="accounts/email/<template>_subject.txt and _message.txt.", max_length=60
                    ),
                ),
                ("values", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("sent_at", models.DateTimeField(editable=False, null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(condition=models.Q(("sent_at__isnull", True)), fields=["id"], name="notice_unsent")
                ],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, "DROP FUNCTION accounts_refuse_change CASCADE"),
    ]
