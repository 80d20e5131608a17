from django.urls import path

from relay.sandbox import views

app_name = "sandbox"

urlpatterns = [
    path("inbox/", views.inbox, name="inbox"),
    path("inbox/<uuid:mail_id>/", views.mail, name="mail"),
    path("inbox/<uuid:mail_id>/html/", views.mail_html, name="mail_html"),
    path("inbox/<uuid:mail_id>/raw/", views.mail_raw, name="mail_raw"),
    path("domains/<uuid:domain_id>/publish/", views.publish, name="publish"),
    path("domains/<uuid:domain_id>/withdraw/", views.withdraw, name="withdraw"),
]
