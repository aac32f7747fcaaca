"""The audit log's pages."""

from __future__ import annotations

import json

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe

from secguard.audit import queries, services
from secguard.errors import NotFound
from secguard.web import htmx
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
    search_fields = ("actor__icontains", "subject__icontains", "action__istartswith")
    search_hint = "Search by person, action or subject"


@require_safe
@login_required
def entry_list(request: HttpRequest) -> HttpResponseBase:
    listing = AuditListing(request, queries.readable(request.user))
    return listing.respond("audit/list.html", "audit/_list.html", {"head": services.head()})


@require_safe
@login_required
def entry_detail(request: HttpRequest, sequence: int) -> HttpResponse:
    entry = queries.readable(request.user).filter(sequence=sequence).first()
    if entry is None:
        raise NotFound(f"There is no audit entry {sequence} that you may see.")
    details = json.dumps(entry.details, indent=2, sort_keys=True, ensure_ascii=False)
    context = {"entry": entry, "details": details if entry.details else ""}
    return htmx.render(request, "audit/detail.html", "audit/_detail.html", context)
