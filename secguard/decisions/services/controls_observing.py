"""The job that has SecGuard look itself at what controls promise."""

from __future__ import annotations

from datetime import datetime

import structlog
from django.db import transaction
from django.utils import timezone

from secguard.decisions.controls import EvidenceKind
from secguard.decisions.models import Control
from secguard.decisions.services.controls import Evidence, locked, note
from secguard.decisions.services.controls_watching import observer_of
from secguard.errors import SecGuardError

log = structlog.get_logger(__name__)


def observe(now: datetime | None = None) -> int:
    """The job: ask the observer of every control that stands; returns how many could tell. Safe to run twice."""
    at = now or timezone.now()
    rows = Control.objects.standing().filter(kept_alive_by=EvidenceKind.OBSERVATION.value)
    return sum(observe_one(control, at) for control in rows.select_related("application").order_by("pk"))


def observe_one(control: Control, now: datetime) -> bool:
    """Ask about one control and keep the answer as evidence; False where nobody could tell."""
    observer = observer_of(control.watch.get("observer"))
    watch = {k: v for k, v in control.watch.items() if k != "observer"}
    seen = observer.look(watch, control.application, now) if observer else None
    if observer is None or seen is None:
        return False
    evidence = Evidence(EvidenceKind.OBSERVATION.value, seen.says.value, note=seen.note, source=observer.name)
    try:
        with transaction.atomic():
            note(locked(control.pk, None), evidence, by=None, now=now)
    except SecGuardError as refused:
        # Retired in between, or more evidence in a day than is kept: the others are asked all the same.
        log.warning("control_not_observed", control=control.pk, why=refused.detail)
        return False
    return True
