"""What an attacker could reach from a workload, and a workload's block about the network."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.network import queries
from secguard.workloads.models import Workload

BY = {"observed": "what was observed", "allowed": "what is allowed"}


@require_safe
@login_required
def reach(request: HttpRequest, pk: int) -> HttpResponse:
    """From one workload, by what was observed and by what no policy stops."""
    found = queries.reach_from(person_of(request), pk)
    by = request.GET.get("by", "")
    rows = [row for row in found.rows if by not in BY or by in row.by]
    context: dict[str, Any] = {"reach": found, "rows": rows, "by": by if by in BY else "", "choices": BY.items()}
    return render(request, "network/reach.html", context)


def of_workload(request: HttpRequest, workload: Workload) -> str:
    """The block on a workload's page; empty where no flow has told of it."""
    standing = queries.workload_standing(workload.pk)
    return render_to_string("network/_standing.html", {"standing": standing}, request) if standing else ""
