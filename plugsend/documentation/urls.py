from django.urls import path

from plugsend.documentation import views

urlpatterns = [
    path("docs/", views.page, name="docs"),
    path("docs/search/", views.search, name="docs_search"),
    path("docs/reader/", views.choose_reader, name="docs_reader"),
    path("docs/files/<path:path>", views.file, name="docs_file"),
    path("docs/api/<slug:tag>/", views.api_group, name="docs_api"),
    path("docs/<path:slug>/", views.page, name="docs_page"),
    path("errors/", views.error_index, name="error_index"),
    path("errors/<slug:code>/", views.error_help, name="error_help"),
]
