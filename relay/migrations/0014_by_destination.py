"""The index by address finds all of a destination, too."""

from django.db import migrations, models
from django.db.models.expressions import OrderBy
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    dependencies = [("relay", "0013_finding")]

    operations = [
        migrations.RemoveIndex("recipient", "recipient_by_address"),
        migrations.AddIndex(
            "recipient",
            models.Index(
                "organization",
                "destination",
                Lower("address"),
                OrderBy(models.F("message_id"), descending=True),
                name="recipient_by_address",
            ),
        ),
    ]
