from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("relay", "0017_operators")]

    operations = [
        migrations.AddField(
            model_name="template",
            name="test_values",
            field=models.JSONField(
                db_default={}, default=dict, help_text="Of variables, for previews and tests: {key: value}."
            ),
        ),
    ]
