"""`manage.py audit_timelines`: compares states with events; exit code 1 when they disagree."""

import sys
from typing import Any

import psycopg
from django.core.management.base import BaseCommand

from relay.audit import disagreements
from relay.database import database_url


class Command(BaseCommand):
    help = "Tells where the queue and the event log disagree; they never should. Exit code 1: they do."

    def handle(self, *args: Any, **options: Any) -> None:
        with psycopg.connect(database_url(), autocommit=True) as connection:
            found = disagreements(connection)
        for line in found:
            self.stdout.write(line)
        if found:
            sys.exit(1)
        self.stdout.write("States and events agree.")
