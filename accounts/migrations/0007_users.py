"""API keys that end by themselves: one that was replaced works a while longer."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_self_verifying"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="expires_at",
            field=models.DateTimeField(
                editable=False,
                help_text="A key that was replaced works so long; empty: until it is revoked.",
                null=True,
            ),
        ),
    ]
