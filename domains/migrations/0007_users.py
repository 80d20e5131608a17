"""An SMTP user's keys are rows of their own."""

from django.db import migrations

# Keys made since the table was filled.
CARRY_OVER = """
INSERT INTO domains_smtpuserkey (id, smtp_user_id, api_key_id)
    SELECT gen_random_uuid(), id, api_key_id FROM domains_smtpuser ON CONFLICT (api_key_id) DO NOTHING;
SET CONSTRAINTS ALL IMMEDIATE; -- what follows alters the table
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_users"),
        ("domains", "0006_connect"),
    ]

    operations = [
        migrations.RunSQL(CARRY_OVER, migrations.RunSQL.noop),
        migrations.RemoveField(
            model_name="smtpuser",
            name="api_key",
        ),
    ]
