"""Routes below `/api/v1/`."""

from django.urls import path

from accounts.rest.audit_log import AuditLogView

urlpatterns = [
    path("audit-log", AuditLogView.as_view(), name="api_audit_log"),
]
