"""Suspensions with a reason, reviews of organizations, operators' notes, switches of the platform."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import accounts.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="FeatureSetting",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("value", models.JSONField()),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("changed_by", models.CharField(max_length=320)),
            ],
        ),
        migrations.CreateModel(
            name="OperatorNote",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("text", models.TextField(max_length=4000)),
                ("author", models.CharField(help_text="An operator's address, as it was then.", max_length=320)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.AlterModelOptions(
            name="organization",
            options={
                "permissions": [
                    ("suspend_organization", "Can suspend, resume and review organizations"),
                    ("look_as_organization", "Can look at pages as an organization"),
                    ("act_as_organization", "Can change things while looking as an organization"),
                ]
            },
        ),
        migrations.AddField(
            model_name="organization",
            name="review_cause",
            field=models.CharField(
                blank=True,
                choices=[("", "Nothing to look at"), ("new", "Signed up"), ("rates", "Held for its rates")],
                db_default="",
                default="",
                editable=False,
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="review_since",
            field=models.DateTimeField(
                blank=True, editable=False, help_text="Set: it waits for an operator's look.", null=True
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="reviewed_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When an operator found it in order; the limits of first days end.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="suspension",
            field=models.CharField(
                blank=True,
                choices=[("", "Not suspended"), ("operator", "By an operator"), ("rates", "By its rates")],
                db_default="",
                default="",
                editable=False,
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="suspension_reason",
            field=models.CharField(
                blank=True, db_default="", editable=False, help_text="As its members are told.", max_length=500
            ),
        ),
        migrations.AlterField(
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
                help_text="For a suspension or its deletion.",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="organization",
            name="suspended_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Set: both doors refuse its mail, and its queue is held.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="organization",
            index=models.Index(
                condition=models.Q(("review_since__isnull", False)), fields=["review_since"], name="organization_review"
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(("suspended_at__isnull", False), ("suspension", ""), _connector="OR"),
                name="suspension_has_a_time",
            ),
        ),
        migrations.AddField(
            model_name="operatornote",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
            ),
        ),
        migrations.RunSQL(
            """
            UPDATE accounts_organization SET reviewed_at = created_at;
            UPDATE accounts_organization SET suspension = 'operator', mail_hold = CASE mail_hold WHEN '' THEN 'holding' ELSE mail_hold END
            WHERE suspended_at IS NOT NULL;
            """,
            migrations.RunSQL.noop,
        ),
    ]
