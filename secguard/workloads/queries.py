"""Reads around what runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from secguard import bulk
from secguard.workloads.models import Workload


def workloads_running(application_ids: Sequence[int]) -> dict[int, list[Workload]]:
    """{application: what runs of it now}; none for one of which nothing runs. One query."""
    rows = Workload.objects.running().filter(application__in=bulk.among(application_ids)).select_related("cluster")
    found: dict[int, list[Workload]] = defaultdict(list)
    for row in rows.order_by("pk"):
        found[row.application_id or 0].append(row)
    return dict(found)


def images_running(application_ids: Sequence[int]) -> dict[int, set[int]]:
    """{application: the images that its workloads run now}; none for one of which nothing runs. One query."""
    links: Any = Workload.images.through.objects
    rows = links.filter(workload__application__in=bulk.among(application_ids), workload__gone_at=None).order_by()
    found: dict[int, set[int]] = defaultdict(set)
    for application, image in rows.values_list("workload__application_id", "image_id").distinct():
        found[application].add(image)
    return dict(found)
