"""What is decided to be expected joins the baseline of its image."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from secguard.accounts.models import User
from secguard.errors import Conflict, NotAllowed, NotFound
from secguard.incidents.models import Incident, IncidentEntry
from secguard.runtime.baseline import Deviation
from secguard.runtime.models import BaselineDeviation
from secguard.runtime.services import baselines
from secguard.runtime.story import stable

MOST_ITEMS = 200


def join(incident: Incident, _until: datetime, actor: User) -> None:
    """What of the incident stands outside of its image's baseline joins it: at once while that is still learned, once
    somebody else has approved where it is locked. Where it may not, the incident's history says so; it is expected all
    the same."""
    if incident.image_id is None:
        return
    objects = set(incident.stories.values_list("object", flat=True))
    rows = BaselineDeviation.objects.filter(
        baseline__image_id=incident.image_id, deviation=Deviation.NAME, last_at__gte=incident.first_at
    ).order_by("kind", "name", "pk")
    outside = [d for d in rows[:MOST_ITEMS] if any(stable(told) in objects for told in _named(d))]
    if not outside:
        return
    reason = f"Incident {incident.pk} is expected: {incident.reason}"[:2_000]
    try:
        change = baselines.expected(outside[0].baseline_id, [d.item for d in outside], reason, actor=actor)
    except (Conflict, NotAllowed, NotFound) as refused:
        words = f"it did not join the baseline of its image: {refused.detail}"
    else:
        words = "it joins the baseline of its image" + (", once somebody else approves" if change else "")
    IncidentEntry.objects.create(incident=incident, at=timezone.now(), person=actor, what=words[:200])


def _named(deviation: BaselineDeviation) -> tuple[str, ...]:
    """How a story would name it: a program, a file, or a peer with its port."""
    return deviation.name, f"{deviation.name}:{deviation.port}"
