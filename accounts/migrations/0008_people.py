"""Roles, invitations, plans, and what an organization asks of its members."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import accounts.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_users"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="deletion_requested_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Set: nothing is sent, and after the grace period it is erased.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="require_mfa",
            field=models.BooleanField(
                default=False, help_text="Members come in only with a second factor or a passkey."
            ),
        ),
        migrations.AlterField(
            model_name="membership",
            name="role",
            field=models.CharField(
                choices=[("owner", "Owner"), ("admin", "Admin"), ("developer", "Developer"), ("viewer", "Viewer")],
                default="owner",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=60, unique=True)),
                ("is_default", models.BooleanField(default=False, help_text="New organizations begin with it.")),
                ("messages_per_day", models.PositiveIntegerField(blank=True, help_text="UTC day.", null=True)),
                ("messages_per_month", models.PositiveIntegerField(blank=True, help_text="UTC month.", null=True)),
                ("messages_per_second", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "recipients_per_message",
                    models.PositiveIntegerField(blank=True, help_text="Lowers the platform's own limit.", null=True),
                ),
                ("domains", models.PositiveIntegerField(blank=True, null=True)),
                ("members", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "content_days",
                    models.PositiveSmallIntegerField(default=7, help_text="How long the content of messages is kept."),
                ),
                (
                    "event_days",
                    models.PositiveSmallIntegerField(
                        default=90, help_text="How long messages and their events are kept."
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)), fields=("is_default",), name="one_default_plan"
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="organization",
            name="plan",
            field=models.ForeignKey(
                blank=True,
                help_text="Empty: no limits.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="organizations",
                to="accounts.plan",
            ),
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("email", models.EmailField(help_text="Lower case.", max_length=254)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("owner", "Owner"),
                            ("admin", "Admin"),
                            ("developer", "Developer"),
                            ("viewer", "Viewer"),
                        ],
                        max_length=16,
                    ),
                ),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(editable=False, null=True)),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                (
                    "invited_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
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
                        condition=models.Q(("accepted_at__isnull", True), ("revoked_at__isnull", True)),
                        fields=("organization", "email"),
                        name="one_open_invitation_each",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="QuotaNotice",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("quota", models.CharField(max_length=24)),
                ("starts_at", models.DateTimeField(help_text="Of the period.")),
                ("percent", models.PositiveSmallIntegerField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "quota", "starts_at", "percent"), name="quota_notice_once"
                    )
                ],
            },
        ),
    ]
