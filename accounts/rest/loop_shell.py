"""The shell of `accounts.rest.shell` around what answers on an event loop, without Django's handler and its threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.rest.rates import LoopLimiter, Rate, rates_of, rates_of_address
from accounts.rest.shell import ApiRequest, begin, finish, keep_to, problem_of


class LoopShell:
    def __init__(self, limiter: LoopLimiter) -> None:
        self._limiter = limiter
        self._security = SecurityMiddleware(_nothing)  # only what it does before and after a view is called

    async def answer(self, request: ApiRequest, serve: Callable[[ApiRequest], Awaitable[HttpResponse]]) -> HttpResponse:
        """`request` has its META; its body is read by `serve`."""
        redirect = self._security.process_request(request)
        if redirect is not None:
            return redirect
        begin(request)
        try:
            request.get_host()  # raises DisallowedHost
            if "HTTP_AUTHORIZATION" not in request.META:
                await self._take(request, rates_of_address(request))
            response = await serve(request)
        except Exception as error:
            response = problem_of(error, request)
        if not request.is_counted:  # whatever key it shows, nobody looked at it or knows it
            try:
                await self._take(request, rates_of_address(request))
            except Exception as error:
                response = problem_of(error, request)
        finish(request, response)
        self._security.process_response(request, response)
        return response

    async def refuse(self, request: ApiRequest, refused: Refused) -> HttpResponse:
        """The answer to a request that comes no further."""

        async def refuse(_: ApiRequest) -> HttpResponse:
            raise refused

        return await self.answer(request, refuse)

    async def charge(self, request: ApiRequest, credential: Credential) -> None:
        """Counts a request on its key and its organization. Raises `Refused`."""
        request.is_known = True
        await self._take(request, rates_of(credential))

    async def _take(self, request: ApiRequest, rates: list[Rate]) -> None:
        request.is_counted = True
        if rates:
            keep_to(await self._limiter.take(*rates), request)


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
