from django.urls import path

from relay import views

urlpatterns = [
    path("messages/", views.message_list, name="messages"),
    path("messages/<uuid:message_id>/", views.message_page, name="message"),
    path("messages/<uuid:message_id>/html/", views.message_html, name="message_html"),
    path("messages/<uuid:message_id>/raw/", views.message_raw, name="message_raw"),
    path("errors/", views.error_index, name="error_index"),
    path("errors/<slug:code>/", views.error_help, name="error_help"),
]
