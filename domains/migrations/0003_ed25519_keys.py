"""Gives every domain that was added before an Ed25519 key and the record that publishes it. It signs once that is found."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from domains.dkim.keys import encrypt_private_key, public_part

ALGORITHM = "ed25519-sha256"
PURPOSE = "dkim_ed25519"
SELECTOR = "pse1"
POSITION = 4  # after the four records that there were
DOMAINS_AT_ONCE = 500


def add_keys(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    domain_model = apps.get_model("domains", "SendingDomain")
    key_model, record_model = apps.get_model("domains", "DkimKey"), apps.get_model("domains", "DnsRecord")
    without = domain_model.objects.exclude(dkim_keys__algorithm=ALGORITHM)
    keys, records = [], []
    for domain in without.iterator(chunk_size=DOMAINS_AT_ONCE):
        private_key = Ed25519PrivateKey.generate()
        key = key_model(
            domain=domain, selector=SELECTOR, algorithm=ALGORITHM, private_key=encrypt_private_key(private_key),
            public_key=public_part(private_key), is_active=False,
        )  # fmt: skip
        keys.append(key)
        records.append(
            record_model(
                domain=domain, purpose=PURPOSE, position=POSITION, required=False, type="TXT",
                name=f"{SELECTOR}._domainkey.{domain.name}", value=f"v=DKIM1; k=ed25519; p={key.public_key}",
            )
        )  # fmt: skip
    key_model.objects.bulk_create(keys, batch_size=DOMAINS_AT_ONCE)
    record_model.objects.bulk_create(records, batch_size=DOMAINS_AT_ONCE)


def remove_keys(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("domains", "DkimKey").objects.filter(algorithm=ALGORITHM).delete()
    apps.get_model("domains", "DnsRecord").objects.filter(purpose=PURPOSE).delete()


class Migration(migrations.Migration):
    dependencies = [("domains", "0002_delivery_engine")]

    operations = [
        migrations.AlterField(
            model_name="dkimkey",
            name="public_key",
            field=models.TextField(editable=False, help_text="Base64, as in the p= tag."),
        ),
        migrations.AlterField(
            model_name="dnsrecord",
            name="purpose",
            field=models.CharField(
                choices=[
                    ("ownership", "Ownership"),
                    ("dkim", "DKIM"),
                    ("return_path", "Return path"),
                    ("dmarc", "DMARC"),
                    ("dkim_ed25519", "DKIM, Ed25519 key"),
                ],
                max_length=16,
            ),
        ),
        migrations.RunPython(add_keys, remove_keys),
    ]
