"""Deleting organizations and accounts. What is being erased may leave the audit log."""

import django.utils.timezone
from django.db import migrations, models

LEAVES_BY_ERASURE = """
CREATE OR REPLACE FUNCTION accounts_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.organization_id::text = current_setting('plugsend.erasing', true)
       AND EXISTS (SELECT FROM accounts_erasure WHERE organization_id = OLD.organization_id AND finished_at IS NULL) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'The audit log is append-only';
END $$;
"""
APPEND_ONLY = """
CREATE OR REPLACE FUNCTION accounts_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0012_quotas"),
    ]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("organization_id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("requested_at", models.DateTimeField()),
                ("began_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(null=True)),
                ("counts", models.JSONField(default=dict, help_text="Rows erased, by kind.")),
            ],
        ),
        migrations.AddField(
            model_name="invitation",
            name="invited_by_name",
            field=models.CharField(
                blank=True, editable=False, help_text="Of somebody whose account is deleted.", max_length=254
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="deletion_reminded_at",
            field=models.DateTimeField(
                editable=False, help_text="When its owners were told that it is near.", null=True
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="deletion_requested_by",
            field=models.CharField(
                blank=True, editable=False, help_text="A person's address, as it was then.", max_length=320
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="erase_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="The end of the grace period: until then it can be undone.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="mail_hold",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "Not held"),
                    ("holding", "Being held"),
                    ("held", "Held"),
                    ("releasing", "Being released"),
                ],
                default="",
                editable=False,
                help_text="For its deletion.",
                max_length=12,
            ),
        ),
        migrations.AddIndex(
            model_name="organization",
            index=models.Index(
                condition=models.Q(("erase_at__isnull", False)), fields=["erase_at"], name="organization_erase_at"
            ),
        ),
        migrations.AddIndex(
            model_name="organization",
            index=models.Index(
                condition=models.Q(("mail_hold", ""), _negated=True),
                fields=["mail_hold"],
                name="organization_mail_hold",
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("deletion_requested_at__isnull", True), ("erase_at__isnull", True)),
                    models.Q(
                        ("deletion_requested_at__isnull", False), ("erase_at__isnull", False), ("is_system", False)
                    ),
                    _connector="OR",
                ),
                name="deletion_has_an_end",
            ),
        ),
        migrations.RunSQL(LEAVES_BY_ERASURE, APPEND_ONLY),
    ]
