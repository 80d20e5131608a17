from django.urls import path

from domains import api_key_views, exports_views, smtp_user_views, views
from domains.connect import views as connect_views
from domains.dkim import views as dkim_views

urlpatterns = [
    path("domains/", views.domain_list, name="domains"),
    path("domains/add/", views.domain_add, name="domain_add"),
    path("domains/<uuid:domain_id>/", views.domain_page, name="domain"),
    path("domains/<uuid:domain_id>/check/", views.domain_check, name="domain_check"),
    path("domains/<uuid:domain_id>/settings/", views.domain_settings, name="domain_settings"),
    path("domains/<uuid:domain_id>/history/", views.domain_history, name="domain_history"),
    path("domains/<uuid:domain_id>/subdomains/", views.domain_subdomains, name="domain_subdomains"),
    path("domains/<uuid:domain_id>/remove/", views.domain_remove, name="domain_remove"),
    path("domains/<uuid:domain_id>/dkim/rotate/", dkim_views.dkim_rotate, name="dkim_rotate"),
    path("domains/<uuid:domain_id>/dkim/withdraw/", dkim_views.dkim_withdraw, name="dkim_withdraw"),
    path("domains/<uuid:domain_id>/dkim/schedule/", dkim_views.dkim_schedule, name="dkim_schedule"),
    path("domains/<uuid:domain_id>/records.zone", exports_views.records_zone, name="domain_records_zone"),
    path("domains/<uuid:domain_id>/records.tf", exports_views.records_terraform, name="domain_records_terraform"),
    path("domains/<uuid:domain_id>/records.json", exports_views.records_json, name="domain_records_json"),
    path("domains/<uuid:domain_id>/connect/", connect_views.connect, name="domain_connect"),
    path("domains/<uuid:domain_id>/connected/", connect_views.connected, name="domain_connected"),
    path("api-keys/", api_key_views.api_key_list, name="api_keys"),
    path("api-keys/new/", api_key_views.api_key_create, name="api_key_create"),
    path("api-keys/<uuid:key_id>/", api_key_views.api_key_page, name="api_key"),
    path("api-keys/<uuid:key_id>/change/", api_key_views.api_key_change, name="api_key_change"),
    path("api-keys/<uuid:key_id>/rotate/", api_key_views.api_key_rotate, name="api_key_rotate"),
    path("api-keys/<uuid:key_id>/revoke/", api_key_views.api_key_revoke, name="api_key_revoke"),
    path("smtp-users/", smtp_user_views.smtp_user_list, name="smtp_users"),
    path("smtp-users/new/", smtp_user_views.smtp_user_create, name="smtp_user_create"),
    path("smtp-users/<uuid:smtp_user_id>/", smtp_user_views.smtp_user_page, name="smtp_user"),
    path("smtp-users/<uuid:smtp_user_id>/password/", smtp_user_views.smtp_user_password, name="smtp_user_password"),
    path("smtp-users/<uuid:smtp_user_id>/limits/", smtp_user_views.smtp_user_limits, name="smtp_user_limits"),
    path("smtp-users/<uuid:smtp_user_id>/keys/new/", smtp_user_views.smtp_user_key_add, name="smtp_user_key_add"),
    path(
        "smtp-users/<uuid:smtp_user_id>/keys/<uuid:key_id>/revoke/",
        smtp_user_views.smtp_user_key_revoke,
        name="smtp_user_key_revoke",
    ),
    path("smtp-users/<uuid:smtp_user_id>/disable/", smtp_user_views.smtp_user_disable, name="smtp_user_disable"),
    path("smtp-users/<uuid:smtp_user_id>/enable/", smtp_user_views.smtp_user_enable, name="smtp_user_enable"),
    path("smtp-users/<uuid:smtp_user_id>/remove/", smtp_user_views.smtp_user_remove, name="smtp_user_remove"),
]
