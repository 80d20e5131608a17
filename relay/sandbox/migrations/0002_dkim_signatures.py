from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sandbox", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="receivedmail",
            name="dkim_signatures",
            field=ArrayField(
                models.TextField(), blank=True, default=list, help_text="Of each: verdict, algorithm, selector, domain."
            ),
        ),
    ]
