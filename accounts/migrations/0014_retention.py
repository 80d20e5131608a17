"""Nothing is kept for less than a day."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0013_erasure"),
    ]

    operations = [
        migrations.AlterField(
            model_name="plan",
            name="content_days",
            field=models.PositiveSmallIntegerField(
                default=7,
                help_text="How long the content of messages is kept, in whole days (UTC).",
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AlterField(
            model_name="plan",
            name="event_days",
            field=models.PositiveSmallIntegerField(
                default=90,
                help_text="How long messages and their events are kept, in whole days (UTC).",
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
    ]
