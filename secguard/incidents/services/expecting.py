"""What was decided to be expected: it makes no incident, and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.images.models import ImageRepository
from secguard.incidents import grouping
from secguard.incidents.grouping import Expected, Matter, Told
from secguard.incidents.models import Expectation, Incident

MOST_EXPECTATIONS: Final = 20_000
"""So many of one batch's rules are looked at; the oldest first."""


def unexpected(told: Sequence[Told], now: datetime) -> list[Told]:
    """Those that no expectation covers; what is covered is counted with it."""
    standing = _standing({grouping.matter_of(one.event, one.line).rule for one in told}, now)
    if not standing:
        return list(told)
    places = _repositories({t.image_id for t in told if t.image_id}) if any(e.repository_id for e in standing) else {}
    kept, covered = [], Counter[int]()
    last: dict[int, datetime] = {}
    for one in told:
        found = grouping.covering(one.event, one.line, places.get(one.image_id or 0, ()), standing.get)
        if found is None:
            kept.append(one)
            continue
        covered[found] += one.line.count
        last[found] = max(last.get(found, one.line.at), one.line.at)
    _count(covered, last)
    return kept


def _standing(rules: Iterable[str], now: datetime) -> dict[Expected, int]:
    rows = Expectation.objects.standing(now).filter(rule__in=bulk.among(sorted(rules))).order_by("pk")
    columns = ("pk", "rule", "object", "place", "repository_id", "application_id")
    found = {}
    for pk, rule, matter, place, repository, application in rows.values_list(*columns)[:MOST_EXPECTATIONS]:
        of = application if repository else None
        found[Expected(Matter(rule, matter), place, repository, of)] = pk
    return found


def _repositories(image_ids: Iterable[int]) -> dict[int, list[int]]:
    rows = ImageRepository.objects.filter(image_id__in=bulk.among(sorted(image_ids)))
    found: dict[int, list[int]] = {}
    for image, repository in rows.order_by("repository_id").values_list("image_id", "repository_id"):
        found.setdefault(image, []).append(repository)
    return found


def _count(covered: Mapping[int, int], last: Mapping[int, datetime]) -> None:
    if not covered:
        return
    rows = Expectation.objects.filter(pk__in=bulk.among(sorted(covered))).order_by("pk").select_for_update(no_key=True)
    counted = [
        (pk, count + covered[pk], max(last[pk], at or last[pk]))
        for pk, count, at in rows.values_list("pk", "count", "last_at")
    ]
    bulk.update(Expectation, ("count", "last_at"), counted)


# --- deciding so ---

EXPECTED: Final[list[Callable[[Incident, datetime, User], None]]] = []
"""Called inside the transaction with an incident that was decided to be expected, until when, and by whom: the app of
baselines takes what is normal from it. Called in this order."""


def expect(incident: Incident, reason: str, until: datetime, in_repository: bool, *, actor: User, now: datetime) -> int:
    """Expect what the incident is made of, at its place or in its image's repository; returns of how many matters.

    Raises ``Invalid`` where the image lies in no repository of the incident's own application.
    """
    place, repository_id = incident.place, None
    if in_repository:
        place, repository_id = "", _repository(incident)
    matters = sorted(set(incident.stories.values_list("rule", "object")))
    same = {"place": place, "repository_id": repository_id, "application_id": incident.application_id}
    said = {"incident": incident, "until": until, "reason": reason, "decided_by": actor, "decided_at": now}
    Expectation.objects.bulk_create([Expectation(rule=r, object=o, **same, **said) for r, o in matters])
    for tell in EXPECTED:
        tell(incident, until, actor)
    return len(matters)


def _repository(incident: Incident) -> int:
    places = ImageRepository.objects.filter(image_id=incident.image_id or 0)
    own = places.filter(repository__application_id=incident.application_id) if incident.application_id else places
    found = own.order_by("repository__name").values_list("repository_id", flat=True).first()
    if found is None:
        raise Invalid(
            "Its image lies in no repository of the application, so there is no lineage to expect it in; expect it in "
            "this workload.",
            where="scope",
            code="no-lineage",
        )
    return found


def end_those_of(incident: Incident, *, actor: User, now: datetime) -> None:
    Expectation.objects.filter(incident=incident, ended_at=None).update(ended_at=now, ended_by=actor)


@transaction.atomic
def end(pk: int, *, actor: User) -> Expectation:
    """Let it make incidents again. Needs incident:handle in its application's team."""
    rows = Expectation.objects.visible_to(actor).select_related("application").select_for_update(of=("self",))
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no expectation {pk} that you may see.", code="no-expectation")
    team = found.application.team_id if found.application else None
    require(actor, Permission.INCIDENT_HANDLE, team_id=team, application=found.application)
    if found.ended_at is not None:
        raise Conflict(f"It was ended at {found.ended_at:%Y-%m-%d %H:%M} UTC already.", code="expectation-ended")
    found.ended_at, found.ended_by = timezone.now(), actor
    found.save(update_fields=["ended_at", "ended_by"])
    record(
        Action.EXPECTATION_END,
        actor=actor,
        subject_type="expectation",
        subject_id=found.pk,
        subject=str(found)[:300],
        team_id=team,
        details={"incident": found.incident_id},
    )
    return found
