"""Routes below `/api/v1/`."""

from django.urls import path

from relay.rest import actions, emails, suppressions

urlpatterns = [
    path("emails", emails.EmailsView.as_view(), name="emails"),
    path("emails/<uuid:message_id>", emails.EmailView.as_view(), name="email"),
    path("emails/<uuid:message_id>/retry", actions.RetryView.as_view(), name="email_retry"),
    path("emails/<uuid:message_id>/hold", actions.HoldView.as_view(), name="email_hold"),
    path("emails/<uuid:message_id>/release", actions.ReleaseView.as_view(), name="email_release"),
    path("emails/<uuid:message_id>/cancel", actions.CancelView.as_view(), name="email_cancel"),
    path("suppressions", suppressions.SuppressionsView.as_view(), name="api_suppressions"),
    path("suppressions/batch/add", suppressions.AddSuppressionsView.as_view(), name="api_suppressions_add"),
    path("suppressions/batch/remove", suppressions.RemoveSuppressionsView.as_view(), name="api_suppressions_remove"),
    # An address may hold a slash (RFC 5321, 4.1.2).
    path("suppressions/<path:which>", suppressions.SuppressionView.as_view(), name="api_suppression"),
]
