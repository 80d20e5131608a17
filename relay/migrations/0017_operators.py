"""Destinations that operators have paused."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("relay", "0016_unwilling"),
    ]

    operations = [
        migrations.CreateModel(
            name="PausedDestination",
            fields=[
                (
                    "destination",
                    models.TextField(help_text="A-label form, lower case.", primary_key=True, serialize=False),
                ),
                ("reason", models.CharField(help_text="As the pages of waiting messages tell it.", max_length=300)),
                ("paused_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("paused_by", models.CharField(help_text="An operator's address.", max_length=320)),
            ],
            options={
                "verbose_name": "destination",
            },
        ),
        migrations.AlterModelOptions(
            name="message",
            options={"permissions": [("read_content", "Can read what messages say, with a reason that is logged")]},
        ),
    ]
