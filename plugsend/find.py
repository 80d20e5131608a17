"""Jumping to any page or thing of an organization: behind the command palette, and a page of its own without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import resolve, reverse

from accounts.http import OrganizationRequest, member_required
from accounts.models import Organization
from accounts.permissions import Permission
from plugsend.documentation import search as documentation
from plugsend.navigation import DO, open_places
from plugsend.things import MESSAGE, THINGS
from relay.finding.asked import Asked
from relay.finding.filters import as_uuid
from relay.finding.naming import sought_of
from relay.finding.search import TookTooLong, within
from relay.models import Recipient
from relay.reading.selectors import MessageRow, messages_page

LONGEST = 320  # an address
MOST = 5  # of a kind
FIND_S = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    title: str
    url: str
    icon: str
    text: str = ""
    state: str = ""  # of a message: for its badge


Group = tuple[str, list[Found]]


@member_required(Permission.READ)
def find(request: OrganizationRequest) -> HttpResponse:
    """`q`: words, an id, a Message-ID or an address. The palette asks by htmx for the results alone."""
    words = " ".join(request.GET.get("q", "").replace("\0", "").split())[:LONGEST]
    groups = [(title, found) for title, found in _groups(request, words) if found]
    context = {"words": words, "groups": groups, "number": sum(len(found) for _, found in groups)}
    return render(request, "find/results.html" if request.htmx else "find/page.html", context)


def _groups(request: OrganizationRequest, words: str) -> Iterator[Group]:
    if not words:
        yield from _pages(request, "")
        return
    yield from _messages(request.organization, words)
    yield from _things(request, words)
    yield from _pages(request, words)
    yield (
        "Documentation",
        [Found(hit.title, hit.url, "book-open", hit.section) for hit in documentation.find(words, MOST)],
    )
    search = f"{reverse('messages')}?{urlencode({'q': words})}"
    yield "Search", [Found(f"Search messages for “{words}”", search, "search")]


# ---- What an organization has ----------------------------------------------------------------------------------------


def _messages(organization: Organization, words: str) -> Iterator[Group]:
    """What one probe of an index finds; a part of an address or a subject is the message list's to look for."""
    asked = Asked.parse(urlencode({"q": words}))
    only = asked.only
    is_quick = "id" in only or "message_id" in only or ("recipient" in only and asked.recipients.is_indexed)
    if not is_quick or len(asked.values) > 1 or asked.unread:
        return
    try:
        rows = messages_page(organization, limit=MOST, sought=sought_of(organization, asked)).rows
    except TookTooLong:
        rows = []
    found = [_message(row) for row in rows]
    if not found and (identifier := as_uuid(words)):
        recipient = Recipient.objects.of(organization).filter(pk=identifier).first()
        if recipient:
            found = [_to(recipient)]
    yield MESSAGE.plural, found


def _message(row: MessageRow) -> Found:
    message, subject = row.message, row.message.subject or "(no subject)"
    to = row.first.address if row.first else ""
    return Found(to, reverse(MESSAGE.name, args=[message.pk]), MESSAGE.icon, subject, row.state)


def _to(recipient: Recipient) -> Found:
    url = reverse(MESSAGE.name, args=[recipient.message_id])
    return Found(recipient.address, url, MESSAGE.icon, "recipient", recipient.state)


def _things(request: OrganizationRequest, words: str) -> Iterator[Group]:
    identifier = as_uuid(words)
    try:
        with within(FIND_S) as check:
            for thing in THINGS:
                if not thing.fields or not _may(request, reverse(thing.name, args=[request.organization.pk])):
                    continue
                check()
                rows = thing.of(request.organization)
                rows = rows.filter(pk=identifier) if identifier else thing.matching(request.organization, words)
                yield (
                    thing.plural,
                    [Found(str(row), reverse(thing.name, args=[row.pk]), thing.icon) for row in rows[:MOST]],
                )
    except TookTooLong:
        return


def _may(request: OrganizationRequest, url: str) -> bool:
    needed = getattr(resolve(url).func, "permissions", (Permission.READ,))[0]
    return request.membership.may(needed)


# ---- Pages -----------------------------------------------------------------------------------------------------------


def _pages(request: OrganizationRequest, words: str) -> Iterator[Group]:
    """All that the reader may open, or those that the words mean: the first for which a label begins so."""
    parts = words.lower().split()
    pages: list[Found] = []
    acts: list[Found] = []
    for place in open_places(request.membership):
        text = f"{place.label} {place.group} {place.words}".lower()
        if all(part in text for part in parts):
            found = Found(place.label, place.url, place.icon, "" if place.group == DO else place.group)
            (acts if place.group == DO else pages).append(found)
    if words:
        pages.sort(key=lambda found: not found.title.lower().startswith(parts[0]))
    yield "Pages", pages
    yield DO, acts
