"""All that there is at CONTENT_HOST, where customers' HTML is shown: no page of ours, no session, no API."""

from django.urls import path

from relay import views

urlpatterns = [path("<str:token>/", views.content_of_link, name="content")]

handler400 = handler403 = handler404 = "relay.views.nothing_there"
