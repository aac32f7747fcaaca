"""Whether what an application runs is held against what is normal for it, for its checklist (``planning.checks``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.planning.counting import Counting, Rows, Shown
from secguard.runtime.baseline import Status
from secguard.runtime.models import Baseline
from secguard.workloads.queries import images_running


def _locked(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    """The images that run whose baseline somebody locked; of what no sensor told there is none. Two queries."""
    running = images_running(application_ids)
    wanted = sorted(set().union(*running.values()))
    states = dict(Baseline.objects.filter(image__in=bulk.among(wanted)).order_by().values_list("image_id", "status"))
    return {
        pk: Rows(
            total=frozenset(images),
            lacking=frozenset(i for i in images if states.get(i, Status.LOCKED) != Status.LOCKED),
            untold=frozenset(images - states.keys()),
        )
        for pk, images in running.items()
    }


COUNTINGS: Final = (
    Counting(
        name="baselines-locked",
        about="What is normal was learned and locked for every image that its workloads run.",
        measure=_locked,
        kept="with a locked baseline",
        lacking="whose baseline nobody has locked yet",
        untold="of which no sensor told anything yet",
        of=Shown(
            slugs=application_slugs,
            page="/images/",
            noun="running image",
            plural="running images",
            nothing="Nothing of it runs, as far as is known here.",
        ),
    ),
)
