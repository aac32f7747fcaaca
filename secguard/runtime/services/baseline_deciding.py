"""What people decide about a baseline: that it is locked, that something expected joins it, that it is learned anew.

Four eyes (DESIGN rule 6): who asks never approves, by the approvals' rules and by the database's own law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import require
from secguard.approvals import services as approvals
from secguard.approvals.quorum import Choice, Standing
from secguard.approvals.services import UNOWNED, Ballot
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, SecGuardError
from secguard.images.models import ImageRepository
from secguard.runtime import baseline as rules
from secguard.runtime.baseline import Deviation, Status, Step
from secguard.runtime.baseline_items import Item, ItemKind, checked
from secguard.runtime.models import Baseline, BaselineChange, BaselineDeviation, BaselineItem, Origin
from secguard.runtime.services.baseline_learning import ITEM_COLUMNS

MAX_TEXT: Final = 4_000
MAX_ITEMS: Final = 200
SEATS: Final = {Role.SECURITY_REVIEWER: 1}
"""Who says yes: one reviewer of each team whose image it is, who is not the one who asks."""


@transaction.atomic
def ask(pk: int, reason: str, *, actor: User, now: datetime | None = None) -> BaselineChange:
    """Ask that a baseline is locked. Needs decision:request in a team whose image it is.

    From here on nothing joins it: what is approved is what was reviewed. Raises ``Conflict`` where it has not learned
    enough, or was asked for already.
    """
    at, words = now or timezone.now(), _text(reason)
    row = _baseline(pk, actor)
    _require_some(actor, Permission.DECISION_REQUEST, row)
    if row.status == Status.LEARNING:
        _end_learning(row, at)
    row.status = rules.after(Status(row.status), Step.ASK).value
    row.save(update_fields=["status", "learned_until"])
    made = _open(row, BaselineChange.LOCK, [], words, actor, at)
    _record(Action.BASELINE_ASK, row, actor, what="lock", reason=words[:500], **row.counts)
    return made


def _end_learning(row: Baseline, now: datetime) -> None:
    if lacking := rules.still_lacking(row.learning_since, row.events, len(row.replicas), now):
        raise Conflict(
            f"It has not learned enough to be locked: {', and '.join(lacking)}. Ask again once it has.",
            code="still-learning",
        )
    row.status, row.learned_until = rules.after(Status.LEARNING, Step.PROPOSE).value, now


@transaction.atomic
def expected(
    pk: int, items: Sequence[Item], reason: str, *, actor: User, now: datetime | None = None
) -> BaselineChange | None:
    """What was seen outside of a baseline is expected: it joins. Needs decision:request in a team whose image it is.

    While it is not locked, at once (``None``): all of it is reviewed before it is locked. A locked one grows once
    somebody else has approved it. Raises ``Conflict`` while its lock waits, ``Invalid`` without items or with too many.
    """
    at, words = now or timezone.now(), _text(reason)
    row = _baseline(pk, actor)
    _require_some(actor, Permission.DECISION_REQUEST, row)
    wanted = sorted({checked(item) for item in items[: MAX_ITEMS + 1]})
    if not 1 <= len(wanted) <= MAX_ITEMS:
        raise Invalid(f"Name 1 to {MAX_ITEMS} things that join; these are {len(wanted):,}.", where="items")
    if row.status == Status.ASKED:
        raise Conflict(
            "The baseline waits to be locked, as it is. Withdraw that, or wait for the answer.", code="baseline-state"
        )
    made = None
    if row.status == Status.LOCKED:
        made = _open(row, BaselineChange.JOIN, wanted, words, actor, at)
    else:
        _join(row, wanted)
    told = [str(item) for item in wanted[:20]]
    _record(Action.BASELINE_EXPECT, row, actor, items=told, reason=words[:500], waits=made is not None)
    return made


def expect_deviation(pk: int, reason: str, *, actor: User) -> BaselineChange | None:
    """``expected``, for what a baseline's page shows as outside of it. Raises ``Conflict`` for a rate or a volume: a
    range is learned, not said."""
    row = (
        BaselineDeviation.objects.seen_by(actor).filter(pk=pk, baseline__in=Baseline.objects.visible_to(actor)).first()
    )
    if row is None:
        raise NotFound(f"There is nothing {pk} outside of a baseline that you may see.")
    if row.deviation != Deviation.NAME:
        raise Conflict(
            "How often and how much is normal is learned. Learn the baseline anew, if this goes on.", code="learned"
        )
    return expected(row.baseline_id, [row.item], reason, actor=actor)


@transaction.atomic
def vote(pk: int, choice: Choice, *, comment: str = "", actor: User, now: datetime | None = None) -> BaselineChange:
    """Approve or reject what was asked for. Raises ``NotFound``; ``NotAllowed`` for one's own, or without the role;
    ``Conflict`` where it does not wait or this person voted already; ``Invalid`` for a rejection without words."""
    at = now or timezone.now()
    change, row = _waiting(pk, actor)
    ballot = Ballot(change.request_id, frozenset(teams_of(row)), is_severe=False)
    outcome = approvals.vote([ballot], actor=actor, choice=choice, comment=comment, now=at)[change.request_id]
    if isinstance(outcome, SecGuardError):
        raise outcome
    change.request.refresh_from_db()
    if outcome.standing is not Standing.PENDING:
        _carry_out(change, row, outcome.standing is Standing.APPROVED, at)
    _record(
        Action.BASELINE_VOTE, row, actor, what=change.what, vote=choice.value, comment=comment.strip()[:500],
        items=[str(item) for item in items_of(change)[:20]],
    )  # fmt: skip
    if row.status == Status.LOCKED and change.what == BaselineChange.LOCK:
        _record(Action.BASELINE_LOCK, row, actor, asked_by=change.asked_by.username, **row.counts)
    return change


def _carry_out(change: BaselineChange, row: Baseline, approved: bool, now: datetime) -> None:
    """The database holds what is written here against the approved request, which has not ended yet."""
    if change.what == BaselineChange.LOCK:
        row.status = rules.after(Status(row.status), Step.LOCK if approved else Step.REJECT).value
        if approved:
            row.locked_by, row.locked_at = change, now
            row.deviations.filter(is_new=True).delete()  # reviewed just now, with all that was learned
        row.save(update_fields=["status", "locked_by", "locked_at"])
    elif approved and row.status == Status.LOCKED:
        _join(row, items_of(change))
    change.ended_at = now
    change.save(update_fields=["ended_at"])


@transaction.atomic
def withdraw(pk: int, *, actor: User, now: datetime | None = None) -> BaselineChange:
    """Take back what was asked for and waits: who asked, or who may ask for the image."""
    at = now or timezone.now()
    change, row = _waiting(pk, actor)
    if change.asked_by_id != actor.pk:
        _require_some(actor, Permission.DECISION_REQUEST, row)
    if change.what == BaselineChange.LOCK:
        row.status = rules.after(Status(row.status), Step.WITHDRAW).value
        row.save(update_fields=["status"])
    change.ended_at = at
    change.save(update_fields=["ended_at"])
    approvals.close([change.request_id], now=at)
    change.request.refresh_from_db()
    _record(Action.BASELINE_WITHDRAW, row, actor, what=change.what)
    return change


@transaction.atomic
def reopen(pk: int, reason: str, *, actor: User, now: datetime | None = None) -> Baseline:
    """Learn it anew, from now on; what is normal stays so. A locked one needs decision:revoke in every team whose
    image it is, one that is only proposed decision:request in one of them."""
    at, words = now or timezone.now(), _text(reason)
    row = _baseline(pk, actor)
    was = Status(row.status)
    if was is Status.LOCKED:
        _require_all(actor, Permission.DECISION_REVOKE, row)
    else:
        _require_some(actor, Permission.DECISION_REQUEST, row)
    row.status = rules.after(was, Step.REOPEN).value
    row.learning_since, row.learned_until, row.events, row.replicas = at, None, 0, []
    row.locked_at = row.locked_by = None
    row.save()
    _close_waiting(row, at)
    _record(Action.BASELINE_REOPEN, row, actor, was=was.value, reason=words[:500])
    return row


def _close_waiting(row: Baseline, now: datetime) -> None:
    waiting = row.changes.filter(ended_at=None)
    approvals.close(list(waiting.values_list("request_id", flat=True)), now=now)
    waiting.update(ended_at=now)


# --- rows ---


def items_of(change: BaselineChange) -> list[Item]:
    return [Item(ItemKind(kind), name, how, port) for kind, name, how, port in change.items]


def teams_of(row: Baseline) -> set[int]:
    """The teams whose image it is; ``UNOWNED`` for a repository of nobody's."""
    places = ImageRepository.objects.filter(image=row.image_id)
    return {team or UNOWNED for team in places.values_list("repository__application__team_id", flat=True)} or {UNOWNED}


def _open(
    row: Baseline, what: str, items: Sequence[Item], reason: str, actor: User, now: datetime
) -> BaselineChange:  # fmt: skip
    return BaselineChange.objects.create(
        baseline=row,
        what=what,
        items=[[i.kind.value, i.name, i.how, i.port] for i in items],
        reason=reason,
        request=approvals.open_requests([SEATS], requester=actor, now=now)[0],
        asked_by=actor,
        asked_at=now,
    )


def _join(row: Baseline, items: Iterable[Item]) -> None:
    """They are normal from now on, and no longer shown as outside."""
    held = {item.item for item in BaselineItem.objects.filter(baseline=row).only("kind", "name", "how", "port")}
    outside = {one.item: one for one in row.deviations.filter(deviation=Deviation.NAME.value)}
    new = [item for item in items if item not in held]
    made = []
    for i in new:
        one = outside.get(i)
        short = i.name.rpartition("/")[2] if i.kind is ItemKind.PROCESS else ""
        team, at = (one.team_id, (one.first_at, one.last_at)) if one else (None, (None, None))
        origin = Origin.EXPECTED.value
        made.append(
            (row.pk, i.kind.value, i.name, i.how, i.port, short, origin, team, not one, 0, 0, *at, {}, {}, 0, 0, 0)
        )
    bulk.insert(BaselineItem, ITEM_COLUMNS, made)
    counts = dict(row.counts)
    for item in new:
        counts[item.kind.value] = counts.get(item.kind.value, 0) + 1
    row.counts = counts
    row.save(update_fields=["counts"])
    joined = [outside[item].pk for item in items if item in outside]
    row.deviations.filter(pk__in=joined).delete()


def _baseline(pk: int, actor: User) -> Baseline:
    seen = Baseline.objects.visible_to(actor).filter(pk=pk).values("pk")
    rows = Baseline.objects.select_for_update(of=("self",)).filter(pk__in=seen).select_related("image")
    found = rows.first()
    if found is None:
        raise NotFound(f"There is no baseline {pk} that you may see.", code="no-baseline")
    return found


def _waiting(pk: int, actor: User) -> tuple[BaselineChange, Baseline]:
    """The change and its baseline, both locked: the baseline first, as everybody does."""
    seen = BaselineChange.objects.visible_to(actor).filter(pk=pk)
    baseline = seen.values_list("baseline_id", flat=True).first()
    if baseline is None:
        raise NotFound(f"Nothing {pk} was asked of a baseline that you may see.", code="no-change")
    row = _baseline(baseline, actor)
    rows = BaselineChange.objects.select_for_update(of=("self",)).select_related("request", "asked_by")
    change = rows.get(pk=pk)
    if change.ended_at is not None or change.request.status != "open":
        raise Conflict("It does not wait for an answer any more.", code="change-state")
    return change, row


class _Place(NamedTuple):
    team_id: int | None
    application: Application | None
    repository: str


def _places(row: Baseline) -> list[_Place]:
    rows = ImageRepository.objects.filter(image=row.image_id).select_related("repository__application")
    found = [r.repository for r in rows.order_by("repository__name")]
    return [_Place(r.application.team_id if r.application else None, r.application, r.name) for r in found]


def _require_some(actor: User, permission: Permission, row: Baseline) -> None:
    refusal: NotAllowed | None = None
    for place in _places(row) or [_Place(None, None, "")]:
        try:
            _require(actor, permission, place)
        except NotAllowed as error:
            refusal = refusal or error
        else:
            return
    assert refusal is not None  # noqa: S101 - there is one place at least
    raise refusal


def _require_all(actor: User, permission: Permission, row: Baseline) -> None:
    for place in _places(row) or [_Place(None, None, "")]:
        _require(actor, permission, place)


def _require(actor: User, permission: Permission, place: _Place) -> None:
    require(
        actor, permission, team_id=place.team_id, application=place.application, repository=place.repository
    )  # fmt: skip


def may(actor: User, permission: Permission, row: Baseline, *, everywhere: bool = False) -> bool:
    """What a page can offer."""
    check: Callable[..., Any] = _require_all if everywhere else _require_some
    try:
        check(actor, permission, row)
    except NotAllowed:
        return False
    return True


def _text(raw: str) -> str:
    text = raw.strip()
    if not 1 <= len(text) <= MAX_TEXT or "\0" in text:
        raise Invalid(f"Say why, in 1 to {MAX_TEXT:,} characters; this has {len(text):,}.", where="reason")
    return text


def _record(action: Action, row: Baseline, actor: User, **details: object) -> None:
    teams = teams_of(row)
    team = next(iter(teams)) if len(teams) == 1 else UNOWNED
    record(
        action,
        actor=actor,
        subject_type="baseline",
        subject_id=row.pk,
        subject=row.image.digest,
        team_id=team or None,
        details={"status": row.status, **details},
    )
