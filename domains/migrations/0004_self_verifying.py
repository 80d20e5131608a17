"""Domains that verify themselves: more states of domains and keys, what is known of their zones, several keys a user."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import accounts.ids

CARRY_OVER = """
UPDATE domains_dkimkey SET state = CASE WHEN is_active THEN 'active' ELSE 'waiting' END,
                           activated_at = CASE WHEN is_active THEN created_at END;
UPDATE domains_dnsrecord r SET dkim_key_id = k.id FROM domains_dkimkey k JOIN domains_sendingdomain d ON d.id = k.domain_id
    WHERE r.domain_id = d.id AND r.name = k.selector || '._domainkey.' || d.name;
UPDATE domains_sendingdomain SET status_at = coalesce(verified_at, created_at);
INSERT INTO domains_smtpuserkey (id, smtp_user_id, api_key_id) SELECT gen_random_uuid(), id, api_key_id FROM domains_smtpuser;
SET CONSTRAINTS ALL IMMEDIATE; -- what follows alters these tables
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_self_verifying"),
        ("domains", "0003_ed25519_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="dkimkey",
            name="activated_at",
            field=models.DateTimeField(editable=False, help_text="When it began to sign.", null=True),
        ),
        migrations.AddField(
            model_name="dkimkey",
            name="retire_after",
            field=models.DateTimeField(
                editable=False, help_text="Until then its record is needed for what it has signed.", null=True
            ),
        ),
        migrations.AddField(
            model_name="dkimkey",
            name="seen_at",
            field=models.DateTimeField(editable=False, help_text="When its record was last found.", null=True),
        ),
        migrations.AddField(
            model_name="dkimkey",
            name="state",
            field=models.CharField(
                choices=[("waiting", "Next"), ("active", "Signs"), ("retiring", "Replaced"), ("retired", "Out of use")],
                default="active",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="dnsrecord",
            name="diagnosis",
            field=models.CharField(
                blank=True, help_text="What is wrong, in one word (domains.diagnosis.judge).", max_length=40
            ),
        ),
        migrations.AddField(
            model_name="dnsrecord",
            name="dkim_key",
            field=models.OneToOneField(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="record", to="domains.dkimkey"
            ),
        ),
        migrations.AddField(
            model_name="dnsrecord",
            name="visible_at",
            field=models.DateTimeField(
                help_text="Propagating: when all caches will have forgotten the old.", null=True
            ),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="allow_subdomains",
            field=models.BooleanField(default=False, help_text="Mail from names below it may be sent, signed as it."),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="dkim_rotation_days",
            field=models.PositiveSmallIntegerField(
                blank=True, help_text="The DKIM key is replaced when it is so old; empty: only by hand.", null=True
            ),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="dns_host",
            field=models.CharField(blank=True, editable=False, help_text="Of domains.diagnosis.hosts.", max_length=40),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="domain_connect",
            field=models.JSONField(editable=False, help_text="What domains.connect.client discovered.", null=True),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="failing_since",
            field=models.DateTimeField(
                editable=False,
                help_text="While verified: since when a required record is not as it must be.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="nameservers",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=253), blank=True, default=list, editable=False, size=None
            ),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="spf",
            field=models.JSONField(
                editable=False, help_text="What domains.spf.reading read of the domain's own SPF record.", null=True
            ),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="status_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, editable=False, help_text="When the status was entered."
            ),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="warned_at",
            field=models.DateTimeField(editable=False, help_text="When its owners were told of it.", null=True),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="zone",
            field=models.CharField(
                blank=True, editable=False, help_text="The apex of the zone it is in.", max_length=253
            ),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="zone_diagnosis",
            field=models.CharField(blank=True, editable=False, help_text="What is wrong with the zone.", max_length=40),
        ),
        migrations.AddField(
            model_name="sendingdomain",
            name="zone_explanation",
            field=models.TextField(blank=True, editable=False),
        ),
        migrations.AddField(
            model_name="smtpuser",
            name="allowed_networks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=43),
                blank=True,
                default=list,
                help_text="From where it may sign in, in CIDR notation; empty: from anywhere.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="smtpuser",
            name="daily_limit",
            field=models.PositiveIntegerField(
                blank=True, help_text="Messages a day (UTC); empty: no limit.", null=True
            ),
        ),
        migrations.AddField(
            model_name="smtpuser",
            name="hourly_limit",
            field=models.PositiveIntegerField(blank=True, help_text="Messages an hour; empty: no limit.", null=True),
        ),
        migrations.AlterField(
            model_name="dnsrecord",
            name="explanation",
            field=models.TextField(blank=True, help_text="What is wrong and what to do, in words."),
        ),
        migrations.AlterField(
            model_name="dnsrecord",
            name="status",
            field=models.CharField(
                choices=[
                    ("unchecked", "Not checked yet"),
                    ("found", "Found"),
                    ("missing", "Missing"),
                    ("different", "Different"),
                    ("propagating", "Published, not visible to all yet"),
                    ("unreachable", "DNS did not answer"),
                ],
                default="unchecked",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="sendingdomain",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "Waiting for DNS"),
                    ("verified", "Verified"),
                    ("stopped", "Stopped: its records are gone"),
                    ("taken_over", "Verified by another organization"),
                ],
                default="pending",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="SmtpUserKey",
            fields=[
                ("id", models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "api_key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="smtp_user_key", to="accounts.apikey"
                    ),
                ),
                (
                    "smtp_user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="keys", to="domains.smtpuser"
                    ),
                ),
            ],
            options={
                "verbose_name": "SMTP user's key",
            },
        ),
        migrations.RunSQL(CARRY_OVER, migrations.RunSQL.noop),
        migrations.RemoveField(
            model_name="dkimkey",
            name="is_active",
        ),
    ]
