"""Routes below `/api/v1/`."""

from django.urls import path

from relay.rest import actions, emails, feed, reading

urlpatterns = [
    path("emails", emails.EmailsView.as_view(), name="emails"),
    path("emails/<uuid:message_id>", emails.EmailView.as_view(), name="email"),
    path("emails/<uuid:message_id>/recipients", reading.RecipientsView.as_view(), name="email_recipients"),
    path("emails/<uuid:message_id>/events", reading.EmailEventsView.as_view(), name="email_events"),
    path("emails/<uuid:message_id>/raw", reading.RawView.as_view(), name="email_raw"),
    path("events", feed.EventsView.as_view(), name="events"),
    path("emails/<uuid:message_id>/retry", actions.RetryView.as_view(), name="email_retry"),
    path("emails/<uuid:message_id>/hold", actions.HoldView.as_view(), name="email_hold"),
    path("emails/<uuid:message_id>/release", actions.ReleaseView.as_view(), name="email_release"),
    path("emails/<uuid:message_id>/cancel", actions.CancelView.as_view(), name="email_cancel"),
]
