"""The page behind List-Unsubscribe: for recipients, who have no account, and for the programs that press its button for them.

GET changes nothing, since scanners open every link of a mail. POST does at once, with no session, cookie, token of ours or
redirect (RFC 8058, 3.2).
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.rest.rates import Rate, shared_limiter
from accounts.walls import act_for
from relay.suppressing.unsubscribe_tokens import read_token
from relay.suppressing.unsubscribing import Subscription, resubscribe, subscription_of, unsubscribe

ONE_CLICK = "One-Click"
PER_SECOND, BURST = 1, 20  # of one link
# Whoever has the address acts in the recipient's name, so it is told to nobody else and kept nowhere.
HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe_page(request: HttpRequest, token: str) -> HttpResponse:
    wish = read_token(token)
    if wish is None:
        return _answer(request, "unsubscribe/gone.html", status=404)
    standing = shared_limiter().take(Rate("unsubscribe", f"{wish.organization_id} {wish.address}", PER_SECOND, BURST))
    if standing.is_refused:
        answer = _answer(request, "429.html", status=429)
        answer.headers["Retry-After"] = str(standing.retry_after_s)
        return answer
    subscription = subscription_of(wish)
    if subscription is None or subscription.organization.is_being_deleted:
        return _answer(request, "unsubscribe/gone.html", status=410)
    act_for(wish.organization_id)
    done = ""
    if request.method == "POST":
        done = _act(request, subscription)
        if not done:
            return _answer(request, "unsubscribe/page.html", {"subscription": subscription}, status=400)
    is_ended = done == "ended" or (not done and subscription.is_ended)
    return _answer(request, "unsubscribe/page.html", {"subscription": subscription, "is_ended": is_ended, "done": done})


def _act(request: HttpRequest, subscription: Subscription) -> str:
    """Empty: nothing that we know was asked for."""
    if request.POST.get("resubscribe"):
        resubscribe(subscription.organization, subscription.wish)
        return "resumed"
    if request.POST.get("List-Unsubscribe") == ONE_CLICK:
        how = "page" if request.POST.get("from") == "page" else "one_click"
        unsubscribe(subscription.organization, subscription.wish, how=how)
        return "ended"
    return ""


def _answer(
    request: HttpRequest, template: str, context: dict[str, object] | None = None, *, status: int = 200
) -> HttpResponse:
    answer = render(request, template, context, status=status)
    for name, value in HEADERS.items():
        answer.headers[name] = value
    return answer
