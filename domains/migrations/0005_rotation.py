"""A rotation of the DKIM key that was asked for and waits for the next key's record."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("domains", "0004_self_verifying")]

    operations = [
        migrations.AddField(
            model_name="sendingdomain",
            name="dkim_rotation_requested_at",
            field=models.DateTimeField(
                editable=False,
                help_text="The next DKIM key takes over once its record is seen: since when it is so.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="dnsrecord",
            name="purpose",
            field=models.CharField(
                choices=[
                    ("ownership", "Ownership"),
                    ("dkim", "DKIM key"),
                    ("dkim_next", "Next DKIM key"),
                    ("dkim_old", "Former DKIM key"),
                    ("return_path", "Return path"),
                    ("dmarc", "DMARC"),
                    ("dkim_ed25519", "DKIM key, Ed25519"),
                ],
                max_length=16,
            ),
        ),
    ]
