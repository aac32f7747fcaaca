"""The audit log's pages."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from secguard.audit import notary, queries, services
from secguard.errors import NotFound
from secguard.web import htmx, keyset
from secguard.web.listing import Column, Listing


class AuditListing(Listing):
    name = "audit"
    caption = "Audit log, newest entry first"
    noun, noun_plural = "entry", "entries"
    columns = (
        Column("sequence", "No.", sort="sequence", first="-", numeric=True),
        Column("at", "When"),
        Column("actor", "Who"),
        Column("action", "What"),
        Column("subject", "On what"),
        Column("token", "Token", hidden=True),
        Column("subject_type", "Subject type", hidden=True),
        Column("subject_id", "Subject id", hidden=True),
        Column("details", "Details", value=lambda entry: json.dumps(entry.details, sort_keys=True), hidden=True),
        Column("request_id", "Request", hidden=True),
        Column("digest", "Digest", hidden=True),
    )
    default_sort = "-sequence"
    filterset = queries.EntryFilter
    search_hint = "Search by words or their beginnings"

    def search(self, queryset: QuerySet[Any, Any], text: str) -> QuerySet[Any, Any]:
        """The words are looked up with the page, not in the rows."""
        return queryset

    @cached_property
    def words(self) -> queries.Search:
        return queries.Search(cast(queries.Entries, self.queryset), self.query)

    def fetch(self, cursor: keyset.Cursor | None, limit: int) -> keyset.Page[Any]:
        return self.words.page(self.keys, cursor, limit)

    def counted(self) -> tuple[int, bool]:
        return self.words.count()

    @property
    def coverage(self) -> queries.Coverage | None:
        """How far the search comes, where that is not all of the log."""
        found = self.words.coverage if self.query else None
        return found if found and not found.is_whole else None

    @property
    def is_newest_first(self) -> bool:
        return self.keys[0].descending

    @property
    def reached(self) -> int | None:
        """The entry at which the search ended before its page was full; the next page goes on there."""
        if not self.words.is_looked_up or self.page.next is None or len(self.rows) == self.per_page:
            return None
        return int(self.page.next.values[0])


@require_safe
@login_required
def entry_list(request: HttpRequest) -> HttpResponseBase:
    listing = AuditListing(request, queries.readable(request.user))
    return listing.respond("audit/list.html", "audit/_list.html", {"head": services.head(), "latest": queries.newest()})


@require_safe
@login_required
def entry_detail(request: HttpRequest, sequence: int) -> HttpResponse:
    entry = queries.readable(request.user).filter(sequence=sequence).first()
    if entry is None:
        raise NotFound(f"There is no audit entry {sequence} that you may see.")
    details = json.dumps(entry.details, indent=2, sort_keys=True, ensure_ascii=False)
    context = {"entry": entry, "details": details if entry.details else "", "standing": queries.standing(entry)}
    return htmx.render(request, "audit/detail.html", "audit/_detail.html", context)


@require_safe
@login_required
def proof(request: HttpRequest, sequence: int) -> HttpResponse:
    """The proof as a file for ``secguard audit verify-proof``."""
    found = queries.inclusion(request.user, sequence).document()
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    return _file(text, f"audit-{sequence}.proof.json", "application/json")


class CheckpointListing(Listing):
    name = "checkpoints"
    caption = "Signed checkpoints, newest first"
    noun = "checkpoint"
    columns = (
        Column("size", "Entries", sort="id", first="-", numeric=True),
        Column("made_at", "Signed"),
        Column("root", "Root of the tree"),
        Column("fingerprint", "Key"),
        Column("note", "Note", hidden=True),
    )
    default_sort = "-size"


@require_safe
@login_required
def checkpoint_list(request: HttpRequest) -> HttpResponseBase:
    listing = CheckpointListing(request, queries.checkpoints(request.user))
    context = {"may_ask": services.may_ask(request.user)}
    return listing.respond("audit/checkpoints.html", "audit/_checkpoints.html", context)


@require_POST
@login_required
def checkpoint_new(request: HttpRequest) -> HttpResponse:
    services.ask_for_checkpoint(actor=request.user)
    messages.success(request, "A worker makes the checkpoint now; it is in the list in a moment.")
    return redirect("audit:checkpoints")


@require_safe
@login_required
def checkpoint_note(request: HttpRequest, pk: int) -> HttpResponse:
    found = queries.checkpoints(request.user).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no checkpoint {pk}.")
    return _file(found.note, f"audit-{found.size}.note", "text/plain; charset=utf-8")


@require_safe
@login_required
def keys(request: HttpRequest) -> HttpResponse:
    """The public keys that checkpoints are or were signed with, in one file."""
    queries.readable(request.user)
    text = "".join(key.public_pem for key in notary.notary().public_keys())
    return _file(text, "audit-keys.pem", "application/x-pem-file")


def _file(text: str, name: str, kind: str) -> HttpResponse:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(text.encode(), content_type=kind, headers=disposition)
