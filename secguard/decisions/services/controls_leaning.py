"""What decisions make of controls: which one leans on which, until when it counts for that, and how it ends.

Whoever needs both locks the controls' rows before the decisions', and those before the images' (``coverage.tell``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import User
from secguard.decisions.controls import COUNTS, ControlState, crosses, leans_on
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus
from secguard.decisions.models import Control, Decision, DecisionControl, counts_at
from secguard.decisions.queries.controls import covers, lapse_words, leaning, outside
from secguard.decisions.queries.scopes import Scope
from secguard.decisions.services.coverage import bring_in_step
from secguard.decisions.services.ending import end
from secguard.errors import Invalid, NotFound
from secguard.findings.models import Exposure

MAX_CONTROLS: Final = 20
BATCH: Final = 1000
LAPSED: Final = "control lapsed"
AHEAD: Final = timedelta(minutes=10)


# --- asking ---


def choose(ids: Iterable[int], kind: DecisionKind, scope: Scope, *, actor: User, now: datetime) -> list[Control]:
    """The controls that a request names, each one that may be leaned on over ``scope``.

    Raises ``Invalid`` where ``mitigate`` names none, for too many, for one that does not cover the scope, and for one
    that does not hold (one that nobody confirmed yet may be named: the approval waits for it); ``NotFound`` for one
    that ``actor`` may not see.
    """
    wanted = list(dict.fromkeys(ids))
    if kind is DecisionKind.MITIGATE and not wanted:
        raise Invalid(
            "To mitigate elsewhere is to name the control that does it; none is named. Choose one or more of "
            "/api/v1/controls/, or propose one there first.",
            code="control-needed",
            where="controls",
        )
    if len(wanted) > MAX_CONTROLS:
        raise Invalid(f"{len(wanted)} controls; expected are at most {MAX_CONTROLS}.", where="controls")
    if not wanted:
        return []
    rows = Control.objects.visible_to(actor).filter(pk__in=wanted).select_related("application")
    found = {control.pk: control for control in rows}
    for pk in wanted:
        if pk not in found:
            raise NotFound(f"There is no control {pk}.", where="controls")
        _check_fits(found[pk], scope, now)
    return [found[pk] for pk in wanted]


def _check_fits(control: Control, scope: Scope, now: datetime) -> None:
    if not covers(control, scope):
        place = control.application.name if control.application else ""
        raise Invalid(
            f"{control.name} covers application {place}, and the {scope.kind.value} does not lie inside it. Choose a "
            "narrower scope, or a control that covers it.",
            code="control-elsewhere",
            where="controls",
        )
    state = control.state_at(now)
    if state not in COUNTS and state is not ControlState.PROPOSED:
        raise Invalid(
            f"The decision would end at once: {lapse_words(control, now)}. Give evidence that it holds first.",
            code="control-state",
            where="controls",
        )


def lean(decision: Decision, controls: Sequence[Control]) -> None:
    DecisionControl.objects.bulk_create(DecisionControl(decision=decision, control=c) for c in controls)


# --- approving ---


def lock_for(decision_ids: Sequence[int]) -> None:
    """Lock the controls that these decisions lean on until the transaction ends: nobody changes them meanwhile."""
    named = DecisionControl.objects.filter(decision_id__in=bulk.among(decision_ids)).values("control_id")
    list(Control.objects.select_for_update(of=("self",)).filter(pk__in=named).order_by("pk").values_list("pk"))


def broken(decisions: Sequence[Decision], now: datetime) -> dict[int, str]:
    """{decision id: why it cannot count on its controls at ``now``}; those that can, or name none, are left out."""
    named = leaning([d.pk for d in decisions])
    beyond = _beyond(named)
    found = {}
    for pk, controls in named.items():
        words = [lapse_words(c, now, is_outside=(pk, c.pk) in beyond) for c in controls]
        if any(words):
            found[pk] = "; ".join(w for w in words if w)
    return found


def _beyond(decision_ids: Iterable[int]) -> set[tuple[int, int]]:
    rows = outside(Q(decision_id__in=list(decision_ids)))
    return set(rows.values_list("decision_id", "control_id"))


def begin(decisions: Sequence[Decision], now: datetime) -> None:
    """These are about to be approved: from now on they end with their controls. Their rows and those are locked."""
    named = leaning([d.pk for d in decisions])
    for decision in decisions:
        if decision.pk in named:
            decision.controls_until = _end_of(decision, named[decision.pk], now)
    _write([d for d in decisions if d.pk in named])


def _end_of(decision: Decision, controls: Iterable[Control], now: datetime) -> datetime:
    return leans_on(decision.controls_until, (c.holds_until(now) for c in controls), now)


def _write(decisions: Sequence[Decision]) -> None:
    by_end: dict[datetime | None, list[int]] = defaultdict(list)
    for decision in decisions:
        by_end[decision.controls_until].append(decision.pk)
    for until, ids in by_end.items():
        Decision.objects.filter(pk__in=bulk.among(ids)).update(controls_until=until)


# --- following a control ---


def end_overdue(control: Control, now: datetime) -> None:
    """What leaned on the control and lapsed before ``now`` ends now, before anything new is known of it: evidence that
    comes late brings nothing back (DESIGN rule 5)."""
    _end_where(Q(leaning__control=control), now)


def follow(control: Control, now: datetime) -> int:
    """Something became known of ``control``, whose row is locked: decisions in force follow, or end. Returns how many
    ended."""
    rows = Decision.objects.select_for_update(of=("self",)).filter(
        pk__in=DecisionControl.objects.filter(control=control).values("decision_id")
    )
    decisions = list(rows.filter(counts_at(now)).select_related("risk__vulnerability").order_by("pk"))
    # Read behind the decisions' locks: whoever follows another of their controls has written by now.
    named = leaning([d.pk for d in decisions])
    over, moved, shown = [], [], []
    for decision in decisions:
        old, new = decision.controls_until, _end_of(decision, named[decision.pk], now)
        if new <= now:
            over.append(decision)
        elif new != old:
            decision.controls_until = new
            moved.append(decision)
            shown += [decision] if crosses(old, new, control.life.every) else []
    _write(moved)
    if shown:
        bring_in_step({d.risk_id for d in shown}, now)
    _end(over, now)
    return len(over)


def _end(decisions: Sequence[Decision], now: datetime) -> None:
    if not decisions:
        return
    why = broken(decisions, now)
    for decision in decisions:
        decision.controls_until = min(decision.controls_until or now, now)
    _write(decisions)
    end(decisions, [f"{LAPSED}: {why[d.pk]}" if d.pk in why else LAPSED for d in decisions], now=now)


# --- the jobs ---


def end_lapsed(now: datetime | None = None) -> int:
    """Write down, and tell, what ended because a control lapsed; returns how many. Bookkeeping, as in ``end_due``: such
    a decision counts for nothing from that instant on, whether or not this runs."""
    at = now or timezone.now()
    let_go(Q(), at)
    return _end_where(Q(), at)


def _end_where(where: Q, now: datetime) -> int:
    total = 0
    while True:
        with transaction.atomic():
            due = Decision.objects.filter(where, status=DecisionStatus.APPROVED.value, controls_until__lte=now)
            ids = list(due.order_by("pk").values_list("pk", flat=True).distinct()[:BATCH])
            locked = Decision.objects.select_for_update(of=("self",)).filter(pk__in=ids)
            locked = locked.filter(status=DecisionStatus.APPROVED.value, controls_until__lte=now)
            rows = list(locked.select_related("risk__vulnerability").order_by("pk"))
            if not rows:
                return total
            _end(rows, now)
        total += len(rows)


def let_go(where: Q, now: datetime) -> int:
    """Decisions whose scope fits ``where`` and no longer lies inside what their controls cover count no more.

    Only the column is written, because the caller may hold images' locks already; the job ends them.
    """
    gone = outside(Q(decision__in=Decision.objects.filter(where & counts_at(now)).values("pk")))
    ids = list(gone.values_list("decision_id", flat=True).distinct())
    return Decision.objects.filter(pk__in=bulk.among(ids)).update(controls_until=now) if ids else 0


def freshen(now: datetime | None = None) -> int:
    """Bring lists in step that would soon show a decision as ended whose controls have newer evidence than they say."""
    at = now or timezone.now()
    leans = Decision.objects.filter(counts_at(at), controls_until__isnull=False)
    behind = Exposure.objects.filter(decision_id__in=leans.values("pk"), decided_until__lte=at + AHEAD)
    moved = leans.filter(pk__in=behind.values("decision_id")).exclude(
        Q(controls_until__lte=at + AHEAD) | Q(expires_at__lte=at + AHEAD)
    )
    risks = set(moved.values_list("risk_id", flat=True))
    if risks:
        with transaction.atomic():
            bring_in_step(risks, at)
    return len(risks)
