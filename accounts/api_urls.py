"""Routes below `/api/v1/`."""

from django.urls import path

from accounts.rest.audit_log import AuditLogView
from accounts.rest.leaks import LeaksView

urlpatterns = [
    path("audit-log", AuditLogView.as_view(), name="api_audit_log"),
    path("api-keys/leaks", LeaksView.as_view(), name="api_api_key_leaks"),
]
