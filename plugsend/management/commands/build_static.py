"""`manage.py build_static`: the stylesheet and the collected static files, made anew only when their sources changed."""

from typing import Any

from django.core.management.base import BaseCommand

from plugsend import static_files


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("static files: built" if static_files.build() else "static files: nothing changed")
