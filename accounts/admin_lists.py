"""What the operators' admin needs for tables that only grow: no counts, pages by key, nothing changed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Page, Paginator
from django.db import OperationalError, connection, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from psycopg.errors import QueryCanceled
from unfold.views import ChangeList

from accounts.admin_words import OperatorsAdmin

COUNTED = 1000
PATIENCE_S = 5.0
BEFORE = "before"  # of an address: the rows with lesser keys


class NewestRowsPaginator(Paginator):
    """Pages through the newest rows only: an exact count would read the whole table at each look."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by()[:COUNTED].count() if isinstance(rows, QuerySet) else len(rows)


class KeysetPaginator(Paginator):
    """Of one page, which the list has read already: nothing is counted."""

    template_name = "admin/keyset_pages.html"

    @cached_property
    def count(self) -> int:
        return len(self.object_list)

    def page(self, number: Any) -> Page[Any]:
        return Page(self.object_list, 1, self)


class TookTooLong(Exception):
    """A statement that no index answers went through too much."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends a statement that takes longer. Raises TookTooLong."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [int(seconds * 1000)])
            yield
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong from error
        raise


class KeysetChangeList(ChangeList):
    """The newest rows, or those before a key. A page costs the same however deep it lies."""

    older: str | None = None  # `?before=` of the next page
    is_first = True

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        lookups: dict[str, Any] = super().get_filters_params(params)
        lookups.pop(BEFORE, None)
        return lookups

    def get_results(self, request: HttpRequest) -> None:
        before = _key(self.params.get(BEFORE, ""))
        rows = self.queryset.filter(pk__lt=before) if before else self.queryset
        try:
            with within(PATIENCE_S):
                found = list(rows[: self.list_per_page + 1])
        except TookTooLong:
            found = []
            messages.warning(
                request, "That search went through too much and was ended. Name an organization or an id as well."
            )
        self.is_first = before is None
        if len(found) > self.list_per_page:
            self.older = str(found[self.list_per_page - 1].pk)
        self.result_list = found[: self.list_per_page]
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all, self.multi_page = False, self.older is not None
        self.page_num = 1
        self.paginator = KeysetPaginator(self.result_list, self.list_per_page)

    @property
    def older_url(self) -> str:
        return str(self.get_query_string({BEFORE: self.older}))

    @property
    def newest_url(self) -> str:
        return str(self.get_query_string(remove=[BEFORE]))


def _key(text: Any) -> UUID | None:
    return as_uuid(text[0] if isinstance(text, list) else text)


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


class ReadOnlyAdmin(OperatorsAdmin):
    """Rows to be looked at: written by the program alone."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class KeysetAdmin(OperatorsAdmin):
    """A list by UUIDv7 key, the newest first."""

    paginator = NewestRowsPaginator  # where Django asks for one elsewhere, such as for choosing a row
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ["-id"]
    sortable_by: Any = ()  # any other order would sort the whole table
    list_per_page = 25

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def not_found(self, request: HttpRequest, queryset: QuerySet[Any], text: str) -> tuple[QuerySet[Any], bool]:
        """Nothing, and why."""
        self.message_user(request, text, messages.WARNING)
        return queryset.none(), False


class GrowingTableAdmin(KeysetAdmin, ReadOnlyAdmin):
    """A table partitioned by UUIDv7. Search is by id only: nothing else is found at the same price at any size."""

    id_fields: tuple[str, ...] = ("id",)
    search_fields = ["id"]  # makes the search box appear; `get_search_results` does the search
    search_help_text = "An id, as a whole."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        identifier = as_uuid(search_term)
        if identifier is None:
            return self.not_found(
                request, queryset, "That is not an id. Search takes a whole id, such as one copied from a page."
            )
        # One after the other: all of them together would be no look into one index.
        for field in self.id_fields[:-1]:
            if queryset.filter(**{field: identifier}).exists():
                return queryset.filter(**{field: identifier}), False
        return queryset.filter(**{self.id_fields[-1]: identifier}), False
