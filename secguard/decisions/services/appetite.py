"""The risk appetite: versions, and which one holds."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from django.db import IntegrityError, transaction
from django.db.models import DurationField, ExpressionWrapper, F, Max, Q, QuerySet, Value
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.decisions.appetite import Appetite, Case, parse_appetite
from secguard.decisions.models import RiskAppetite
from secguard.decisions.queries import deadlines as queries
from secguard.errors import Conflict, NotFound
from secguard.findings.identity import FindingKind
from secguard.findings.models import Exposure
from secguard.findings.services.exposures import lock
from secguard.findings.severity import Severity

DEFAULT = Path(__file__).resolve().parent.parent / "appetite.yaml"
MAX_COMMENT = 300


@lru_cache(maxsize=1)
def default_source() -> str:
    """The risk appetite that an install begins with."""
    return DEFAULT.read_text(encoding="utf-8")


def active_appetite() -> tuple[RiskAppetite, Appetite]:
    """The version that holds now, and what it says. The first call of an install puts the default in force."""
    row = RiskAppetite.objects.filter(is_active=True).first() or _install_default()
    return row, parse_appetite(row.source)


def _install_default() -> RiskAppetite:
    source = default_source()
    now = timezone.now()
    try:
        with transaction.atomic():
            row = RiskAppetite.objects.create(
                number=1, source=source, sha256=_sha256(source), comment="default", is_active=True, activated_at=now
            )
            record(
                Action.APPETITE_ACTIVATE,
                actor=None,
                subject_type="appetite",
                subject_id=row.pk,
                subject=str(row),
                details={"sha256": row.sha256},
            )
    except IntegrityError:  # another process was first
        return RiskAppetite.objects.get(is_active=True)
    return row


def create_appetite(
    source: str, *, comment: str = "", actor: User | None, activate: bool = False, now: datetime | None = None
) -> RiskAppetite:
    """Keep ``source`` as the next version; put it in force where ``activate`` says so.

    Raises ``NotAllowed`` without appetite:edit for the whole organisation, ``AppetiteError`` (``Invalid`` with every
    fault's line and column), and ``Conflict`` where the newest version says exactly this already.
    """
    require(actor, Permission.APPETITE_EDIT)
    text = source.replace("\r\n", "\n")
    parse_appetite(text)
    with transaction.atomic():
        active_appetite()
        newest = RiskAppetite.objects.select_for_update().order_by("-number").first()
        if newest is not None and newest.sha256 == _sha256(text):
            raise Conflict(
                f"Version {newest.number} says exactly this already; change something, or put that version in force.",
                code="appetite-unchanged",
            )
        highest = RiskAppetite.objects.aggregate(n=Max("number"))["n"] or 0
        row = RiskAppetite.objects.create(
            number=highest + 1,
            source=text,
            sha256=_sha256(text),
            comment=comment.strip()[:MAX_COMMENT],
            author=actor,
            created_at=now or timezone.now(),
        )
        _record(Action.APPETITE_CREATE, row, actor)
        if activate:
            _activate(row, actor, now or timezone.now())
    return row


def activate_appetite(number: int, *, actor: User | None, now: datetime | None = None) -> RiskAppetite:
    """Put version ``number`` in force: new requests follow it at once, and every open deadline is counted anew.

    What was asked for before keeps the approvers and the limit it was asked under. Raises ``NotAllowed``,
    ``NotFound``, and ``Conflict`` where that version is in force already.
    """
    require(actor, Permission.APPETITE_EDIT)
    with transaction.atomic():
        rows = {
            r.number: r for r in RiskAppetite.objects.select_for_update().filter(Q(number=number) | Q(is_active=True))
        }
        row = rows.get(number)
        if row is None:
            raise NotFound(f"There is no version {number} of the risk appetite.")
        if row.is_active:
            raise Conflict(f"Version {number} of the risk appetite is in force already.", code="appetite-active")
        _activate(row, actor, now or timezone.now())
    return row


def _activate(row: RiskAppetite, actor: User | None, now: datetime) -> None:
    RiskAppetite.objects.filter(is_active=True).update(is_active=False)
    row.is_active, row.activated_at = True, now
    row.save(update_fields=["is_active", "activated_at"])
    refresh_deadlines(Q(), parse_appetite(row.source))
    _record(Action.APPETITE_ACTIVATE, row, actor)


def recount_deadlines() -> None:
    """The job of each day where an SSVC table decides: by then a vector or reference may have been read that nobody
    told of."""
    _, appetite = active_appetite()
    if appetite.plan is not None:
        refresh_deadlines(Q(), appetite)


def refresh_deadlines(where: Q, appetite: Appetite) -> None:
    """Count anew by when the present exposures that fit ``where`` must be fixed; writes what differs."""
    present = Exposure.objects.present().filter(where)
    if appetite.plan is not None:
        _by_table(present.filter(kind=FindingKind.VULNERABILITY.value), appetite)
        present = present.exclude(kind=FindingKind.VULNERABILITY.value)
    _by_rows(present, appetite)


@transaction.atomic
def _by_table(present: QuerySet[Exposure], appetite: Appetite) -> None:
    """Where what is held of a flaw decides: rows are read some at a time, and those that differ are written."""
    for changed in queries.counted_anew(present, appetite):
        if changed:
            lock([pk for pk, _ in changed])
            bulk.update(Exposure, ("due_at",), changed)


def _by_rows(present: QuerySet[Exposure], appetite: Appetite) -> None:
    """Where few facts decide: one statement for all that have the same time."""
    columns = ("kind", "severity", "known_exploited", "fix_available", "application__is_exposed")
    had = ExpressionWrapper(F("due_at") - F("since"), output_field=DurationField())
    by_days: dict[int | None, Q] = defaultdict(lambda: Q(pk__in=[]))
    for kind, severity, exploited, fix, exposed, time in present.order_by().values_list(*columns, had).distinct():
        case = Case(
            severity=Severity(severity),
            kind=FindingKind(kind),
            known_exploited=exploited,
            fix_available=fix,
            exposed=bool(exposed),
        )
        days = appetite.row_for(case).fix_within_days
        if time == (None if days is None else timedelta(days=days)):
            continue  # as with all that is new: most often there is nothing to write
        same = Q(kind=kind, severity=severity, known_exploited=exploited, fix_available=fix)
        inside = Q(application__in=Application.objects.filter(is_exposed=True))
        by_days[days] |= same & (inside if exposed else ~inside)
    for days, condition in by_days.items():
        if days is None:
            present.filter(condition, due_at__isnull=False).update(due_at=None)
        else:
            due = F("since") + Value(timedelta(days=days))
            present.filter(condition, Q(due_at=None) | ~Q(due_at=due)).update(due_at=due)


def _record(action: Action, row: RiskAppetite, actor: User | None) -> None:
    record(
        action,
        actor=actor,
        subject_type="appetite",
        subject_id=row.pk,
        subject=str(row),
        details={"sha256": row.sha256, "comment": row.comment},
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
