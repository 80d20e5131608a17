from django.urls import path

from relay.sandbox import dns_host_views, views

app_name = "sandbox"

TEMPLATE = "dns-host/v2/domainTemplates/providers/<str:provider_id>/services/<str:service_id>"

urlpatterns = [
    path("inbox/", views.inbox, name="inbox"),
    path("inbox/<uuid:mail_id>/", views.mail, name="mail"),
    path("inbox/<uuid:mail_id>/html/", views.mail_html, name="mail_html"),
    path("inbox/<uuid:mail_id>/raw/", views.mail_raw, name="mail_raw"),
    path("domains/<uuid:domain_id>/publish/", views.publish, name="publish"),
    path("domains/<uuid:domain_id>/withdraw/", views.withdraw, name="withdraw"),
    path("dns-host/v2/<str:zone>/settings", dns_host_views.zone_settings, name="dns_host_settings"),
    path(TEMPLATE, dns_host_views.template, name="dns_host_template"),
    path(f"{TEMPLATE}/apply", dns_host_views.apply, name="dns_host_apply"),
]
