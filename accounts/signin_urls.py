"""Before allauth's own: what we do otherwise."""

from allauth.mfa.recovery_codes.views import view_recovery_codes
from allauth.mfa.totp.views import activate_totp
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from accounts.account_pages import ProfileView, end_session
from accounts.social import or_away

urlpatterns = [
    path("oidc/<str:provider_id>/login/", or_away(openid_connect.login), name="openid_connect_login"),
    path("oidc/<str:provider_id>/login/callback/", or_away(openid_connect.callback), name="openid_connect_callback"),
    path("email/", ProfileView.as_view(), name="account_email"),
    path("sessions/<int:session_id>/end/", end_session, name="session_end"),
    # Secrets stand on these.
    path("2fa/totp/activate/", never_cache(activate_totp), name="mfa_activate_totp"),
    path("2fa/recovery-codes/", never_cache(view_recovery_codes), name="mfa_view_recovery_codes"),
    # The list is part of the page that tells of all.
    path("2fa/webauthn/", RedirectView.as_view(pattern_name="mfa_index"), name="mfa_list_webauthn"),
]
