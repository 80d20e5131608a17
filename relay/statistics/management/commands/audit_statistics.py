"""`manage.py audit_statistics`: compares rollups with the event log; exit code 1 when they disagree."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from relay.statistics.audit import disagreements


class Command(BaseCommand):
    help = "Tells where the rollups are not what the event log says; they always should be. Exit code 1: they are not."

    def handle(self, *args: Any, **options: Any) -> None:
        found = disagreements()
        for line in found:
            self.stdout.write(line)
        if found:
            sys.exit(1)
        self.stdout.write("Rollups and the event log agree.")
