"""Pages are sent compressed."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class CompressedPages(GZipMiddleware):
    """Those that show a secret, which may not be stored either, are left as they are: how small a page becomes tells of what is
    in it (BREACH). CSRF tokens are masked anew for each answer, and Django varies the length.

    Django lets no page of the admin be stored; what is got there shows no secret, and customers' mail only after a POST."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_page = response.get("Content-Type", "").startswith("text/html") and not response.streaming
        is_admins = request.path_info.startswith("/admin/") and request.method == "GET"
        if not is_page or ("no-store" in response.get("Cache-Control", "") and not is_admins):
            return response
        return super().process_response(request, response)
