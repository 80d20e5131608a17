"""Limits of which none would be useless."""

import django.core.validators
from django.db import migrations, models

AT_LEAST_ONE = [django.core.validators.MinValueValidator(1)]


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_keys"),
    ]

    operations = [
        migrations.AlterField(
            model_name="plan",
            name="messages_per_second",
            field=models.PositiveIntegerField(blank=True, null=True, validators=AT_LEAST_ONE),
        ),
        migrations.AlterField(
            model_name="plan",
            name="recipients_per_message",
            field=models.PositiveIntegerField(
                blank=True, help_text="Lowers the platform's own limit.", null=True, validators=AT_LEAST_ONE
            ),
        ),
        migrations.AlterField(
            model_name="plan",
            name="members",
            field=models.PositiveIntegerField(blank=True, null=True, validators=AT_LEAST_ONE),
        ),
    ]
