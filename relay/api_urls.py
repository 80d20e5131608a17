"""Routes below `/api/v1/`."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView

from relay import api

urlpatterns = [
    path("emails", api.EmailsView.as_view(), name="emails"),
    path("emails/<uuid:message_id>", api.EmailView.as_view(), name="email"),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("reference", SpectacularRedocView.as_view(url_name="openapi"), name="api-reference"),
    re_path(r"^.*$", api.no_such_address),
]
