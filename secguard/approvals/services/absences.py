"""Being away: who votes in one's seat meanwhile.

The deputy votes as themselves, with the rights that the person has at that instant, and never passes them on: nobody
who is away at the time is anybody's deputy, so there are no chains.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import APPROVERS, Permission
from secguard.accounts.services import require
from secguard.approvals.models import Absence
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound

LONGEST = timedelta(days=90)
EARLY = timedelta(days=365)
"""How long before it begins an absence may be noted."""


def name_deputy(
    deputy: str, *, starts_at: datetime, ends_at: datetime, actor: User, now: datetime | None = None
) -> Absence:
    """``actor`` is away for a time, and ``deputy`` (a username) votes in their seat. Everybody says so for themselves.

    Raises ``NotAllowed`` with a token, and for whoever has no vote to give; ``NotFound`` for a person whom ``actor``
    does not see; ``Invalid`` for a period that is none, is past or too long, for oneself, a service, and somebody who
    does not see the teams concerned; ``Conflict`` where either of the two is away or a deputy at that time already.
    """
    at = now or timezone.now()
    _check_period(starts_at, ends_at, at)
    if actor.token is not None:
        raise NotAllowed(
            "A deputy is named by the person, not with a token. Sign in, and do it there.", code="by-token"
        )
    with transaction.atomic():
        chosen = User.objects.visible_to(actor).filter(username__iexact=deputy.strip()[:150]).first()
        if chosen is None:
            raise NotFound(f"There is no {deputy.strip()[:150]!r} among the people you see.", where="deputy")
        # In one order: two who name each other at the same moment come one after the other.
        locked = User.objects.select_for_update().filter(pk__in=[actor.pk, chosen.pk]).order_by("pk")
        people = {user.pk: user for user in locked}
        _check_people(people[actor.pk], people[chosen.pk])
        _check_free(people[actor.pk], people[chosen.pk], starts_at, ends_at)
        made = Absence.objects.create(
            person=people[actor.pk], deputy=people[chosen.pk], starts_at=starts_at, ends_at=ends_at, created_at=at
        )
        _record(Action.ABSENCE_CREATE, made, actor)
    return made


def end_absence(pk: int, *, actor: User, now: datetime | None = None) -> Absence:
    """Back before the time: from now on the deputy votes for nobody. The person, or whoever manages people.

    Raises ``NotFound``, ``NotAllowed`` for the deputy, and ``Conflict`` where it has ended.
    """
    at = now or timezone.now()
    with transaction.atomic():
        seen = Absence.objects.visible_to(actor).filter(pk=pk).values("pk")
        rows = Absence.objects.select_for_update(of=("self",)).filter(pk__in=seen).select_related("person", "deputy")
        found = rows.first()
        if found is None:
            raise NotFound(f"There is no absence {pk} that you may see.")
        if found.person_id != actor.pk or actor.token is not None:
            require(actor, Permission.USER_MANAGE)
        if found.until <= at:
            raise Conflict(f"That ended on {found.until:%Y-%m-%d %H:%M} UTC already.", code="absence-ended")
        found.ended_at = at
        found.save(update_fields=["ended_at"])
        _record(Action.ABSENCE_END, found, actor)
    return found


def _check_period(starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    if ends_at <= starts_at or ends_at <= now:
        raise Invalid(
            f"From {starts_at:%Y-%m-%d %H:%M} to {ends_at:%Y-%m-%d %H:%M} UTC is no time to come; the end is expected "
            "after the beginning, and after now.",
            where="ends_at",
        )
    if ends_at - starts_at > LONGEST or starts_at - now > EARLY:
        raise Invalid(
            f"Expected are at most {LONGEST.days} days, beginning within {EARLY.days}. For longer, an administrator "
            "gives the other person the role.",
            where="ends_at",
        )


def _check_people(person: User, deputy: User) -> None:
    if deputy.pk == person.pk:
        raise Invalid("Nobody is their own deputy; name somebody else.", where="deputy")
    if deputy.is_service or not deputy.is_active:
        raise Invalid(f"{deputy} cannot sign in and vote; name a person who can.", where="deputy")
    teams = {team for role, team in person.grants() if role in APPROVERS}
    if not teams:
        raise NotAllowed("You have no vote that somebody could cast for you: none of your roles approves anything.")
    if not deputy.sees_everything and (None in teams or not teams <= deputy.team_ids):
        raise Invalid(
            f"{deputy} does not see everything that you may decide on. Name somebody of the same teams, or have an "
            "administrator give them a role there.",
            where="deputy",
        )


def _check_free(person: User, deputy: User, starts_at: datetime, ends_at: datetime) -> None:
    then = Absence.objects.touching(starts_at, ends_at)
    if mine := then.filter(person=person).first():
        raise Conflict(
            f"You are away from {mine.starts_at:%Y-%m-%d} to {mine.until:%Y-%m-%d} already. End that first.",
            code="absence-overlaps",
        )
    if theirs := then.filter(person=deputy).first():
        raise Conflict(
            f"{deputy} is away then as well, until {theirs.until:%Y-%m-%d}; a vote is not passed on twice. Name "
            "somebody who is there.",
            code="absence-chain",
        )
    if for_other := then.filter(deputy=person).select_related("person").first():
        raise Conflict(
            f"You vote for {for_other.person} until {for_other.until:%Y-%m-%d}; a vote is not passed on twice. They "
            "have to name somebody else first.",
            code="absence-chain",
        )


def _record(action: Action, row: Absence, actor: User) -> None:
    record(
        action,
        actor=actor,
        subject_type="user",
        subject_id=row.person_id,
        subject=row.person.username,
        details={
            "deputy": row.deputy.username,
            "starts_at": row.starts_at.isoformat(),
            "ends_at": row.ends_at.isoformat(),
        },
    )
