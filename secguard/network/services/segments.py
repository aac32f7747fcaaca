"""Segments: made, changed and ended by whoever edits the workloads of the team, or of the whole organisation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.network import segmentation
from secguard.network.models import Segment, SegmentRule
from secguard.network.segmentation import Stance
from secguard.network.services import judging

MAX_SEGMENTS: Final = 200
MAX_TEXT: Final = 4_000


@dataclass(frozen=True, slots=True)
class SegmentEdit:
    """``members``: as :class:`~secguard.network.segmentation.Member` is written."""

    name: str
    members: Any
    description: str = ""
    stance: Stance = Stance.OBSERVE


@transaction.atomic
def create(edit: SegmentEdit, team_id: int | None, *, actor: User, now: datetime | None = None) -> Segment:
    """Make a segment of a team (``None``: of the whole organisation). Needs workload:edit there.

    Raises ``Invalid``, and ``Conflict`` where the name is taken or there are ``MAX_SEGMENTS``.
    """
    require(actor, Permission.WORKLOAD_EDIT, team_id=team_id)
    if Segment.objects.live().count() >= MAX_SEGMENTS:
        raise Conflict(f"There are {MAX_SEGMENTS} segments, which is the most. End one that nobody needs.", code="many")
    at = now or timezone.now()
    row = Segment(team_id=team_id, made_by=actor, made_at=at)
    _fill(row, edit, actor, at)
    _saved(row)
    _record(Action.SEGMENT_CREATE, row, actor)
    judging.ask()
    return row


@transaction.atomic
def edit(pk: int, edit: SegmentEdit, *, actor: User, now: datetime | None = None) -> Segment:
    """Change a segment. Needs workload:edit where it belongs.

    Raises ``Conflict`` where its members would change while a rule names it: who approved that rule approved it for
    the members that it had.
    """
    row = _segment(pk, actor)
    before = (row.members, row.stance)
    _fill(row, edit, actor, now or timezone.now())
    if row.members != before[0] and (rules := _naming(row)):
        raise Conflict(
            f"Approved for the members that it has: {_told(rules)}. Make another segment and ask for rules for it, or "
            "end these first.",
            code="named",
            where="members",
        )
    _saved(row)
    _record(Action.SEGMENT_EDIT, row, actor, before=before[1])
    judging.ask()
    return row


@transaction.atomic
def end(pk: int, *, actor: User, now: datetime | None = None) -> Segment:
    """Let a segment go; it is kept for what was said of it. Raises ``Conflict`` while a rule names it."""
    row = _segment(pk, actor)
    if rules := _naming(row):
        raise Conflict(f"It is named by {_told(rules)}. End what names it first.", code="named")
    row.ended_at = now or timezone.now()
    row.save(update_fields=["ended_at"])
    _record(Action.SEGMENT_END, row, actor)
    judging.ask()
    return row


def _segment(pk: int, actor: User) -> Segment:
    row = Segment.objects.visible_to(actor).live().select_for_update(of=("self",)).filter(pk=pk).first()
    if row is None:
        raise NotFound(f"There is no segment {pk} that you may see.", code="no-segment")
    require(actor, Permission.WORKLOAD_EDIT, team_id=row.team_id)
    return row


def _naming(row: Segment) -> list[int]:
    """Rules that are in force or wait, and name it."""
    rows = SegmentRule.objects.filter(ended_at=None, request__status__in=("open", "approved"))
    either = rows.filter(source_segment=row) | rows.filter(destination_segment=row)
    return list(either.order_by("pk").values_list("pk", flat=True))


def _told(rules: list[int]) -> str:
    more = f" and {len(rules) - 5} more" if len(rules) > 5 else ""
    return ", ".join(f"rule {n}" for n in rules[:5]) + more


def _fill(row: Segment, edit: SegmentEdit, actor: User, now: datetime) -> None:
    name = edit.name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise Invalid("A segment's name has 1 to 100 printable characters.", where="name")
    if len(edit.description) > MAX_TEXT or "\0" in edit.description:
        raise Invalid(f"The description has at most {MAX_TEXT:,} characters.", where="description")
    members = segmentation.members_of(edit.members)
    _require_known(members, row.team_id, actor)
    row.name, row.description = name, edit.description.strip()
    row.members = list(msgspec.to_builtins(members))
    if edit.stance is Stance.CLOSED and row.stance != Stance.CLOSED:
        row.closed_at = now
    row.stance = edit.stance.value


def _require_known(members: tuple[segmentation.Member, ...], team_id: int | None, actor: User) -> None:
    """An application that is named is one that the person may see, and of the segment's team."""
    wanted = {one.application for one in members if one.application}
    rows = Application.objects.visible_to(actor).filter(slug__in=wanted)
    found = set((rows.filter(team=team_id) if team_id else rows).values_list("slug", flat=True))
    if missing := sorted(wanted - found):
        whose = "of this team " if team_id else ""
        raise Invalid(f"There is no application {missing[0]!r} {whose}that you may see.", where="members")


def _saved(row: Segment) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Conflict(f"There is a segment {row.name!r} already.", code="name-taken", where="name") from error


def _record(action: Action, row: Segment, actor: User, **details: object) -> None:
    record(
        action,
        actor=actor,
        subject_type="segment",
        subject_id=row.pk,
        subject=row.name,
        team_id=row.team_id,
        details={"stance": row.stance, "members": row.members, **details},
    )
