from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("relay", "0005_recipient_by_state"),
    ]

    operations = [
        migrations.AddField(
            model_name="exchangergroup",
            name="suspended_since",
            field=models.DateTimeField(null=True),
        ),
    ]
