from django.urls import path

from accounts import account_views, audit_log, views

urlpatterns = [
    path("api-keys/", views.api_keys, name="api_keys"),
    path("api-keys/new/", views.api_key_create, name="api_key_create"),
    path("api-keys/<uuid:key_id>/revoke/", views.api_key_revoke, name="api_key_revoke"),
    path("settings/", views.settings_page, name="settings"),
    path("settings/audit-log/", audit_log.audit_log, name="audit_log"),
    path("organizations/new/", views.organization_create, name="organization_create"),
    path("account/delete/", account_views.account_delete, name="account_delete"),
    path("account/data/", account_views.account_data, name="account_data"),
]
