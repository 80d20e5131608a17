from django.urls import path
from django.views.generic import RedirectView

from accounts import account_pages, audit_log, impersonation, member_views, organization_views, views

urlpatterns = [
    path("settings/", views.settings_page, name="settings"),
    path("settings/audit-log/", audit_log.audit_log, name="audit_log"),
    path("settings/members/", member_views.member_list, name="members"),
    path("settings/members/invite/", member_views.invite, name="member_invite"),
    path("settings/members/leave/", member_views.member_leave, name="member_leave"),
    path("settings/members/<uuid:member_id>/role/", member_views.member_role, name="member_role"),
    path("settings/members/<uuid:member_id>/remove/", member_views.member_remove, name="member_remove"),
    path("settings/members/<uuid:member_id>/hand-over/", member_views.hand_over, name="hand_over"),
    path("settings/invitations/<uuid:invitation_id>/resend/", member_views.invitation_resend, name="invitation_resend"),
    path("settings/invitations/<uuid:invitation_id>/revoke/", member_views.invitation_revoke, name="invitation_revoke"),
    path("settings/second-factor/", member_views.require_second_factor, name="require_second_factor"),
    path("settings/roles/", member_views.roles_page, name="roles"),
    path("organizations/new/", organization_views.organization_create, name="organization_create"),
    path("organizations/<uuid:organization_id>/open/", organization_views.organization_open, name="organization_open"),
    path("look/end/", impersonation.look_end, name="look_end"),
    path("second-factor/", organization_views.second_factor_page, name="second_factor"),
    path("invitations/<str:secret>/", organization_views.invitation, name="invitation"),
    path("invitations/<str:secret>/sign-up/", organization_views.InvitedSignup.as_view(), name="invited_signup"),
    path("settings/audit-log/export/", audit_log.audit_log_export, name="audit_log_export"),
    path("account/", RedirectView.as_view(pattern_name="account_email"), name="account"),
    path("account/delete/", account_pages.account_delete, name="account_delete"),
    path("account/data/", account_pages.account_data, name="account_data"),
]
