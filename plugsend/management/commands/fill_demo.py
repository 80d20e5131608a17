"""`manage.py fill_demo`: fills a running sandbox with an organization in use."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from plugsend import demo_world


class Command(BaseCommand):
    help = "Sandbox only, while it runs: an organization with people, domains, mail, templates, webhooks and figures."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SANDBOX:
            raise CommandError("The demo is for sandbox mode: PLUGSEND_MODE is set to live.")
        try:
            demo_world.fill(self.stdout.write)
        except TimeoutError as error:
            raise CommandError(str(error)) from None
        people = {
            demo_world.OWNER: f"owner of {demo_world.NAME}",
            demo_world.NEWCOMER: "has just come",
            demo_world.OPERATOR: "operator",
        }
        self.stdout.write(f"\nSign in at {settings.WEB_URL} with the password {demo_world.PASSWORD_OF_ALL} as")
        for email, who in people.items():
            self.stdout.write(f"  {email}  {who}")
