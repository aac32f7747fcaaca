"""Count checklists anew, and tell whoever keeps answers that stand on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.planning.checklist import Answer, Standing, State, Waiver, stand
from secguard.planning.checks import CHECKS, Outcome
from secguard.planning.models import Checklist, RequirementAnswer, RequirementWaiver
from secguard.planning.template import Stage, kept_template

log = structlog.get_logger(__name__)

STALE: Final = timedelta(minutes=15)
"""How old a measurement may be before it is made anew."""
BATCH: Final = 200
MOST_A_RUN: Final = 2_000

CHANGED: list[Callable[[Sequence[int]], None]] = []
"""Called with application ids, in the transaction of the change, where what a gate reads of them is another now."""


def keep(now: datetime | None = None) -> int:
    """Count what is due: measured too long ago, never, or changed by the clock. Returns how many were."""
    at = now or timezone.now()
    due = Checklist.objects.due(at, at - STALE).order_by("counted_at", "pk").values_list("application_id", flat=True)
    ids = list(due[:MOST_A_RUN])
    for start in range(0, len(ids), BATCH):
        recount(ids[start : start + BATCH], at)
    return len(ids)


def recount(application_ids: Sequence[int], now: datetime, *, measure: bool = True) -> None:
    """Measure what is asked of these applications and write down how their checklists stand.

    Without ``measure`` what was measured last counts. A check that fails leaves its requirements unmeasured, and is
    logged: nobody's answer is taken for a measurement, nor a fault for a pass.
    """
    found = measured(application_ids, now) if measure else {}
    with transaction.atomic():
        rows = list(_locked(application_ids))
        before = {row.pk: _read_by_gates(row) for row in rows}
        standings = standings_of(rows, now, found if measure else None)
        for row in rows:
            _write(row, standings[row.pk], found.get(row.application_id), now)
        Checklist.objects.bulk_update(rows, _COLUMNS)
        changed = [row.application_id for row in rows if _turned(before[row.pk], _read_by_gates(row))]
        for follow in CHANGED if changed else ():
            follow(changed)


def measured(application_ids: Sequence[int], now: datetime) -> dict[int, dict[str, Outcome]]:
    """What the checks that the applications' templates name say: {application: {check: outcome}}."""
    rows = Checklist.objects.filter(application__in=application_ids).select_related("template")
    wanted: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        for name in {r.check for r in kept_template(row.template.source).requirements if r.check}:
            wanted[name].append(row.application_id)
    found: dict[int, dict[str, Outcome]] = {pk: {} for pk in application_ids}
    for name, ids in sorted(wanted.items()):
        for pk, outcome in _ask(name, ids, now).items():
            found[pk][name] = outcome
    return found


def _ask(name: str, ids: Sequence[int], now: datetime) -> Mapping[int, Outcome]:
    check = CHECKS.get(name)
    if check is None:
        return dict.fromkeys(ids, Outcome(state="unmeasured", says=f"There is no check {name!r} any more."))
    try:
        with transaction.atomic():
            return check.ask(ids, now)
    except Exception:
        log.exception("a measured check failed", check=name)
        return dict.fromkeys(ids, Outcome(state="unmeasured", says="It could not be measured: see the server's log."))


def standings_of(
    rows: Sequence[Checklist], now: datetime, found: Mapping[int, Mapping[str, Outcome]] | None = None
) -> dict[int, Standing]:
    """{checklist: how it stands at ``now``}, by what was measured last where nothing newer is given. Two queries."""
    answers: dict[int, list[Answer]] = defaultdict(list)
    for answer in latest_answers(rows):
        answers[answer.checklist_id].append(as_answer(answer))
    waivers: dict[int, list[Waiver]] = defaultdict(list)
    for waiver in RequirementWaiver.objects.filter(checklist__in=rows).select_related("request"):
        waivers[waiver.checklist_id].append(as_waiver(waiver))
    return {
        row.pk: stand(
            kept_template(row.template.source),
            kept_outcomes(row) if found is None else found.get(row.application_id, {}),
            answers[row.pk],
            waivers[row.pk],
            now,
        )
        for row in rows
    }


def latest_answers(rows: Sequence[Checklist]) -> QuerySet[RequirementAnswer]:
    """The last answer to each requirement: what was said before is kept, and counts for nothing."""
    said = RequirementAnswer.objects.filter(checklist__in=rows).order_by()
    return said.filter(pk__in=said.values("checklist_id", "requirement").annotate(last=Max("id")).values("last"))


def as_answer(row: RequirementAnswer) -> Answer:
    return Answer(
        id=row.pk,
        requirement=row.requirement,
        digest=row.digest,
        is_kept=row.is_kept,
        answered_at=row.answered_at,
        until=row.until,
    )


def as_waiver(row: RequirementWaiver) -> Waiver:
    return Waiver(
        id=row.pk,
        requirement=row.requirement,
        digest=row.digest,
        is_approved=row.is_approved,
        asked_at=row.asked_at,
        until=row.until,
    )


def kept_outcomes(row: Checklist) -> dict[str, Outcome]:
    """What was measured last, as it was written down."""
    return msgspec.convert(row.outcomes, dict[str, Outcome])


def follow_application(application: Application) -> None:
    """``accounts.services.APPLICATION_FOLLOWERS``: whose it is, and whether it is exposed, is measured anew soon."""
    Checklist.objects.filter(application=application).update(counted_at=None)


_COLUMNS = (
    "outcomes",
    "stages",
    "unkept",
    "kept",
    "missing",
    "open",
    "not_applicable",
    "measured_at",
    "counted_at",
    "next_change",
)


def _locked(application_ids: Iterable[int]) -> Iterable[Checklist]:
    rows = Checklist.objects.select_for_update(of=("self",)).filter(application__in=application_ids)
    return rows.select_related("template").order_by("pk")


def _write(row: Checklist, standing: Standing, found: Mapping[str, Outcome] | None, now: datetime) -> None:
    counts = standing.counts
    row.kept, row.missing = counts[State.KEPT], counts[State.MISSING]
    row.open, row.not_applicable = counts[State.OPEN], counts[State.NOT_APPLICABLE]
    row.unkept = list(standing.missing)
    stages: dict[str, dict[str, int]] = {stage.value: {} for stage in Stage}
    for item in standing.items:
        of = stages[item.requirement.stage.value]
        of[item.state.value] = of.get(item.state.value, 0) + 1
    row.stages, row.next_change, row.counted_at = stages, standing.next_change, now
    if found is not None:
        row.outcomes, row.measured_at = msgspec.to_builtins(dict(found)), now


_Read = tuple[int, tuple[str, ...], datetime | None]


def _read_by_gates(row: Checklist) -> _Read:
    return row.template_id, tuple(row.unkept), row.next_change


def _turned(before: _Read, after: _Read) -> bool:
    """A later turn than was thought needs nobody's haste: what stands on the earlier one is asked again then."""
    is_sooner = after[2] is not None and (before[2] is None or after[2] < before[2])
    return before[:2] != after[:2] or is_sooner


def state_of(row: Checklist) -> dict[str, Any]:
    """The counts, for the audit log and for people."""
    return {"kept": row.kept, "missing": row.missing, "open": row.open, "not_applicable": row.not_applicable}
