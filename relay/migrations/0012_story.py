"""Links to timelines."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import accounts.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_retention"),
        ("relay", "0011_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="TimelineLink",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("message_id", models.UUIDField()),
                ("recipient_id", models.UUIDField()),
                ("address", models.TextField(help_text="The recipient's.")),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("created_by", models.CharField(help_text="Who made it, as the audit log names them.", max_length=320)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
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
                    models.Index(fields=["message_id", "-id"], name="timeline_link_by_message"),
                    models.Index(fields=["expires_at"], name="timeline_link_age"),
                ],
            },
        ),
    ]
