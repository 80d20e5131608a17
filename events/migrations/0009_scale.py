"""Ids that are written late are lifted (`events.margin`)."""

from django.db import migrations

# In PL/pgSQL, because a function in SQL would be planned into each statement, which hardly ever calls it.
LIFT = """
CREATE FUNCTION events_lifted(id uuid, by interval) RETURNS uuid LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (lpad(to_hex(('x' || left(id::text, 8) || substr(id::text, 10, 4))::bit(48)::bigint
                        + ceil(extract(epoch FROM by) * 1000)::bigint), 12, '0') || substr(id::text, 14))::uuid;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0008_story"),
    ]

    operations = [migrations.RunSQL(LIFT, "DROP FUNCTION events_lifted(uuid, interval)")]
