"""Routes below `/api/v1/`."""

from django.urls import path

from domains.rest import api_keys as api_key_api
from domains.rest import dkim as dkim_api
from domains.rest import domains as api
from domains.rest import exports as exports_api
from domains.rest import smtp_users as smtp_user_api

urlpatterns = [
    path("domains", api.DomainsView.as_view(), name="api_domains"),
    path("domains/<uuid:domain_id>", api.DomainView.as_view(), name="api_domain"),
    path("domains/<uuid:domain_id>/verify", api.VerifyDomainView.as_view(), name="api_domain_verify"),
    path("domains/<uuid:domain_id>/dkim/rotate", dkim_api.DkimRotationView.as_view(), name="api_dkim_rotate"),
    path("domains/<uuid:domain_id>/records", exports_api.DomainRecordsView.as_view(), name="api_domain_records"),
    path("smtp-users", smtp_user_api.SmtpUsersView.as_view(), name="api_smtp_users"),
    path("smtp-users/<uuid:smtp_user_id>", smtp_user_api.SmtpUserView.as_view(), name="api_smtp_user"),
    path(
        "smtp-users/<uuid:smtp_user_id>/password",
        smtp_user_api.SmtpUserPasswordView.as_view(),
        name="api_smtp_user_password",
    ),
    path(
        "smtp-users/<uuid:smtp_user_id>/disable",
        smtp_user_api.DisableSmtpUserView.as_view(),
        name="api_smtp_user_disable",
    ),
    path(
        "smtp-users/<uuid:smtp_user_id>/enable",
        smtp_user_api.EnableSmtpUserView.as_view(),
        name="api_smtp_user_enable",
    ),
    path("smtp-users/<uuid:smtp_user_id>/keys", smtp_user_api.SmtpUserKeysView.as_view(), name="api_smtp_user_keys"),
    path(
        "smtp-users/<uuid:smtp_user_id>/keys/<uuid:key_id>",
        smtp_user_api.SmtpUserKeyView.as_view(),
        name="api_smtp_user_key",
    ),
    path("api-keys", api_key_api.ApiKeysView.as_view(), name="api_api_keys"),
    path("api-keys/<uuid:api_key_id>", api_key_api.ApiKeyView.as_view(), name="api_api_key"),
    path("api-keys/<uuid:api_key_id>/rotate", api_key_api.RotateApiKeyView.as_view(), name="api_api_key_rotate"),
]
