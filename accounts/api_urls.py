"""Routes below `/api/v1/`."""

from django.urls import path

from accounts.rest.leaks import LeaksView

urlpatterns = [path("api-keys/leaks", LeaksView.as_view(), name="api_api_key_leaks")]
