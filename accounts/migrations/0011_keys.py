"""API keys in full: networks, rotation, how they end; which are passwords of SMTP users."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Keys for one domain that are revoked and nobody's were, nearly all, the password of an SMTP user that was removed.
PASSWORDS = """
UPDATE accounts_apikey k SET is_password = true
    WHERE EXISTS (SELECT FROM domains_smtpuserkey l WHERE l.api_key_id = k.id)
       OR (k.only_domain <> '' AND k.revoked_at IS NOT NULL)
"""
# Those that have expired already are no news.
EXPIRED = "UPDATE accounts_apikey SET expiry_noted_at = now() WHERE expires_at <= now()"


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0010_auditing"),
        ("domains", "0007_users"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="allowed_networks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=43),
                blank=True,
                default=list,
                help_text="From where it may be used, in CIDR notation; empty: from anywhere.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="created_with",
            field=models.ForeignKey(
                editable=False,
                help_text="The key of the program that made it.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="accounts.apikey",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="expiry_noted_at",
            field=models.DateTimeField(editable=False, help_text="Set: the audit log tells that it ended.", null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="expiry_warned_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="is_password",
            field=models.BooleanField(
                default=False, editable=False, help_text="The password of an SMTP user, with which it is shown."
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="leak_reported_at",
            field=models.DateTimeField(editable=False, help_text="When somebody told where it lies open.", null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="replaced_by",
            field=models.ForeignKey(
                editable=False,
                help_text="The new key, beside which it goes on until it ends.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="accounts.apikey",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="revoke_reason",
            field=models.CharField(blank=True, editable=False, max_length=200),
        ),
        migrations.AddField(
            model_name="notice",
            name="also_to",
            field=models.ForeignKey(
                help_text="A member who gets it beside the owners.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="expires_at",
            field=models.DateTimeField(
                editable=False, help_text="It works until then; empty: until it is revoked.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[("send", "Send"), ("read", "Read"), ("full", "Everything")], max_length=16
                ),
                default=list,
                size=None,
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(
                    ("expires_at__isnull", False), ("expiry_noted_at__isnull", True), ("revoked_at__isnull", True)
                ),
                fields=["expires_at"],
                name="api_keys_that_end",
            ),
        ),
        migrations.RunSQL([PASSWORDS, EXPIRED], migrations.RunSQL.noop),
    ]
