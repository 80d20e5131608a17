from django.urls import path, register_converter
from django.urls.converters import StringConverter

from relay import domain_health_views, usage_views
from relay.acting import views as action_views
from relay.acting.actions import Action
from relay.finding import views as finding_views
from relay.reading import list_views as views
from relay.reading import message_views, timeline_link_views
from relay.suppressing import unsubscribe_views
from relay.suppressing import views as suppression_views
from relay.template_pages import views as template_views


class ActionConverter(StringConverter):
    regex = "|".join(Action)

    def to_python(self, value: str) -> Action:
        return Action(value)


register_converter(ActionConverter, "action")

urlpatterns = [
    path("messages/", views.message_list, name="messages"),
    path("messages/filters/", finding_views.filter_save, name="saved_filter_save"),
    path("messages/filters/<uuid:saved_filter_id>/remove/", finding_views.filter_remove, name="saved_filter_remove"),
    path("messages/exports/", finding_views.export_list, name="message_exports"),
    path("messages/exports/start/", finding_views.export_start, name="message_export_start"),
    path(
        "messages/exports/<uuid:message_export_id>/download/",
        finding_views.export_download,
        name="message_export_download",
    ),
    path("messages/exports/<uuid:message_export_id>/end/", finding_views.export_end, name="message_export_end"),
    path("messages/<action:action>/", action_views.act_on_matching, name="messages_act"),
    path("messages/<uuid:message_id>/", message_views.message_page, name="message"),
    path("messages/<uuid:message_id>/html/", views.message_html, name="message_html"),
    path("messages/<uuid:message_id>/raw/", views.message_raw, name="message_raw"),
    path(
        "messages/<uuid:message_id>/attachments/<uuid:attachment_id>/",
        message_views.message_attachment,
        name="message_attachment",
    ),
    path("messages/<uuid:message_id>/share/", timeline_link_views.timeline_share, name="timeline_share"),
    path("messages/shared/", timeline_link_views.timeline_link_list, name="timeline_links"),
    path(
        "messages/shared/<uuid:timeline_link_id>/revoke/",
        timeline_link_views.timeline_link_revoke,
        name="timeline_link_revoke",
    ),
    path("timelines/<str:secret>/", timeline_link_views.shared_timeline, name="shared_timeline"),
    path("messages/<uuid:message_id>/<action:action>/", action_views.act_on_message, name="message_act"),
    path("domains/<uuid:domain_id>/health/", domain_health_views.domain_health_page, name="domain_health"),
    path("u/<str:token>", unsubscribe_views.unsubscribe_page, name="unsubscribe"),
    path("suppressions/", suppression_views.suppression_list, name="suppressions"),
    path("suppressions/export/", suppression_views.suppression_export, name="suppression_export"),
    path("suppressions/import/", suppression_views.suppression_import, name="suppression_import"),
    path(
        "suppressions/import/<uuid:suppression_import_id>/",
        suppression_views.suppression_import_report,
        name="suppression_import_report",
    ),
    path(
        "suppressions/import/<uuid:suppression_import_id>/cancel/",
        suppression_views.suppression_import_cancel,
        name="suppression_import_cancel",
    ),
    path("suppressions/rule/", suppression_views.soft_bounce_rule, name="soft_bounce_rule"),
    path("suppressions/add/", suppression_views.suppression_add, name="suppression_add"),
    path("suppressions/<uuid:suppression_id>/remove/", suppression_views.suppression_remove, name="suppression_remove"),
    path("templates/", template_views.template_list, name="templates"),
    path("templates/new/", template_views.template_create, name="template_create"),
    path("templates/preview/<str:token>/", template_views.template_preview_frame, name="template_preview_frame"),
    path("templates/<uuid:template_id>/", template_views.template_page, name="template"),
    path("templates/<uuid:template_id>/preview/", template_views.template_preview, name="template_preview"),
    path("templates/<uuid:template_id>/test/", template_views.template_test, name="template_test"),
    path("templates/<uuid:template_id>/duplicate/", template_views.template_duplicate, name="template_duplicate"),
    path("templates/<uuid:template_id>/remove/", template_views.template_remove, name="template_remove"),
    path("templates/<uuid:template_id>/versions/", template_views.template_versions, name="template_versions"),
    path(
        "templates/<uuid:template_id>/versions/<int:number>/", template_views.template_version, name="template_version"
    ),
    path("settings/usage/", usage_views.usage_page, name="usage"),
]
