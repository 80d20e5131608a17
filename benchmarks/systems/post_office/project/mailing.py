"""A plain Django project that takes emails by REST and queues them with django-post_office: settings, view and address in one.

It takes the fields of PlugSend's `POST /api/v1/emails`, asks for a token as DRF does out of the box, and answers once
`mail.send` has committed the email. Served by granian with PlugSend's own settings. `MAILING_DATABASE` is a libpq URI.
"""

import os
from typing import Any

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

database = conninfo_to_dict(os.environ["MAILING_DATABASE"])
settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework.authtoken",
        "post_office",
    ],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF="mailing",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database["dbname"],
            "USER": database["user"],
            "PASSWORD": database["password"],
            "HOST": database["host"],
            "CONN_MAX_AGE": 60,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    EMAIL_BACKEND="post_office.EmailBackend",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    },
    USE_TZ=True,
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from post_office import mail  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class TagSerializer(serializers.Serializer[Any]):
    name = serializers.SlugField()
    value = serializers.SlugField()


class EmailSerializer(serializers.Serializer[Any]):
    to = serializers.ListField(child=serializers.EmailField(), min_length=1)
    subject = serializers.CharField(max_length=989, allow_blank=True)
    text = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    html = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    cc = serializers.ListField(child=serializers.EmailField(), required=False)
    bcc = serializers.ListField(child=serializers.EmailField(), required=False)
    reply_to = serializers.ListField(child=serializers.EmailField(), required=False)
    headers = serializers.DictField(child=serializers.CharField(), required=False)
    tags = serializers.ListField(child=TagSerializer(), required=False)
    metadata = serializers.DictField(child=serializers.CharField(), required=False)

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.EmailField(), **super().get_fields()}


class EmailsView(APIView):
    def post(self, request: Request) -> Response:
        serializer = EmailSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        headers = dict(wanted.get("headers", {}))
        if reply_to := wanted.get("reply_to"):
            headers["Reply-To"] = ", ".join(reply_to)
        email = mail.send(
            wanted["to"],
            wanted["from"],
            subject=wanted["subject"],
            message=wanted.get("text", ""),
            html_message=wanted.get("html", ""),
            headers=headers,
            cc=wanted.get("cc"),
            bcc=wanted.get("bcc"),
        )
        return Response({"id": str(email.pk)}, status=202)


urlpatterns = [path("api/v1/emails", EmailsView.as_view())]
application = get_wsgi_application()
