"""What the operators' admin needs for tables that only grow: no full counts, nothing changed by hand."""

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

COUNTED = 1000


class NewestRowsPaginator(Paginator):
    """Pages through the newest rows only: an exact count would read the whole table at each look."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by()[:COUNTED].count() if isinstance(rows, QuerySet) else len(rows)


class ReadOnlyAdmin(ModelAdmin):
    """Rows to be looked at: written by the program alone."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class GrowingTableAdmin(ReadOnlyAdmin):
    """A table partitioned by UUIDv7. Search is by id only: nothing else is found at the same price at any size."""

    paginator = NewestRowsPaginator
    show_full_result_count = False
    ordering = ["-id"]
    sortable_by = ["id"]  # any other order would sort the whole table
    list_per_page = 25
    id_fields: tuple[str, ...] = ("id",)
    search_fields = ["id"]  # makes the search box appear; `get_search_results` does the search
    search_help_text = f"An id, as a whole. Lists show the newest {COUNTED} rows."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        try:
            identifier = UUID(search_term.strip())
        except ValueError:
            self.message_user(request, "That is not an id. Search takes a whole id, such as one copied from a page.")
            return queryset.none(), False
        found = queryset.none()
        for field in self.id_fields:
            found = found | queryset.filter(**{field: identifier})
        return found, False
