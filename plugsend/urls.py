"""Every address of the platform. Pages of an app are listed in its own `urls.py`."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from plugsend import appearance, component_views, deletion_views, find, overview, views
from plugsend.landing import views as landing
from plugsend.status.dashboard import dashboard_live

admin.site.index_title = "Dashboard"
# Operators sign in as everybody does: with their second factor, and counted. Django's own form knows neither.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", landing.home, name="home"),
    path("try/", landing.try_send, name="try_send"),
    path("try/<str:token>/", landing.try_course, name="try_course"),
    path("robots.txt", landing.robots, name="robots"),
    path("sitemap.xml", landing.sitemap, name="sitemap"),
    path("overview/", overview.overview, name="overview"),
    path("overview/checklist/", overview.put_checklist_away, name="checklist_put_away"),
    path("appearance/", appearance.choose, name="appearance"),
    path("find/", find.find, name="find"),
    path("components/", component_views.components, name="components"),
    path("settings/delete/", deletion_views.organization_delete, name="organization_delete"),
    path("settings/delete/undo/", deletion_views.organization_delete_undo, name="organization_delete_undo"),
    path("healthz", views.healthz, name="healthz"),
    path("favicon.ico", views.favicon),
    path("readyz", views.readyz, name="readyz"),
    path("accounts/", include("accounts.signin_urls")),
    path("accounts/", include("allauth.urls")),
    path("", include("accounts.urls")),
    path("", include("domains.urls")),
    path("", include("relay.urls")),
    path("", include("relay.statistics.urls")),
    path("", include("relay.webhooks.urls")),
    path("", include("plugsend.documentation.urls")),
    path("", include("plugsend.status.urls")),
    path("sandbox/", include("relay.sandbox.urls")),
    path("api/v1/", include("plugsend.api_urls")),
    path("admin/dashboard/", dashboard_live, name="dashboard_live"),
    path("admin/", admin.site.urls),
]

handler400 = "plugsend.views.not_understood"
handler404 = "plugsend.views.not_found"
