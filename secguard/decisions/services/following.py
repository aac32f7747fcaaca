"""What the layers below tell of: exposures that changed, applications that changed. Registered in ``apps.ready``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.decisions.services.appetite import active_appetite, refresh_deadlines
from secguard.decisions.services.coverage import refresh_coverage
from secguard.decisions.services.ending import review_material_changes
from secguard.findings.models import Exposure

CHUNK = 5000


def follow_exposures(exposure_ids: Sequence[int], at: datetime) -> None:
    """``findings.services.EXPOSURES_CHANGED``: deadlines and decisions of exposures that are new or changed.

    A new image in a repository is covered here by what was decided before it came. What covered only the image that
    was newest until now covers no longer.
    """
    _, appetite = active_appetite()
    for start in range(0, len(exposure_ids), CHUNK):
        chunk = Q(pk__in=exposure_ids[start : start + CHUNK])
        refresh_deadlines(chunk, appetite)
        refresh_coverage(chunk, at)
    repositories = set(Exposure.objects.filter(pk__in=exposure_ids[:CHUNK]).values_list("repository_id", flat=True))
    refresh_coverage(Q(repository_id__in=repositories, decision_id__isnull=False), at)


def follow_application(application: Application) -> None:
    """``accounts.services.APPLICATION_FOLLOWERS``: its exposure decides the deadlines of what it owns."""
    _, appetite = active_appetite()
    refresh_deadlines(Q(application=application), appetite)
    refresh_coverage(Q(application=application), timezone.now())


def follow_risks(risk_ids: Sequence[int], at: datetime) -> None:
    """``findings.services.RISKS_CHANGED``: decisions that were approved under other facts end."""
    review_material_changes(risk_ids, at)
