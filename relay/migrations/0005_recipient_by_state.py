from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("relay", "0004_exchanger_group_destinations"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="recipient",
            index=models.Index(
                condition=models.Q(("state__in", ["submitted", "delivered"]), _negated=True),
                fields=["organization", "state", "-message_id"],
                name="recipient_by_state",
            ),
        ),
    ]
