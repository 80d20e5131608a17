"""SMTP users have a stream."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("domains", "0007_users"),
    ]

    operations = [
        migrations.AddField(
            model_name="smtpuser",
            name="stream",
            field=models.CharField(
                blank=True, db_default="", help_text="Of its mail that names none; empty: none.", max_length=40
            ),
        ),
    ]
