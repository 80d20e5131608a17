"""Makes the tables and a token, which it prints."""

import mailing  # noqa: F401  (configures Django)
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.authtoken.models import Token

call_command("migrate", verbosity=0)
print(Token.objects.create(user=User.objects.create_user("bench")).key)
