"""What decisions and the risk appetite know, for checklists (``planning.checks``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Min, Q
from django.urls import reverse

from secguard import bulk
from secguard.accounts.models import Application, Membership
from secguard.accounts.queries import application_slugs
from secguard.accounts.roles import APPROVERS
from secguard.decisions.models import RiskAppetite
from secguard.findings.models import Exposure
from secguard.images.models import Repository
from secguard.planning.checks import Check, Outcome

ENOUGH: Final = 2
"""So many people have to hold a role that approves, for one to decide on what another asks for."""


# --- what stands open ---


def _open(application_ids: Sequence[int], now: datetime, counted: Q, watched: Q) -> dict[int, dict[str, Any]]:
    """{application: how many of its open risks are ``counted`` and covered by no decision, and when by the clock alone
    the next of those that are ``watched`` may be}. One query."""
    covered = Q(decided_until__gt=now)
    bare = Q(decided_until=None) | Q(decided_until__lte=now)
    # By the repositories, which have an index; an exposure's own application is that of its repository.
    theirs = Repository.objects.filter(application__in=bulk.among(application_ids))
    rows: Any = Exposure.objects.present().filter(repository__in=theirs).order_by()
    found = rows.values("application_id").annotate(
        n=Count("pk", filter=counted & bare),
        next_end=Min("decided_until", filter=covered & watched),
        next_due=Min("due_at", filter=bare & watched & Q(due_at__gt=now)),
    )
    return {row["application_id"]: row for row in found}


def _covering(application_ids: Sequence[int], now: datetime, counted: Q) -> dict[int, set[int]]:
    """{application: the decisions that cover open risks that are ``counted``}. One query."""
    theirs = Repository.objects.filter(application__in=bulk.among(application_ids))
    rows = Exposure.objects.present().filter(counted, repository__in=theirs, decided_until__gt=now).order_by()
    found: dict[int, set[int]] = defaultdict(set)
    for application, decision in rows.values_list("application_id", "decision_id").distinct():
        if application is not None and decision is not None:
            found[application].add(decision)
    return dict(found)


def _covering_deadlines(application_ids: Sequence[int], now: datetime) -> dict[int, set[int]]:
    return _covering(application_ids, now, Q(due_at__lte=now))


def _covering_exploited(application_ids: Sequence[int], now: datetime) -> dict[int, set[int]]:
    return _covering(application_ids, now, Q(known_exploited=True))


def _scanned(application_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """{application: (its repositories that have an image, those whose newest was never scanned)}. One query."""
    rows: Any = Repository.objects.filter(application__in=bulk.among(application_ids), newest_image__isnull=False)
    never = Count("pk", filter=Q(newest_image__last_scanned_at=None))
    found = rows.order_by().values_list("application_id").annotate(n=Count("pk"), never=never)
    return {pk: (n, without) for pk, n, without in found}


def _deadlines(application_ids: Sequence[int], now: datetime) -> dict[int, Outcome]:
    rows = _open(application_ids, now, Q(due_at__lte=now), Q(due_at__isnull=False))
    return _of_newest(
        application_ids, rows, "past its deadline", "past their deadlines", "Nothing is past its deadline.", "overdue"
    )


def _exploited(application_ids: Sequence[int], now: datetime) -> dict[int, Outcome]:
    rows = _open(application_ids, now, Q(known_exploited=True), Q(known_exploited=True))
    words = "known to be exploited and without a decision"
    return _of_newest(application_ids, rows, words, words, "Nothing known to be exploited is without a decision.", "")


def _of_newest(
    application_ids: Sequence[int],
    rows: Mapping[int, Mapping[str, Any]],
    one: str,
    several: str,
    none: str,
    deadline: str,
) -> dict[int, Outcome]:
    scanned, slugs = _scanned(application_ids), application_slugs(application_ids)
    narrowed = f"deadline={deadline}" if deadline else "known_exploited=true&decided=false"
    found = {}
    for pk in application_ids:
        row, (images, never) = rows.get(pk, {}), scanned.get(pk, (0, 0))
        number = row.get("n", 0)
        changes_at = min((at for at in (row.get("next_end"), row.get("next_due")) if at), default=None)
        page, here = reverse("risks:work"), f"application={slugs.get(pk, '')}"
        if number:
            says = f"{number:,} open {'risk is' if number == 1 else 'risks are'} {one if number == 1 else several}."
            links: tuple[tuple[str, str], ...] = ((says.rstrip("."), f"{page}?{here}&{narrowed}"),)
            found[pk] = Outcome(state="missing", says=says, links=links, changes_at=changes_at)
        elif not images:
            says = "It has no image yet: nothing was reported or pushed to its repositories."
            found[pk] = Outcome(state="unmeasured", says=says, links=(), changes_at=changes_at)
        elif never:
            says = f"{never:,} of {images:,} newest images: never scanned, so what is in them is not known."
            unscanned = f"/images/?lacking={slugs.get(pk, '')}:images-scanned"
            links = (("Images that were not scanned", unscanned),)
            found[pk] = Outcome(state="unmeasured", says=says, links=links, changes_at=changes_at)
        else:
            links = (("Open risks", f"{page}?{here}"),)
            found[pk] = Outcome(state="kept", says=none, links=links, changes_at=changes_at)
    return found


# --- who decides, and by what ---


def _approvers(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    applications = Application.objects.in_bulk(list(application_ids))
    teams = {a.team_id for a in applications.values()}
    held = Membership.objects.filter(
        Q(team=None) | Q(team__in=bulk.among(sorted(teams))),
        role__in=sorted(APPROVERS),
        user__is_active=True,
        user__is_service=False,
    )
    people: dict[int | None, set[int]] = defaultdict(set)
    for team, user in held.order_by().values_list("team_id", "user_id"):
        people[team].add(user)
    found = {}
    for pk, application in applications.items():
        number = len(people[None] | people[application.team_id])
        says = f"{number:,} {'person holds' if number == 1 else 'people hold'} a role that approves for its team."
        found[pk] = Outcome(
            state="kept" if number >= ENOUGH else "missing",
            says=says if number >= ENOUGH else f"{says} Expected are at least {ENOUGH}.",
            links=(("Who approves what", reverse("decisions:appetite")),),
            changes_at=None,
        )
    return found


def _appetite(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    active = RiskAppetite.objects.filter(is_active=True).values_list("number", flat=True).first()
    outcome = (
        Outcome(state="missing", says="No risk appetite is in force.", links=(), changes_at=None)
        if active is None
        else Outcome(
            state="kept",
            says=f"Version {active} of the risk appetite is in force.",
            links=((f"Risk appetite, version {active}", reverse("decisions:appetite-version", args=[active])),),
            changes_at=None,
        )
    )
    return dict.fromkeys(application_ids, outcome)


CHECKS: Final = (
    Check(
        name="deadlines-kept",
        about="Nothing in the newest images is past its deadline, unless a decision covers it.",
        ask=_deadlines,
        covered=_covering_deadlines,
    ),
    Check(
        name="exploited-decided",
        about="Nothing in the newest images is known to be exploited and without a decision in force.",
        ask=_exploited,
        covered=_covering_exploited,
    ),
    Check(
        name="approvers-enough",
        about="At least two active people hold a role that approves decisions for the application's team.",
        ask=_approvers,
    ),
    Check(name="appetite-in-force", about="A risk appetite is in force.", ask=_appetite),
)
