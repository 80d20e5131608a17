"""Organizations' messages are counted, too, in shares that committers reserve."""

from django.db import migrations, models

# What was sent in the last days and in this month, before it was counted.
COUNT = """
    INSERT INTO relay_usagecounter (subject_id, period, starts_at, count)
    SELECT m.organization_id, w.period, date_trunc(w.period, m.submitted_at, 'UTC'), count(*)
    FROM relay_message m
    JOIN accounts_organization o ON o.id = m.organization_id AND NOT o.is_system
    JOIN (VALUES ('day', date_trunc('day', now(), 'UTC') - interval '30 days'), ('month', date_trunc('month', now(), 'UTC')))
        AS w (period, since) ON m.submitted_at >= w.since
    GROUP BY 1, 2, 3
    ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0012_quotas"),
        ("relay", "0009_users"),
    ]

    operations = [
        migrations.AlterField(
            model_name="usagecounter",
            name="period",
            field=models.CharField(choices=[("hour", "hour"), ("day", "day"), ("month", "month")], max_length=8),
        ),
        migrations.AlterField(
            model_name="usagecounter",
            name="count",
            field=models.PositiveBigIntegerField(help_text="Messages accepted or reserved."),
        ),
        migrations.CreateModel(
            name="UsageShare",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "holder_id",
                        "subject_id",
                        "starts_at",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("holder_id", models.UUIDField(help_text="The committer.")),
                ("subject_id", models.UUIDField(help_text="Whose messages are counted.")),
                (
                    "period",
                    models.CharField(
                        choices=[("hour", "hour"), ("day", "day"), ("month", "month")],
                        help_text="The subject's shorter one.",
                        max_length=8,
                    ),
                ),
                ("starts_at", models.DateTimeField(help_text="UTC")),
                ("granted", models.PositiveBigIntegerField(help_text="Messages.")),
                ("used", models.PositiveBigIntegerField(help_text="Messages.")),
            ],
            options={
                "indexes": [models.Index(fields=["subject_id", "starts_at"], name="share_by_subject")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("used__lte", models.F("granted"))), name="share_not_exceeded"
                    )
                ],
            },
        ),
        # Room on each page for the next version of its rows: they are changed by each commit.
        migrations.RunSQL("ALTER TABLE relay_usageshare SET (fillfactor = 50)", migrations.RunSQL.noop),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
    ]
