from django.urls import path

from plugsend.status import views

urlpatterns = [
    path("status/", views.status, name="status"),
    path("status/live/", views.status_live, name="status_live"),
    path("status/incidents/<uuid:incident_id>/", views.status_incident, name="status_incident"),
    path("status.json", views.status_json, name="status_json"),
    path("status.atom", views.status_feed, name="status_feed"),
]
