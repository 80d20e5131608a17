"""The key by which DNS hosts that speak Domain Connect know our requests."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("domains", "0005_rotation"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConnectKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "label",
                    models.CharField(
                        help_text="Below the platform's domain: where it is published.", max_length=63, unique=True
                    ),
                ),
                ("private_key", models.BinaryField(help_text="PKCS#8 DER, encrypted (domains.dkim.keys).")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "verbose_name": "Domain Connect key",
            },
        ),
    ]
