"""Mail whose time is over may leave the event log."""

from django.db import migrations

LEAVES_BY_ERASURE = """
    IF TG_OP = 'DELETE' AND OLD.organization_id::text = current_setting('plugsend.erasing', true)
       AND EXISTS (SELECT FROM accounts_erasure WHERE organization_id = OLD.organization_id AND finished_at IS NULL) THEN
        RETURN OLD;
    END IF;
"""
# By the day on which the message was submitted, which its id tells (RFC 9562, 5.7). No plan keeps one for less than a day.
LEAVES_BY_RETENTION = """
    IF TG_OP = 'DELETE' AND current_setting('plugsend.forgetting', true) IN (OLD.organization_id::text, 'a day')
       AND OLD.message_id < rpad(lpad(to_hex(floor(extract(epoch FROM now() - interval '1 day') * 1000)::bigint), 12, '0'),
                                 32, '0')::uuid THEN
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
