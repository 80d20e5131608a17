"""How many messages were accepted, by subject and period."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("relay", "0008_reading"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageCounter",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "subject_id",
                        "period",
                        "starts_at",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("subject_id", models.UUIDField(help_text="Whose messages are counted.")),
                ("period", models.CharField(choices=[("hour", "hour"), ("day", "day")], max_length=8)),
                ("starts_at", models.DateTimeField(help_text="UTC")),
                ("count", models.PositiveBigIntegerField(help_text="Messages accepted.")),
            ],
        ),
    ]
