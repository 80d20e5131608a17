"""Every address below `/api/v1/`. Those of an app are listed in its own `api_urls.py`."""

from django.urls import include, path, re_path

from accounts.rest.problems import no_such_address
from plugsend import api_docs

urlpatterns = [
    path("", include("accounts.api_urls")),
    path("", include("domains.rest.urls")),
    path("", include("events.api_urls")),
    path("", include("relay.rest.urls")),
    path("", include("relay.statistics.api_urls")),
    path("", include("relay.webhooks.api_urls")),
    path("openapi.json", api_docs.openapi, name="openapi"),
    path("reference", api_docs.reference, name="api-reference"),
    re_path(r"^.*$", no_such_address),
]
