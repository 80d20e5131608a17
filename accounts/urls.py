from django.urls import path

from accounts import audit_log, views

urlpatterns = [
    path("settings/", views.settings_page, name="settings"),
    path("settings/audit-log/", audit_log.audit_log, name="audit_log"),
    path("organizations/new/", views.organization_create, name="organization_create"),
]
