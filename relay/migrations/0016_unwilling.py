"""Streams; suppressions by stream, with notes, imports and a rule for soft bounces."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import accounts.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_retention"),
        ("relay", "0015_returns"),
    ]

    operations = [
        migrations.CreateModel(
            name="SoftBounceMark",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("looked_before", models.UUIDField(help_text="All events with lower ids.")),
            ],
        ),
        migrations.CreateModel(
            name="SoftBouncePardon",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("address", models.TextField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="SoftBounceRule",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("is_on", models.BooleanField(default=True)),
                ("messages", models.PositiveSmallIntegerField(help_text="So many in a row.")),
                (
                    "days",
                    models.PositiveSmallIntegerField(
                        help_text="At least so many between the first and the last of them."
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="SuppressionImport",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("filename", models.CharField(max_length=255)),
                ("stream", models.CharField(blank=True, help_text="Where a line names none.", max_length=40)),
                ("note", models.CharField(blank=True, max_length=500)),
                (
                    "columns",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(),
                        default=list,
                        help_text="Of the header line; none: addresses alone.",
                        size=None,
                    ),
                ),
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
                ("size_bytes", models.PositiveBigIntegerField()),
                ("pieces", models.PositiveIntegerField(help_text="Of whole lines.")),
                ("pieces_read", models.PositiveIntegerField(default=0)),
                ("lines", models.PositiveIntegerField(default=0, help_text="Read so far.")),
                ("added", models.PositiveIntegerField(default=0)),
                ("known", models.PositiveIntegerField(default=0, help_text="Suppressed already.")),
                ("refused", models.PositiveIntegerField(default=0)),
                ("refusals", models.JSONField(default=list, help_text="[line, text, why] of the first refused ones.")),
                ("failures", models.PositiveSmallIntegerField(default=0, help_text="In a row.")),
                ("requested_by", models.CharField(max_length=320)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("worked_at", models.DateTimeField(help_text="When it last had its turn.", null=True)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="SuppressionImportPiece",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField(help_text="From 0.")),
                ("content", models.BinaryField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="suppression",
            name="suppressed_once",
        ),
        migrations.AddField(
            model_name="message",
            name="stream",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="The kind of mail that its recipients may unsubscribe from.",
                max_length=40,
            ),
        ),
        migrations.AddField(
            model_name="messageexport",
            name="kind",
            field=models.CharField(
                choices=[("messages", "Messages"), ("suppressions", "Suppressions")],
                db_default="messages",
                default="messages",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="suppression",
            name="added_by",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="A member's address or an API key's name; else empty.",
                max_length=320,
            ),
        ),
        migrations.AddField(
            model_name="suppression",
            name="note",
            field=models.CharField(blank=True, db_default="", max_length=500),
        ),
        migrations.AddField(
            model_name="suppression",
            name="stream",
            field=models.CharField(blank=True, db_default="", help_text="Empty: all mail.", max_length=40),
        ),
        migrations.AlterField(
            model_name="messageexport",
            name="query",
            field=models.TextField(
                blank=True, help_text="As in the list's address (relay.finding, relay.suppressing)."
            ),
        ),
        migrations.AlterField(
            model_name="suppression",
            name="message_id",
            field=models.UUIDField(help_text="The message that made it.", null=True),
        ),
        migrations.AlterField(
            model_name="suppression",
            name="reason",
            field=models.CharField(
                help_text="From events.reasons, or: manual, complaint, unsubscribe, soft_bounces.", max_length=40
            ),
        ),
        migrations.AddConstraint(
            model_name="suppression",
            constraint=models.UniqueConstraint(
                fields=("organization", "address", "stream"), name="suppressed_once_per_stream"
            ),
        ),
        migrations.AddField(
            model_name="softbouncepardon",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
            ),
        ),
        migrations.AddField(
            model_name="softbouncerule",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
            ),
        ),
        migrations.AddField(
            model_name="suppressionimport",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
            ),
        ),
        migrations.AddField(
            model_name="suppressionimportpiece",
            name="import_of",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="content", to="relay.suppressionimport"
            ),
        ),
        migrations.AddIndex(
            model_name="softbouncepardon",
            index=models.Index(fields=["at"], name="soft_bounce_pardon_age"),
        ),
        migrations.AddConstraint(
            model_name="softbouncepardon",
            constraint=models.UniqueConstraint(fields=("organization", "address"), name="soft_bounce_pardon_once"),
        ),
        migrations.AddConstraint(
            model_name="softbouncerule",
            constraint=models.UniqueConstraint(fields=("organization",), name="soft_bounce_rule_once"),
        ),
        migrations.AddIndex(
            model_name="suppressionimport",
            index=models.Index(fields=["organization", "-id"], name="import_by_organization"),
        ),
        migrations.AddConstraint(
            model_name="suppressionimport",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["waiting", "running"])),
                fields=("organization",),
                name="one_import_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="suppressionimportpiece",
            constraint=models.UniqueConstraint(fields=("import_of", "number"), name="import_piece_once"),
        ),
    ]
