"""Routes below `/api/v1/`."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView

from relay import api, api_actions

urlpatterns = [
    path("emails", api.EmailsView.as_view(), name="emails"),
    path("emails/<uuid:message_id>", api.EmailView.as_view(), name="email"),
    path("emails/<uuid:message_id>/retry", api_actions.RetryView.as_view(), name="email_retry"),
    path("emails/<uuid:message_id>/hold", api_actions.HoldView.as_view(), name="email_hold"),
    path("emails/<uuid:message_id>/release", api_actions.ReleaseView.as_view(), name="email_release"),
    path("emails/<uuid:message_id>/cancel", api_actions.CancelView.as_view(), name="email_cancel"),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("reference", SpectacularRedocView.as_view(url_name="openapi"), name="api-reference"),
    re_path(r"^.*$", api.no_such_address),
]
