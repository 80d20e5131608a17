"""`manage.py domain_connect_template`: what DNS hosts need to know of us, to set domains up in one click."""

import json
from typing import Any

from django.core.management.base import BaseCommand

from domains.connect.keys import signing_key
from domains.connect.template import template


class Command(BaseCommand):
    help = "Prints this installation's Domain Connect template, and the TXT records of the key that signs requests."

    def handle(self, *args: Any, **options: Any) -> None:
        ours = template()
        file_name = f"{ours['providerId']}.{ours['serviceId']}.json".lower()
        self.stdout.write(f"The template, to be handed to DNS hosts as {file_name}:\n\n")
        self.stdout.write(json.dumps(ours, indent=2) + "\n\n")
        self.stdout.write("The public key, to be published as TXT records of one name (docs/domain-connect.md):\n\n")
        for name, value in signing_key().public_records():
            self.stdout.write(f'{name}. IN TXT "{value}"\n')
