"""How far each organization's mail is forgotten."""

import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_retention"),
        ("relay", "0010_quotas"),
    ]

    operations = [
        migrations.CreateModel(
            name="Retention",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.organization",
                    ),
                ),
                ("contents_before", models.UUIDField(default=uuid.UUID(int=0))),
                ("messages_before", models.UUIDField(default=uuid.UUID(int=0))),
            ],
        ),
        migrations.CreateModel(
            name="KeptLonger",
            fields=[
                ("message_id", models.UUIDField(primary_key=True, serialize=False)),
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
                "indexes": [models.Index(fields=["organization", "message_id"], name="kept_longer_by_organization")],
            },
        ),
    ]
