"""Every address below `/api/v1/`. Those of an app are listed in its own `api_urls.py`."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView

from accounts.rest.problems import no_such_address

urlpatterns = [
    path("", include("accounts.api_urls")),
    path("", include("domains.api_urls")),
    path("", include("events.api_urls")),
    path("", include("relay.rest.urls")),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("reference", SpectacularRedocView.as_view(url_name="openapi"), name="api-reference"),
    re_path(r"^.*$", no_such_address),
]
