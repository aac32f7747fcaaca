"""One framework for every list page and its CSV: columns, filters, search, sort, keyset pages, state in the URL.

Query: ``q`` (search), ``sort`` (a column's key, ``-`` before it for descending), ``cursor``, ``per`` (rows on a page),
``format=csv``, and the filter set's own names. A page costs two queries whatever the number of rows (the page and its
bounded count), plus what the filter form and prefetches need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.utils import timezone
from django_filters import FilterSet

from secguard.web import htmx, keyset, spreadsheet
from secguard.web.pagination import flipped

CSV_ROWS = 100_000
PAGE_SIZES = (25, 50, 100, 200)
OWN_PARAMETERS = ("q", "sort", "cursor", "per", "format")
YES_NO = {"true": "Yes", "false": "No"}


@dataclass(frozen=True)
class Column:
    """One column of a list.

    ``sort``: field path or annotation to sort by, or several (``-`` before one turns it round); None: not sortable.
    ``value``: what the CSV holds, an attribute path (``repository.name``) or a function of the row; default the key.
    ``first``: the direction of the first click, ``"-"`` for columns where the greatest matters (severity, times).
    ``nullable``: None reads it from the model; say False for an annotation that is never NULL.
    """

    key: str
    label: str
    sort: str | tuple[str, ...] | None = None
    value: str | Callable[[Any], Any] | None = None
    first: str = ""
    numeric: bool = False
    nullable: bool | None = None
    hidden: bool = False  # in the CSV only
    css: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.sort,) if isinstance(self.sort, str) else self.sort or ()

    def read(self, row: Any) -> Any:
        """The CSV's value for ``row``."""
        if callable(self.value):
            return self.value(row)
        found = row
        for part in (self.value or self.key).split("."):
            found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
        return found() if callable(found) else found


@dataclass(frozen=True)
class Heading:
    """A column's head as the page shows it: its link, and ``ascending``/``descending``/``""`` for aria-sort."""

    column: Column
    url: str
    direction: str


@dataclass(frozen=True)
class Chip:
    """One filter in force, and the URL of the list without it."""

    label: str
    value: str
    url: str


class Listing:
    """A list page. Subclass it beside the view, give it the request and the rows this user may see, and ``respond``."""

    name: ClassVar[str]
    """Names the HTML ids and the CSV file: ``images``."""
    columns: ClassVar[tuple[Column, ...]]
    default_sort: ClassVar[str]
    """A column's key, ``-`` before it for descending."""
    filterset: ClassVar[type[FilterSet] | None] = None
    search_fields: ClassVar[tuple[str, ...]] = ()
    """Lookups joined by OR: ``("name__icontains", "digest__startswith")``. Override ``search`` for anything else."""
    search_hint: ClassVar[str] = "Search"
    page_size: ClassVar[int] = 50
    caption: ClassVar[str] = ""
    """What the table holds, for screen readers; default the name."""
    noun: ClassVar[str] = "row"
    noun_plural: ClassVar[str] = ""

    def __init__(self, request: HttpRequest, queryset: QuerySet[Any, Any]) -> None:
        self.request = request
        self.base = queryset

    # --- state, read from the URL; what makes no sense counts as not given ---

    @property
    def query(self) -> str:
        return self.request.GET.get("q", "").replace("\x00", "").strip()[:200]

    @cached_property
    def sort(self) -> str:
        asked = self.request.GET.get("sort", "")
        return asked if asked.removeprefix("-") in self._sortable else self.default_sort

    @property
    def _sortable(self) -> dict[str, Column]:
        return {column.key: column for column in self.columns if column.sort}

    @cached_property
    def per_page(self) -> int:
        asked = self.request.GET.get("per", "")
        return int(asked) if asked in {str(size) for size in PAGE_SIZES} else self.page_size

    @cached_property
    def filters(self) -> FilterSet | None:
        """The bound filter set; its form is what the page shows."""
        if self.filterset is None:
            return None
        return self.filterset(self.request.GET, self.base, request=self.request, **self.filter_arguments())

    def filter_arguments(self) -> dict[str, Any]:
        """What the filter set needs to know beside the request and the rows."""
        return {}

    # --- rows ---

    def search(self, queryset: QuerySet[Any, Any], text: str) -> QuerySet[Any, Any]:
        """``queryset`` narrowed to what ``text`` finds. Must not multiply rows: use Exists over to-many relations."""
        if not self.search_fields:
            return queryset
        return queryset.filter(reduce(or_, (Q(**{lookup: text}) for lookup in self.search_fields)))

    @cached_property
    def queryset(self) -> QuerySet[Any, Any]:
        """Filtered and searched, unsorted. A filter that cannot be read finds nothing, and the form says why."""
        found = self.base
        if self.filters is not None:
            found = self.filters.qs if self.filters.is_valid() else found.none()
        return self.search(found, self.query) if self.query else found

    @cached_property
    def keys(self) -> tuple[keyset.Key, ...]:
        column = self._sortable[self.sort.removeprefix("-")]
        paths = [flipped(path) for path in column.paths] if self.sort.startswith("-") else list(column.paths)
        return keyset.keys_for(self.base.model, paths, nullable=column.nullable)

    @cached_property
    def page(self) -> keyset.Page[Any]:
        """The page that the URL names; a broken cursor (an old bookmark, another sort) shows the first page."""
        text = self.request.GET.get("cursor", "")
        try:
            cursor = keyset.decode(text, self._cursor_scope) if text else None
            return self.fetch(cursor, self.per_page)
        except keyset.BrokenCursor:
            return self.fetch(None, self.per_page)

    def fetch(self, cursor: keyset.Cursor | None, limit: int) -> keyset.Page[Any]:
        """One page of the rows; for a list that finds them in another way than by a query."""
        return keyset.page(self.queryset, self.keys, cursor, limit)

    @property
    def _cursor_scope(self) -> str:
        return f"{self.name} {self.sort}"

    def prepare(self, rows: list[Any]) -> None:
        """Give one page of rows what their columns show beside the row itself; a fixed number of queries."""

    @cached_property
    def rows(self) -> list[Any]:
        self.prepare(self.page.rows)
        return self.page.rows

    @cached_property
    def _counted(self) -> tuple[int, bool]:
        fits = self.page.next is None and self.page.previous is None
        return (len(self.rows), True) if fits else self.counted()

    def counted(self) -> tuple[int, bool]:
        """(rows, whether that is all of them)."""
        return keyset.bounded_count(self.queryset)

    @property
    def count(self) -> int:
        return self._counted[0]

    @property
    def count_is_exact(self) -> bool:
        return self._counted[1]

    # --- what the page shows ---

    @property
    def id(self) -> str:
        return f"listing-{self.name}"

    @property
    def is_searchable(self) -> bool:
        return bool(self.search_fields) or type(self).search is not Listing.search

    @property
    def is_narrowed(self) -> bool:
        """True when a search or filter is in force: an empty list then means "nothing matches", not "nothing yet"."""
        return bool(self.query or self.chips)

    @property
    def visible_columns(self) -> list[Column]:
        return [column for column in self.columns if not column.hidden]

    @property
    def headings(self) -> list[Heading]:
        return [self._heading(column) for column in self.visible_columns]

    def _heading(self, column: Column) -> Heading:
        if not column.sort:
            return Heading(column, "", "")
        if self.sort.removeprefix("-") != column.key:
            return Heading(column, self.url(sort=f"{column.first}{column.key}", cursor=None), "")
        direction = "descending" if self.sort.startswith("-") else "ascending"
        return Heading(column, self.url(sort=flipped(self.sort), cursor=None), direction)

    @cached_property
    def chips(self) -> list[Chip]:
        chips = [Chip("Search", self.query, self.url(q=None, cursor=None))] if self.query else []
        if self.filters is None:
            return chips
        for name, field in self.filters.form.fields.items():
            if text := self._chosen(name, field):
                chips.append(Chip(str(field.label or name), text, self._without(name)))
        return chips

    def _chosen(self, name: str, field: Any) -> str:
        """What a filter is set to, in the words of its choices."""
        values = [value for value in self.request.GET.getlist(name) if value]
        if not values:
            return ""
        words = YES_NO | {str(value): str(label) for value, label in getattr(field, "choices", None) or ()}
        return ", ".join(words.get(value, value)[:80] for value in values)

    def _without(self, name: str) -> str:
        return self.url(**{name: None, "cursor": None})

    @property
    def next_url(self) -> str:
        return self._page_url(self.page.next)

    @property
    def previous_url(self) -> str:
        return self._page_url(self.page.previous)

    def _page_url(self, cursor: keyset.Cursor | None) -> str:
        return self.url(cursor=keyset.encode(cursor, self._cursor_scope)) if cursor else ""

    @property
    def csv_url(self) -> str:
        return self.url(format="csv", cursor=None)

    @property
    def clear_url(self) -> str:
        """The list with its sort and nothing else."""
        kept = {name: self.request.GET[name] for name in ("sort", "per") if self.request.GET.get(name)}
        return f"{self.request.path}?{urlencode(kept)}" if kept else self.request.path

    @property
    def hidden_state(self) -> list[tuple[str, str]]:
        """What the filter form must carry along: the sort, and the filters that are shown as chips alone."""
        hidden = [field.name for field in self.filters.form.hidden_fields()] if self.filters is not None else []
        names = ["sort", "per", *hidden]
        return [(name, value) for name in names for value in self.request.GET.getlist(name) if value]

    def url(self, **changes: str | None) -> str:
        """This list's URL with parameters replaced (None: left out)."""
        query: QueryDict = self.request.GET.copy()
        for name, value in changes.items():
            query.pop(name, None)
            if value is not None:
                query[name] = value
        kept = [(name, value) for name, values in query.lists() for value in values if value]
        return f"{self.request.path}?{urlencode(kept)}" if kept else self.request.path

    # --- answers ---

    def respond(self, page: str, fragment: str, context: dict[str, Any] | None = None) -> HttpResponseBase:
        """The page, the fragment (HTMX) or the CSV; templates get ``listing`` beside ``context``."""
        if self.request.GET.get("format") == "csv":
            return self.csv()
        response: HttpResponse = htmx.render(self.request, page, fragment, {"listing": self, **(context or {})})
        return response

    def csv(self) -> StreamingHttpResponse:
        """Everything the filters find (at most ``CSV_ROWS`` rows), streamed."""
        stamp = timezone.now().strftime("%Y%m%d-%H%M")
        return StreamingHttpResponse(
            spreadsheet.lines([column.label for column in self.columns], self._csv_rows()),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{self.name}-{stamp}.csv"'},
        )

    def _csv_rows(self) -> Iterator[list[Any]]:
        """Page by page, so that memory is bounded and prefetches work."""
        left, cursor = CSV_ROWS, None
        while left > 0:
            page = self.fetch(cursor, min(1_000, left))
            self.prepare(page.rows)
            for row in page.rows:
                yield [column.read(row) for column in self.columns]
            left -= len(page.rows)
            if page.next is None:
                return
            cursor = page.next
