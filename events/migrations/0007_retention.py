"""Mail whose time is over may leave the event log."""

from django.db import migrations

LEAVES_BY_ERASURE = """
    IF TG_OP = 'DELETE' AND OLD.organization_id::text = current_setting('plugsend.erasing', true)
       AND EXISTS (SELECT FROM accounts_erasure WHERE organization_id = OLD.organization_id AND finished_at IS NULL) THEN
        RETURN OLD;
    END IF;
"""
# No plan keeps events for less than a day.
LEAVES_BY_RETENTION = """
    IF TG_OP = 'DELETE' AND OLD.organization_id::text = current_setting('plugsend.forgetting', true)
       AND OLD.occurred_at < now() - interval '1 day' THEN
        RETURN OLD;
    END IF;
"""
FUNCTION = """
CREATE OR REPLACE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
{}
    RAISE EXCEPTION 'The event log is append-only';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0006_erasure"),
    ]

    operations = [
        migrations.RunSQL(FUNCTION.format(LEAVES_BY_ERASURE + LEAVES_BY_RETENTION), FUNCTION.format(LEAVES_BY_ERASURE))
    ]
