"""Django as a WSGI application, for `plugsend.asgi` or any server of WSGI's."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plugsend.settings")
application = get_wsgi_application()
