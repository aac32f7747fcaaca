"""Measure applications for the frameworks in force, and keep what changed as intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from msgspec import Struct

from secguard import bulk
from secguard.accounts.models import Application
from secguard.compliance.models import MAX_SAYS, FrameworkVersion, MeasuredApplication, MeasureStanding
from secguard.compliance.services import evidence
from secguard.compliance.standing import TRUST, State
from secguard.planning.checks import CHECKS, Outcome
from secguard.planning.counting import COUNTED, Rows

log = structlog.get_logger(__name__)

STALE: Final = timedelta(minutes=15)
"""How old a measurement may be before it is made anew."""
BATCH: Final = 200
MOST_A_RUN: Final = 5_000
MOST_LINKS: Final = 5
_STATES: Final = {"kept": State.PASS, "missing": State.FAIL, "unmeasured": State.UNMEASURED}
Progress = Callable[[str, int, int], None]


class Asked(Struct):
    """What one check said of several applications."""

    outcomes: Mapping[int, Outcome]
    rows: Mapping[int, Rows]
    covering: Mapping[int, Collection[int]]
    """Decisions, by application."""
    is_broken: bool = False


class Found(Struct):
    """One check at one application, ready to be kept."""

    state: State
    says: str
    same: str
    """What stays the same while nothing has changed: the words, but for numbers that grow by themselves."""
    rows: Rows | None
    evidence: dict[str, Any]
    exceptions: list[dict[str, Any]]
    turns_at: datetime | None

    def fingerprint(self, team_id: int) -> str:
        """Of everything that was measured: where it stays the same, nothing is written. Which rows are fine may
        change with every push, and is none of it."""
        rows = (
            None if self.rows is None else [len(self.rows.total), sorted(self.rows.lacking), sorted(self.rows.untold)]
        )
        links = self.evidence.get("links", [])
        whole = [team_id, int(self.state), self.same, rows, links, self.exceptions, self.evidence.get("exceptions", 0)]
        return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:32]


# --- when ---


def measure_due(now: datetime | None = None, *, progress: Progress | None = None) -> int:
    """Measure what is due: never, too long ago, turned by the clock, or changed. Returns how many applications were."""
    at = now or timezone.now()
    due = Q(measured=None) | Q(measured__measured_at__lte=at - STALE)
    due |= Q(measured__turns_at__lte=at) | Q(measured__is_due=True)
    rows = Application.objects.filter(due).order_by("measured__measured_at", "pk")
    return _measure_all(list(rows.values_list("pk", flat=True)[:MOST_A_RUN]), at, progress)


def measure_everything(now: datetime | None = None) -> int:
    """Measure every application at once: where an estate has just come into being, such as the sample."""
    return _measure_all(list(Application.objects.order_by("pk").values_list("pk", flat=True)), now or timezone.now())


def _measure_all(ids: Sequence[int], at: datetime, progress: Progress | None = None) -> int:
    for start in range(0, len(ids), BATCH):
        measure(ids[start : start + BATCH], at)
        if progress is not None:
            progress("measuring applications", min(start + BATCH, len(ids)), len(ids))
    return len(ids)


def follow_application(application: Application) -> None:
    """``accounts.services.APPLICATION_FOLLOWERS``: whose it is, and whether it is exposed, is measured anew soon."""
    MeasuredApplication.objects.filter(application=application).update(is_due=True)


def follow_checklists(application_ids: Sequence[int]) -> None:
    """``planning.services.CHANGED``: what is not applicable may be another now."""
    MeasuredApplication.objects.filter(application__in=bulk.among(application_ids)).update(is_due=True)


# --- what ---


def checks_in_force(now: datetime) -> list[str]:
    """Every check that a framework in force names, sorted. One query."""
    rows = FrameworkVersion.objects.in_force(now)
    return sorted(set().union(*(row.parsed.checks for row in rows)))


def measure(application_ids: Sequence[int], now: datetime) -> None:
    """Ask every check of these applications and keep what is another than before.

    The same number of statements for any number of applications. A check that fails leaves what it asks for
    unmeasured, and is logged. An application that was measured later than ``now`` is passed over.
    """
    names = checks_in_force(now)
    teams = dict(Application.objects.filter(pk__in=bulk.among(application_ids)).values_list("pk", "team_id"))
    ids = sorted(teams)
    asked = {name: _ask(name, ids, now) for name in names}
    waivers = evidence.waivers(ids, now)
    decisions = evidence.decisions(pk for one in asked.values() for pks in one.covering.values() for pk in pks)
    counted = [(COUNTED[name], one.rows) for name, one in asked.items() if name in COUNTED and one.rows]
    labels = evidence.name_rows(counted)
    found: dict[tuple[int, str], Found] = {}
    for name, one in asked.items():
        for pk in ids:
            found[pk, name] = _found(name, one, pk, waivers.get((pk, name), ()), decisions, labels, now)
    with transaction.atomic():
        _keep(teams, found, now)


def _ask(name: str, ids: Sequence[int], now: datetime) -> Asked:
    check, counting = CHECKS.get(name), COUNTED.get(name)
    if check is None:
        says = f"There is no check {name!r} any more."
        return Asked(dict.fromkeys(ids, Outcome(state="unmeasured", says=says)), {}, {}, is_broken=True)
    try:
        with transaction.atomic():
            rows = counting.measure(ids, now) if counting else {}
            outcomes = counting.outcomes(rows, ids) if counting else check.ask(ids, now)
            return Asked(outcomes, rows, check.covered(ids, now) if check.covered else {})
    except Exception:
        log.exception("a measured check failed", check=name)
        says = "It could not be measured: see the server's log."
        return Asked(dict.fromkeys(ids, Outcome(state="unmeasured", says=says)), {}, {}, is_broken=True)


_UNTOLD: Final = Outcome(state="unmeasured", says="The check says nothing of this application.")


def _found(
    name: str,
    asked: Asked,
    pk: int,
    waivers: Sequence[dict[str, Any]],
    decisions: Mapping[int, dict[str, Any]],
    labels: Mapping[tuple[str, int], str],
    now: datetime,
) -> Found:
    outcome = asked.outcomes.get(pk, _UNTOLD)
    state = _STATES[outcome.state]
    covering = sorted(asked.covering.get(pk, ()), reverse=True)
    exceptions: list[dict[str, Any]] = []
    number = 0
    if state is State.PASS and covering:
        state, number = State.EXCEPTION, len(covering)
        exceptions = [decisions[d] for d in covering if d in decisions]
    elif state is not State.PASS and waivers and not asked.is_broken:
        state, number, exceptions = State.EXCEPTION, len(waivers), list(waivers)
    rows = (asked.rows.get(pk, Rows()) if not asked.is_broken else None) if name in COUNTED else None
    kept = evidence.of_rows(COUNTED[name], rows, labels) if rows is not None else {}
    kept["links"] = [list(link) for link in outcome.links[:MOST_LINKS]]
    if number:
        kept["exceptions"] = number
    ends = [datetime.fromisoformat(one["until"]) for one in exceptions]
    turns = [at for at in (outcome.changes_at, *ends) if at is not None and at > now]
    return Found(
        state=state,
        says=_bounded(outcome.says),
        same=outcome.same or outcome.says,
        rows=rows,
        evidence=kept,
        exceptions=exceptions[: evidence.NAMED],
        turns_at=min(turns, default=None),
    )


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_SAYS else text[: MAX_SAYS - 1] + "…"


# --- written down ---


def _keep(teams: Mapping[int, int], found: Mapping[tuple[int, str], Found], now: datetime) -> None:
    """Close what is another now, and open what it is. Five statements."""
    seen = MeasuredApplication.objects.select_for_update().filter(application__in=bulk.among(sorted(teams)))
    last = dict(seen.order_by("pk").values_list("pk", "measured_at"))
    ids = [pk for pk in teams if pk not in last or last[pk] < now]
    prints = {key: one.fingerprint(teams[key[0]]) for key, one in found.items() if key[0] in set(ids)}
    standing = MeasureStanding.objects.current().filter(application__in=bulk.among(ids)).order_by("pk")
    closed, moved, stays = [], [], set()
    for pk, application, name, print_, turns_at in standing.values_list(*_STANDING):
        one, trusted = found.get((application, name)), last.get(application, now) + TRUST
        turned = turns_at is not None and turns_at <= now
        if trusted <= now:  # nobody looked for so long that nothing was known any more
            closed.append((pk, trusted))
        elif one is None or turned or print_ != prints[application, name]:
            closed.append((pk, now))
        else:
            stays.add((application, name))
            if (turn := _turn(one)) != turns_at:
                moved.append((pk, turn))
    bulk.update(MeasureStanding, ("until",), closed)
    bulk.update(MeasureStanding, ("turns_at",), moved)
    opened = [key for key in prints if key not in stays]
    MeasureStanding.objects.bulk_create(
        (_row(key, found[key], teams[key[0]], prints[key], now) for key in opened), batch_size=500
    )
    _mark(ids, found, now)


_STANDING: Final = ("pk", "application_id", "measure", "fingerprint", "turns_at")


def _turn(one: Found) -> datetime | None:
    """What fails, or is not measured, is so until somebody looks again."""
    return None if one.state in (State.FAIL, State.UNMEASURED) else one.turns_at


def _row(key: tuple[int, str], one: Found, team_id: int, fingerprint: str, now: datetime) -> MeasureStanding:
    rows = one.rows
    return MeasureStanding(
        application_id=key[0],
        measure=key[1],
        team_id=team_id,
        state=int(one.state),
        says=one.says,
        total=None if rows is None else len(rows.total),
        lacking=None if rows is None else len(rows.lacking),
        untold=None if rows is None else len(rows.untold),
        evidence=one.evidence,
        exceptions=one.exceptions,
        fingerprint=fingerprint,
        since=now,
        turns_at=_turn(one),
    )


def _mark(ids: Iterable[int], found: Mapping[tuple[int, str], Found], now: datetime) -> None:
    turns: dict[int, datetime] = {}
    for (application, _), one in found.items():
        if one.turns_at is not None:
            turns[application] = min(one.turns_at, turns.get(application, one.turns_at))
    MeasuredApplication.objects.bulk_create(
        [MeasuredApplication(application_id=pk, measured_at=now, turns_at=turns.get(pk)) for pk in ids],
        update_conflicts=True,
        unique_fields=["application"],
        update_fields=["measured_at", "turns_at", "is_due"],
        batch_size=500,
    )
