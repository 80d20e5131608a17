"""Saved filters, exports of messages, and indexes by Message-ID and by reason."""

import django.db.models.deletion
import django.utils.timezone
from django.contrib.postgres.indexes import HashIndex
from django.db import migrations, models
from django.db.models.functions import Cast, Left
from django.db.models.lookups import Exact

import accounts.ids

OUR_MESSAGE_ID = models.Q(Exact(Left("message_id_header", 36), Cast("id", models.TextField())))


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_retention"),
        ("relay", "0012_story"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedFilter",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=60)),
                ("query", models.TextField(help_text="As in the list's address (relay.finding.asked).")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "name"), name="saved_filter_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="MessageExport",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("query", models.TextField(blank=True, help_text="As in the list's address (relay.finding.asked).")),
                ("format", models.CharField(help_text="csv or jsonl.", max_length=8)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("cancelled", "Cancelled"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=16,
                    ),
                ),
                (
                    "since",
                    models.UUIDField(help_text="The lowest id that is looked at; null: not known yet.", null=True),
                ),
                (
                    "until",
                    models.UUIDField(help_text="The end of the ids that are looked at: mail of later is not in it."),
                ),
                (
                    "position",
                    models.UUIDField(
                        help_text="All ids from here on are written; it moves down to `since`.", null=True
                    ),
                ),
                ("messages", models.PositiveBigIntegerField(default=0, help_text="Written.")),
                ("rows", models.PositiveBigIntegerField(default=0, help_text="Recipients written.")),
                ("size_bytes", models.PositiveBigIntegerField(default=0)),
                ("pieces_written", models.PositiveIntegerField(default=0)),
                (
                    "is_cut",
                    models.BooleanField(default=False, help_text="It came to the largest size that there may be."),
                ),
                ("failures", models.PositiveSmallIntegerField(default=0, help_text="In a row.")),
                ("requested_by", models.CharField(help_text="The member's address.", max_length=320)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("worked_at", models.DateTimeField(help_text="When it last had its turn.", null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(help_text="When it is deleted.", null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["waiting", "running"])),
                        fields=("organization",),
                        name="one_export_at_a_time",
                    ),
                ],
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="export_by_organization"),
                    models.Index(fields=["expires_at"], name="export_expiry"),
                ],
            },
        ),
        migrations.CreateModel(
            name="MessageExportPiece",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField(help_text="From 0.")),
                ("content", models.BinaryField()),
                (
                    "export",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="pieces", to="relay.messageexport"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("export", "number"), name="export_piece_once")],
            },
        ),
        migrations.AddIndex(
            model_name="message",
            index=HashIndex(fields=["message_id_header"], name="message_by_message_id", condition=~OUR_MESSAGE_ID),
        ),
        migrations.AddIndex(
            model_name="recipient",
            index=models.Index(
                fields=["organization", "reason", "-message_id"],
                name="recipient_by_reason",
                condition=models.Q(("reason", ""), _negated=True),
            ),
        ),
    ]
