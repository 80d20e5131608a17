"""`manage.py count_again`: counts the log anew, for what was written below the mark, as by loading old events."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.dateparse import parse_date

from relay.statistics.rollup import count_again


class Command(BaseCommand):
    help = (
        "Drops the rollups from a day on and counts the event log anew. Not for days whose mail is forgotten already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("since", type=parse_date, help="The first day (UTC), as in 2026-11-26.")

    def handle(self, *args: Any, **options: Any) -> None:
        count_again(options["since"])
        self.stdout.write("Counted.")
