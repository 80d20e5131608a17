from django.urls import path

from accounts import views

urlpatterns = [
    path("api-keys/", views.api_keys, name="api_keys"),
    path("api-keys/new/", views.api_key_create, name="api_key_create"),
    path("api-keys/<uuid:key_id>/revoke/", views.api_key_revoke, name="api_key_revoke"),
    path("settings/", views.settings_page, name="settings"),
    path("organizations/new/", views.organization_create, name="organization_create"),
]
