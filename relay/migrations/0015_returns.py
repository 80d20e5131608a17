"""What came back by mail, kept for some days, and how much of it."""

import django.db.models.deletion
from django.db import migrations, models

import accounts.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_retention"),
        ("relay", "0014_by_destination"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReturnCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                (
                    "kind",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("bounce", "Bounce"),
                            ("delay", "Delay"),
                            ("complaint", "Complaint"),
                            ("feedback", "Feedback, no complaint"),
                            ("auto_reply", "Automatic reply"),
                            ("delivered", "Delivery confirmed"),
                            ("unsubscribe", "Wish to unsubscribe"),
                            ("unknown", "Not understood"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("recorded", "Became an event"),
                            ("repeated", "Known already"),
                            ("noted", "Noted, changes nothing"),
                            ("unexpected", "Ignored: nothing had left"),
                            ("unattributed", "Does not say whose it is"),
                            ("forgotten", "The message is no longer kept"),
                            ("refused", "Refused: no address of ours"),
                        ],
                        max_length=12,
                    ),
                ),
                ("count", models.PositiveBigIntegerField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("day", "kind", "outcome"), name="return_count_once")],
            },
        ),
        migrations.CreateModel(
            name="ReturnedMessage",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("message_id", models.UUIDField(null=True)),
                ("recipient_id", models.UUIDField(help_text="Of ours; none where it is about several.", null=True)),
                ("address", models.TextField(blank=True, help_text="The recipient's address, or several.")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("bounce", "Bounce"),
                            ("delay", "Delay"),
                            ("complaint", "Complaint"),
                            ("feedback", "Feedback, no complaint"),
                            ("auto_reply", "Automatic reply"),
                            ("delivered", "Delivery confirmed"),
                            ("unsubscribe", "Wish to unsubscribe"),
                            ("unknown", "Not understood"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("recorded", "Became an event"),
                            ("repeated", "Known already"),
                            ("noted", "Noted, changes nothing"),
                            ("unexpected", "Ignored: nothing had left"),
                            ("unattributed", "Does not say whose it is"),
                            ("forgotten", "The message is no longer kept"),
                            ("refused", "Refused: no address of ours"),
                        ],
                        max_length=12,
                    ),
                ),
                ("reported_by", models.TextField(blank=True, help_text="Reporting-MTA, or the author.")),
                ("subject", models.TextField(blank=True)),
                ("status", models.CharField(blank=True, help_text="Enhanced status code, RFC 3463.", max_length=12)),
                ("reason", models.CharField(blank=True, help_text="From events.reasons.", max_length=40)),
                ("diagnostic", models.TextField(blank=True)),
                ("size_bytes", models.IntegerField()),
                ("raw", models.BinaryField(null=True)),
                (
                    "fingerprint",
                    models.BinaryField(
                        help_text="By which one that is sent again is recognised.", max_length=32, unique=True
                    ),
                ),
                ("received_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["message_id"], name="returned_by_message"),
                    models.Index(
                        condition=models.Q(("raw__isnull", False)), fields=["organization"], name="returned_raw"
                    ),
                ],
            },
        ),
    ]
