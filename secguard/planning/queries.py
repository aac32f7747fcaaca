"""Read checklists: for gates, and (by the pages and the API) for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone
from msgspec import Struct

from secguard.accounts.models import Application, Membership, User
from secguard.accounts.roles import PERMISSIONS, Permission
from secguard.errors import NotFound
from secguard.planning.checklist import Standing
from secguard.planning.models import Checklist, PlanningTemplate
from secguard.planning.services.standing import standings_of
from secguard.planning.template import kept_template


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


def checklist_of(application: Application) -> Checklist | None:
    """What is asked of an application that was found already; None where nothing is."""
    rows = Checklist.objects.filter(application=application)
    return rows.select_related("template", "application__team", "chosen_by").first()


def planned(user: User) -> QuerySet[Application]:
    """Every application that ``user`` may see, with its checklist or without; ``not_kept`` is missing and open."""
    rows = Application.objects.visible_to(user).select_related("team", "checklist__template")
    return rows.defer("checklist__template__source", "checklist__outcomes").annotate(
        not_kept=F("checklist__missing") + F("checklist__open")
    )


def standing_so(rows: QuerySet[Application], stage: str, state: str) -> QuerySet[Application]:
    """Those with a requirement in ``state`` (missing or open, where none is said) at ``stage``, or at any."""
    asked = Checklist.objects.all()
    if state == "none":
        return rows.filter(checklist=None)
    if state == "kept":
        met = ~_has(stage, "missing") & ~_has(stage, "open")
    elif state in ("", "unkept"):
        met = _has(stage, "missing") | _has(stage, "open")
    else:
        met = _has(stage, state)
    return rows.filter(pk__in=asked.exclude(counted_at=None).filter(met).values("application"))


def _has(stage: str, state: str) -> Q:
    """A stage's counts hold the states that there are; a checklist's columns hold all of them."""
    if stage:
        return Q(**{f"stages__{stage}__has_key": state})
    return Q(**{f"{state.replace('-', '_')}__gt": 0})


def answering(application: Application, user: User) -> list[str]:
    """Who may answer for an application: its team's own people, of those that ``user`` may see, at most ten."""
    roles = [role.value for role, may in PERMISSIONS.items() if Permission.DECISION_REQUEST in may]
    rows = Membership.objects.visible_to(user).filter(team=application.team_id, role__in=roles)
    names = rows.filter(user__is_active=True, user__is_service=False).order_by("user__username")
    return list(names.values_list("user__username", flat=True).distinct()[:10])


def templates(user: User) -> list[PlanningTemplate]:
    """The newest version of each template, with ``size`` (requirements) and ``used`` (applications that are seen)."""
    newest: dict[str, PlanningTemplate] = {}
    for row in PlanningTemplate.objects.defer("source").order_by("name", "-version"):
        newest.setdefault(row.name, row)
    counted = Checklist.objects.visible_to(user).order_by().values_list("template__name").annotate(n=Count("pk"))
    used = dict(counted)
    sources = dict(
        PlanningTemplate.objects.filter(pk__in=[row.pk for row in newest.values()]).values_list("pk", "source")
    )
    found: list[Any] = list(newest.values())
    for row in found:
        row.size, row.used = _size(sources[row.pk]), used.get(row.name, 0)
    return found


@lru_cache(maxsize=256)
def _size(source: str) -> int:
    return len(kept_template(source).requirements)


def may_be_asked(user: User, name: str) -> QuerySet[Application]:
    """The applications of which ``user`` may have the template ``name`` asked, and that it is not asked of yet."""
    rows = Application.objects.visible_to(user).exclude(checklist__template__name=name).order_by("name", "pk")
    if user.teams_with(Permission.POLICY_EDIT) is None:
        return rows
    teams = user.teams_with(Permission.DECISION_REQUEST)
    first = rows.filter(checklist=None)
    return first if teams is None else first.filter(team__in=teams)
