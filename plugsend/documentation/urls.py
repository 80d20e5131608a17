from django.urls import path
from django.views.decorators.gzip import gzip_page

from plugsend.documentation import views

urlpatterns = [
    path("docs/", gzip_page(views.page), name="docs"),
    path("docs/search/", gzip_page(views.search), name="docs_search"),
    path("docs/reader/", views.choose_reader, name="docs_reader"),
    path("docs/files/<path:path>", views.file, name="docs_file"),
    path("docs/api/<slug:tag>/", gzip_page(views.api_group), name="docs_api"),
    path("docs/<path:slug>/", gzip_page(views.page), name="docs_page"),
    path("errors/", gzip_page(views.error_index), name="error_index"),
    path("errors/<slug:code>/", gzip_page(views.error_help), name="error_help"),
]
