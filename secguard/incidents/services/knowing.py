"""What is known of the places where something happened: what their incidents are ranked by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from secguard import bulk
from secguard.findings.models import Finding
from secguard.incidents import ranking
from secguard.incidents.grouping import Group
from secguard.workloads.models import Workload


class Known(NamedTuple):
    """By the ids of workloads, and of images that have a flaw which is known to be exploited."""

    kinds: Mapping[int, str]
    privileged: Collection[int]
    with_data: Collection[int]
    exploited: Collection[int]

    def rank(
        self,
        workload_id: int | None,
        image_id: int | None,
        *,
        severity: int,
        stories: int,
        has_malware: bool,
        is_new: bool,
        returned: str,
    ) -> tuple[int, list[list[Any]]]:
        """The score, and the reasons as they are kept."""
        found = ranking.rank(
            ranking.Facts(
                severity=severity,
                stories=stories,
                is_new=is_new,
                has_malware=has_malware,
                is_privileged=workload_id in self.privileged,
                holds_data=workload_id in self.with_data,
                has_known_exploited=image_id in self.exploited,
                returned=returned,
            )
        )
        return found.score, [list(reason) for reason in found.reasons]


def known_of(groups: Iterable[Group]) -> Known:
    """Three statements, whatever the number of groups."""
    rows = list(groups)
    workloads = sorted({g.leading.workload_id for g in rows if g.leading.workload_id})
    images = sorted({g.image_id for g in rows if g.image_id})
    held = list(Workload.objects.filter(pk__in=bulk.among(workloads)).values_list("pk", "kind", "restrictions"))
    data = Workload.objects.with_data().filter(pk__in=bulk.among(workloads))
    flaws = Finding.objects.open().filter(image_id__in=bulk.among(images), risk__known_exploited=True)
    return Known(
        {pk: kind for pk, kind, _ in held},
        {pk for pk, _, kept in held if kept is not None and "not-privileged" not in kept},
        set(data.values_list("pk", flat=True)),
        set(flaws.order_by().values_list("image_id", flat=True).distinct()),
    )
