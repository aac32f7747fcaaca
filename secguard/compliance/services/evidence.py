"""What a measurement stands on, by identifiers that an auditor can look up: digests, names, decisions, people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from secguard import bulk
from secguard.approvals.models import APPROVED, Vote
from secguard.decisions.models import Decision
from secguard.images.models import Image, Repository
from secguard.planning.counting import Counting, Rows
from secguard.planning.models import RequirementWaiver
from secguard.workloads.models import Workload

NAMED: Final = 20
"""So many rows of each kind are named; how many there are is always told."""


# --- rows ---


def _digests(ids: Sequence[int]) -> dict[int, str]:
    return dict(Image.objects.filter(pk__in=bulk.among(ids)).order_by().values_list("pk", "digest"))


def _repositories(ids: Sequence[int]) -> dict[int, str]:
    return dict(Repository.objects.filter(pk__in=bulk.among(ids)).order_by().values_list("pk", "name"))


def _workloads(ids: Sequence[int]) -> dict[int, str]:
    columns = ("pk", "cluster__name", "namespace", "kind", "name")
    rows = Workload.objects.filter(pk__in=bulk.among(ids)).order_by()
    return {pk: "/".join(parts) for pk, *parts in rows.values_list(*columns)}


NAMES: Final[dict[str, Callable[[Sequence[int]], dict[int, str]]]] = {
    "/images/": _digests,
    "/repositories/": _repositories,
    "/workloads/": _workloads,
}
"""By the page that lists the rows: how they are named for good. Others are named by their number."""


def name_rows(measured: Iterable[tuple[Counting, Mapping[int, Rows]]]) -> dict[tuple[str, int], str]:
    """{(page, row): what identifies it} of the rows that are going to be named. One query for each page."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for counting, found in measured:
        for rows in found.values():
            for several in (rows.lacking, rows.untold, rows.total):
                wanted[counting.of.page].update(_first(several))
    return {
        (page, pk): name
        for page, ids in wanted.items()
        if page in NAMES
        for pk, name in NAMES[page](sorted(ids)).items()
    }


def of_rows(counting: Counting, rows: Rows, names: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """The rows of one application, as they are kept."""

    def named(several: Collection[int]) -> list[str]:
        return [names.get((counting.of.page, pk), f"{counting.of.noun} {pk}") for pk in _first(several)]

    lists = {"lacking": named(rows.lacking), "untold": named(rows.untold), "looked_at": named(rows.total)}
    return {"noun": counting.of.noun, "plural": counting.of.plural, **lists}


def _first(several: Collection[int]) -> list[int]:
    """The newest, of which there is most to say."""
    return sorted(several, reverse=True)[:NAMED]


# --- exceptions ---


def waivers(application_ids: Sequence[int], now: datetime) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """{(application, check): approved requests that it is not applicable, as they are kept}. Two queries."""
    rows = RequirementWaiver.objects.filter(
        checklist__application__in=bulk.among(application_ids),
        request__status=APPROVED,
        ended_at=None,
        until__gt=now,
    ).order_by("pk")
    found = [(row, check) for row in rows.select_related(*_WAIVER) if (check := _check_of(row))]
    votes = _approvers([row.request_id for row, _ in found])
    kept: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row, check in found:
        kept[row.checklist.application_id, check].append(
            {
                "kind": "waiver",
                "id": row.pk,
                "what": "not applicable",
                "requirement": row.requirement,
                "asked_by": row.request.requester.username,
                "approved_by": votes[row.request_id],
                "until": row.until.isoformat(),
            }
        )
    return dict(kept)


_WAIVER: Final = ("checklist__template", "request__requester")


def _check_of(row: RequirementWaiver) -> str:
    """The check of what was waived, where it is still asked as it was then."""
    requirement = row.checklist.template.parsed.requirement(row.requirement)
    return requirement.check if requirement is not None and requirement.digest == row.digest else ""


def decisions(ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """{decision: as it is kept}. Two queries."""
    rows = Decision.objects.filter(pk__in=bulk.among(sorted(set(ids)))).select_related("requested_by").order_by("pk")
    found = list(rows.defer("reason", "snapshot"))
    votes = _approvers([row.approval_id for row in found])
    return {
        row.pk: {
            "kind": "decision",
            "id": row.pk,
            "what": row.kind,
            "asked_by": row.requested_by.username,
            "approved_by": votes[row.approval_id],
            "until": row.counts_until.isoformat(),
        }
        for row in found
    }


def _approvers(request_ids: Sequence[int]) -> dict[int, list[str]]:
    rows = Vote.objects.filter(request__in=bulk.among(sorted(set(request_ids))), choice="approve").order_by("pk")
    found: dict[int, list[str]] = defaultdict(list)
    for request, name in rows.values_list("request_id", "voter__username"):
        found[request].append(name)
    return found
