"""What is being erased may leave the event log."""

from django.db import migrations

LEAVES_BY_ERASURE = """
CREATE OR REPLACE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.organization_id::text = current_setting('plugsend.erasing', true)
       AND EXISTS (SELECT FROM accounts_erasure WHERE organization_id = OLD.organization_id AND finished_at IS NULL) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'The event log is append-only';
END $$;
"""
APPEND_ONLY = """
CREATE OR REPLACE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The event log is append-only';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0013_erasure"),
        ("events", "0005_health"),
    ]

    operations = [migrations.RunSQL(LEAVES_BY_ERASURE, APPEND_ONLY)]
