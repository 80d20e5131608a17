"""`manage.py write_docs`: renews what the files in docs/ hold that is made of the code."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from plugsend.documentation.contents import FOLDER
from plugsend.documentation.generated import renewed


class Command(BaseCommand):
    help = "Renews the tables and snippets in docs/ that are made of the code."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; exit code 1 where a file is out of date."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        stale = []
        for path in sorted(FOLDER.rglob("*.md")):
            source = path.read_text(encoding="utf-8")
            if (fresh := renewed(source)) != source:
                stale.append(path.relative_to(FOLDER).as_posix())
                if not options["check"]:
                    path.write_text(fresh, encoding="utf-8")
        if options["check"] and stale:
            raise CommandError(f"out of date: {', '.join(stale)}; run manage.py write_docs")
        for name in stale:
            self.stdout.write(f"{name} renewed")
