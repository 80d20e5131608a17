"""When members were here last, and notices to people who are not owners."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_people")]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="last_seen_at",
            field=models.DateTimeField(editable=False, help_text="To some minutes.", null=True),
        ),
        migrations.AddField(
            model_name="notice",
            name="address",
            field=models.EmailField(blank=True, default="", help_text="Empty: to its owners.", max_length=254),
            preserve_default=False,
        ),
    ]
