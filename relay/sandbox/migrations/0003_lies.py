import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("domains", "0004_self_verifying"),
        ("sandbox", "0002_dkim_signatures"),
    ]

    operations = [
        migrations.AddField(
            model_name="zonerecord",
            name="published_for",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="domains.sendingdomain",
            ),
        ),
        migrations.AlterField(
            model_name="zonerecord",
            name="value",
            field=models.TextField(help_text="TXT: the text, unquoted and unsplit; all others: as in a zone file."),
        ),
        migrations.CreateModel(
            name="ZoneFault",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(db_index=True, help_text="Absolute, lower case, no final dot.", max_length=253),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("silent", "gives no answer"),
                            ("refused", "REFUSED"),
                            ("servfail", "SERVFAIL"),
                            ("nxdomain", "NXDOMAIN: neither the name nor anything below it exists"),
                            ("bogus", "DNSSEC does not validate: SERVFAIL, unless the query has CD"),
                            ("upward", "lame: refers upward, to the root"),
                            ("lame", "lame: answers without AA"),
                            ("truncated", "answers over UDP are cut to nothing"),
                            ("old", "says what was there before"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        blank=True,
                        choices=[("resolver", "Resolver"), ("authority", "Authority")],
                        help_text="Who tells it; empty: everybody.",
                        max_length=12,
                    ),
                ),
                (
                    "server",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "both"), (1, "the first"), (2, "the second")],
                        default=0,
                        help_text="Of its two name servers.",
                    ),
                ),
                ("rows", models.JSONField(blank=True, default=list, help_text="Old values: [[type, value], …].")),
                (
                    "ede",
                    models.PositiveSmallIntegerField(
                        default=6, help_text="Extended DNS error of a failed validation (RFC 8914)."
                    ),
                ),
                (
                    "until",
                    models.DateTimeField(
                        blank=True, help_text="When it is over; empty: when it is taken away.", null=True
                    ),
                ),
                (
                    "published_for",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="domains.sendingdomain",
                    ),
                ),
            ],
        ),
    ]
