"""Read checklists: for gates, and (by the pages and the API) for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.utils import timezone
from msgspec import Struct

from secguard.accounts.models import Application, User
from secguard.errors import NotFound
from secguard.planning.checklist import Standing
from secguard.planning.models import Checklist
from secguard.planning.services.standing import standings_of


class Reading(Struct, frozen=True, kw_only=True):
    """What a gate asks of an application's checklist at an instant."""

    template: str
    unkept: tuple[str, ...]
    """Ids of the requirements that are not known to be kept, sorted."""
    next_change: datetime | None


def readings(application_ids: Iterable[int], now: datetime) -> dict[int, Reading]:
    """{application: its checklist as it stands at ``now``}, of those that have one.

    One query; where the clock has changed one since it was counted, three more that count it now: nothing passes on an
    answer that has ended because a job has not run yet.
    """
    rows = list(Checklist.objects.filter(application__in=set(application_ids)).select_related("template"))
    late = [row for row in rows if row.counted_at is None or (row.next_change is not None and row.next_change <= now)]
    standings = standings_of(late, now) if late else {}
    return {row.application_id: _reading(row, standings.get(row.pk)) for row in rows}


def _reading(row: Checklist, standing: Standing | None) -> Reading:
    unkept = tuple(row.unkept) if standing is None else standing.missing
    turn = row.next_change if standing is None else standing.next_change
    return Reading(template=row.template.name, unkept=unkept, next_change=turn)


def application_of(slug: str, user: User) -> Application:
    """The application of that slug, if ``user`` may see it; else ``NotFound``."""
    found = Application.objects.visible_to(user).select_related("team").filter(slug=slug).first()
    if found is None:
        raise NotFound(f"There is no application {slug[:100]!r}.")
    return found


def standing_of(checklist: Checklist, now: datetime | None = None) -> Standing:
    """Every item of one checklist, at ``now``."""
    return standings_of([checklist], now or timezone.now())[checklist.pk]


def checklists_of(application_ids: Sequence[int], user: User) -> list[Checklist]:
    """The checklists of these applications that ``user`` may see."""
    return list(Checklist.objects.visible_to(user).filter(application__in=application_ids).select_related("template"))
