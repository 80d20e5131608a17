"""All that there is at CONTENT_HOST, where customers' HTML is shown: no page of ours and no session.

The API, which takes bearer keys alone, answers at any host.
"""

from django.urls import path

from relay.reading import list_views as views
from relay.template_pages import views as template_views

urlpatterns = [
    path("<str:token>/", views.content_of_link, name="content"),
    path("templates/<str:token>/", template_views.template_preview_at_content_host),
]

handler400 = handler403 = handler404 = "relay.reading.list_views.nothing_there"
