"""A word for recipients who want no more mail."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0007_retention"),
    ]

    operations = [
        migrations.AlterField(
            model_name="event",
            name="type",
            field=models.CharField(
                choices=[
                    ("submitted", "Submitted"),
                    ("scheduled", "Scheduled"),
                    ("deferred", "Deferred"),
                    ("delivered", "Delivered"),
                    ("bounced", "Bounced"),
                    ("in_doubt", "In doubt"),
                    ("suppressed", "Suppressed"),
                    ("cancelled", "Cancelled"),
                    ("unknown_outcome", "Outcome unknown"),
                    ("held", "Held"),
                    ("released", "Released"),
                    ("retry_requested", "Retry requested"),
                    ("complained", "Complained"),
                    ("unsubscribed", "Unsubscribed"),
                ],
                max_length=16,
            ),
        ),
    ]
