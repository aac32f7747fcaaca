"""Whether events reach a system outside, for checklists (``planning.checks``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.urls import reverse

from secguard import bulk
from secguard.accounts.models import Application
from secguard.exports.models import ExportTarget
from secguard.exports.targets import State
from secguard.planning.checks import Check, Outcome

LATE: Final = timedelta(hours=1)
"""What waits for longer is not reaching its target."""


def _sent(application_ids: Sequence[int], now: datetime) -> dict[int, Outcome]:
    """Only how many targets there are: where events go is told to nobody else. Three queries."""
    teams = dict(Application.objects.filter(pk__in=bulk.among(application_ids)).values_list("pk", "team_id"))
    targets = ExportTarget.objects.in_bulk()
    wide = {pk for pk, target in targets.items() if target.is_wide}
    narrow = ExportTarget.objects.filter(
        Q(teams__in=bulk.among(sorted(set(teams.values())))) | Q(applications__in=bulk.among(application_ids)),
        is_wide=False,
    ).order_by()
    told = set(narrow.values_list("pk", "teams", "applications").distinct())
    found = {}
    for pk, team in teams.items():
        theirs = wide | {target for target, of_team, of_one in told if of_team == team or of_one == pk}
        found[pk] = _outcome(Counter(_state(targets[t], now) for t in theirs & targets.keys()))
    return found


def _state(target: ExportTarget, now: datetime) -> str:
    """``works``, ``new``, ``paused`` or ``late``."""
    if target.state == State.PAUSED:
        return "paused"
    is_late = target.waiting_since is not None and target.waiting_since <= now - LATE
    if target.state == State.STALLED or is_late:
        return "late"
    return "new" if target.sent_at is None else "works"


def _outcome(targets: Mapping[str, int]) -> Outcome:
    link = (("Exports", reverse("exports:list")),)
    total = sum(targets.values())
    if not total:
        says = "Nothing is sent to a system outside, such as a SIEM."
        return Outcome(state="missing", says=says, links=link, changes_at=None)
    if targets.get("works"):
        says = f"{targets['works']:,} of {total:,} {_noun(total)}: took what was sent last."
        return Outcome(state="kept", says=says, links=link, changes_at=None)
    if targets.get("new") == total:
        says = f"{total:,} {_noun(total)}: set up, and sent nothing yet."
        return Outcome(state="unmeasured", says=says, links=link, changes_at=None)
    says = f"{total - targets.get('new', 0):,} of {total:,} {_noun(total)}: stalled, late or paused."
    return Outcome(state="missing", says=says, links=link, changes_at=None)


def _noun(number: int) -> str:
    return "target" if number == 1 else "targets"


CHECKS: Final = (
    Check(
        name="events-exported",
        about="A system outside, such as a SIEM, is sent what happens, and took what it was sent last.",
        ask=_sent,
    ),
)
