"""`manage.py prepare`: everything that must stand before the processes start. Run at each start; quick when done."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from accounts.operator_groups import ensure_groups
from accounts.quotas import ensure_default_plan
from accounts.row_security import check_row_security
from events.partitions import ensure_partitions
from plugsend.first_start import ensure_system_organization
from plugsend.static_files import build
from relay.sandbox.zone import publish_connect_key


class Command(BaseCommand):
    help = "Migrates the database, makes partitions, builds static files, makes the platform's own organization."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
        self.stdout.write("database migrated")
        for message in check_row_security(["default"]):
            if message.is_serious():
                raise CommandError(f"{message.msg} {message.hint}")
            self.stdout.write(f"{message.msg} {message.hint}")
        if made := ensure_partitions():
            self.stdout.write(f"{len(made)} partitions made")
        if build():
            self.stdout.write("static files built")
        ensure_default_plan()
        ensure_groups()
        domain = ensure_system_organization()
        if not domain.is_verified:
            self.stdout.write(f"{domain.name}, from which PlugSend sends its own mail, is not verified yet")
        if settings.SANDBOX:
            publish_connect_key()
