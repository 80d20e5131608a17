"""Routes below `/api/v1/`."""

from django.urls import path

from relay.rest import (
    actions,
    attachments,
    batch,
    domain_health,
    emails,
    feed,
    reading,
    suppressions,
    templates,
    timeline_links,
    usage,
)

urlpatterns = [
    path("emails", emails.EmailsView.as_view(), name="emails"),
    path("emails/batch", batch.BatchView.as_view(), name="emails_batch"),
    path("emails/<uuid:message_id>", emails.EmailView.as_view(), name="email"),
    path("emails/<uuid:message_id>/recipients", reading.RecipientsView.as_view(), name="email_recipients"),
    path("emails/<uuid:message_id>/events", reading.EmailEventsView.as_view(), name="email_events"),
    path("emails/<uuid:message_id>/raw", reading.RawView.as_view(), name="email_raw"),
    path("usage", usage.UsageView.as_view(), name="api_usage"),
    path("events", feed.EventsView.as_view(), name="events"),
    path("emails/<uuid:message_id>/retry", actions.RetryView.as_view(), name="email_retry"),
    path("emails/<uuid:message_id>/hold", actions.HoldView.as_view(), name="email_hold"),
    path("emails/<uuid:message_id>/release", actions.ReleaseView.as_view(), name="email_release"),
    path("emails/<uuid:message_id>/cancel", actions.CancelView.as_view(), name="email_cancel"),
    path("emails/<uuid:message_id>/attachments", attachments.AttachmentsView.as_view(), name="email_attachments"),
    path(
        "emails/<uuid:message_id>/attachments/<uuid:attachment_id>",
        attachments.AttachmentView.as_view(),
        name="email_attachment",
    ),
    path(
        "emails/<uuid:message_id>/attachments/<uuid:attachment_id>/content",
        attachments.AttachmentContentView.as_view(),
        name="email_attachment_content",
    ),
    path(
        "emails/<uuid:message_id>/timeline-links",
        timeline_links.TimelineLinksView.as_view(),
        name="email_timeline_links",
    ),
    path(
        "emails/<uuid:message_id>/timeline-links/<uuid:timeline_link_id>",
        timeline_links.TimelineLinkView.as_view(),
        name="email_timeline_link",
    ),
    path("domains/<uuid:domain_id>/health", domain_health.DomainHealthView.as_view(), name="api_domain_health"),
    path("templates", templates.TemplatesView.as_view(), name="api_templates"),
    path("templates/<str:reference>", templates.TemplateView.as_view(), name="api_template"),
    path("templates/<str:reference>/publish", templates.PublishTemplateView.as_view(), name="api_template_publish"),
    path(
        "templates/<str:reference>/duplicate", templates.DuplicateTemplateView.as_view(), name="api_template_duplicate"
    ),
    path("templates/<str:reference>/render", templates.RenderTemplateView.as_view(), name="api_template_render"),
    path("templates/<str:reference>/versions", templates.TemplateVersionsView.as_view(), name="api_template_versions"),
    path(
        "templates/<str:reference>/versions/<int:number>",
        templates.TemplateVersionView.as_view(),
        name="api_template_version",
    ),
    path("suppressions", suppressions.SuppressionsView.as_view(), name="api_suppressions"),
    path("suppressions/batch/add", suppressions.AddSuppressionsView.as_view(), name="api_suppressions_add"),
    path("suppressions/batch/remove", suppressions.RemoveSuppressionsView.as_view(), name="api_suppressions_remove"),
    # An address may hold a slash (RFC 5321, 4.1.2).
    path("suppressions/<path:which>", suppressions.SuppressionView.as_view(), name="api_suppression"),
]
