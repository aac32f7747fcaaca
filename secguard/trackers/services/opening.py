"""Open an issue for a risk of one team, or link one that is there; each is written down first and sent by a job."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.findings.models import Exposure, Risk
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.trackers.keeping import ActKind, ActStatus, IssueStatus, TrackerKind, checked_key
from secguard.trackers.models import Act, Issue, Tracker
from secguard.trackers.services.setting_up import WORK


def open_issue(risk_id: int, tracker_id: int, *, team: Team | None, actor: User) -> Issue:
    """Have an issue opened; the one that is linked already is returned, so pressing twice opens one.

    Raises ``NotFound``, ``NotAllowed``, and ``Conflict`` where the risk stands in none of the team's newest images.
    """
    risk, tracker = _checked(risk_id, tracker_id, team, actor)
    with transaction.atomic():
        made, is_new = written(tracker, risk, team, by=actor)
        if is_new:
            send(made, ActKind.OPEN)
            note(Action.ISSUE_OPEN, made, actor)
    return made


def link_issue(risk_id: int, tracker_id: int, existing: str, *, team: Team | None, actor: User) -> Issue:
    """Follow an issue that is there already. Raises as ``open_issue`` does, ``Invalid`` where it is no issue of the
    tracker, and ``Conflict`` where the risk has an issue or the issue is another team's."""
    risk, tracker = _checked(risk_id, tracker_id, team, actor)
    if tracker.team_id is None and actor.teams_with(Permission.DECISION_REQUEST) is not None:
        raise NotAllowed(
            f"The token of {tracker.name!r} may read what you may not: linking an issue there that is not opened from "
            "here needs a role in the whole organisation. Open one instead, or ask for it.",
            code="tracker-wide",
        )
    key = checked_key(TrackerKind(tracker.kind), tracker.base_url, tracker.project, existing)
    with transaction.atomic():
        if Issue.objects.current().filter(tracker=tracker, key=key).exclude(team=team).exists():
            raise Conflict(f"{key} is linked with another team's things.", code="issue-of-others")
        made, is_new = written(tracker, risk, team, by=actor, key=key)
        if not is_new:
            raise Conflict(
                f"The risk has the issue {made.key or 'that is being opened'} already; unlink it first.",
                code="issue-exists",
            )
        send(made, ActKind.LINK)
        note(Action.ISSUE_LINK, made, actor)
    return made


def _checked(risk_id: int, tracker_id: int, team: Team | None, actor: User) -> tuple[Risk, Tracker]:
    risk = Risk.objects.visible_to(actor).filter(pk=risk_id).first()
    if risk is None:
        raise NotFound(f"There is no risk {risk_id} in images that you may see.")
    require(actor, Permission.DECISION_REQUEST, team_id=team.pk if team else None)
    tracker = Tracker.objects.usable_by(actor).filter(pk=tracker_id).first()
    if tracker is None:
        raise NotFound(f"There is no tracker {tracker_id} that is turned on and yours to use.")
    if tracker.team_id is not None and tracker.team_id != (team.pk if team else None):
        raise Invalid(f"{tracker.name!r} is another team's tracker.", where="tracker")
    if not Exposure.objects.present().filter(risk=risk, team_id=team.pk if team else None).exists():
        whose = f"of {team.name}" if team else "of no team"
        raise Conflict(f"{risk.name} stands in no newest image {whose}: there is nothing to open an issue for.")
    return risk, tracker


def written(
    tracker: Tracker, risk: Risk, team: Team | None, *, by: User | None, key: str = "", by_rule: bool = False
) -> tuple[Issue, bool]:
    """(the issue of the risk and the team, whether it is new). The database lets there be one."""
    rows = Issue.objects.current().select_related("tracker")
    # The risk's row is the lock: two who press at once come one after the other.
    Risk.objects.select_for_update(no_key=True).filter(pk=risk.pk).first()
    found = rows.filter(risk=risk, team=team).first()
    if found is not None:
        return found, False
    made = Issue.objects.create(
        tracker=tracker, risk=risk, team=team, marker=f"secguard{secrets.token_hex(12)}", created_by=by,
        is_ours=not key, is_by_rule=by_rule, key=key,
    )  # fmt: skip
    return made, True


def send(issue: Issue, kind: ActKind, word: str = "") -> None:
    """Write down what the tracker is to be told, and wake who tells it."""
    Act.objects.create(tracker_id=issue.tracker_id, issue=issue, kind=kind, word=word)
    wake(issue.tracker_id)


def wake(tracker_id: int) -> None:
    jobs.enqueue(WORK, {"tracker": tracker_id}, key=str(tracker_id), queue=Queue.INTERACTIVE, again=True)


@transaction.atomic
def unlink(issue_id: int, *, actor: User, now: datetime | None = None) -> Issue:
    """No longer follow the issue; it stays where it is. What waits to be told is not told."""
    issue = _locked(issue_id, actor)
    if issue.status == IssueStatus.ENDED:
        raise Conflict("The issue is unlinked already.", code="issue-ended")
    at = now or timezone.now()
    issue.status, issue.ended_at = IssueStatus.ENDED, at
    issue.save(update_fields=["status", "ended_at"])
    waits = issue.acts.filter(status=ActStatus.WAITING)
    waits.update(status=ActStatus.FAILED, ended_at=at, error="The issue was unlinked before.")
    note(Action.ISSUE_UNLINK, issue, actor)
    return issue


@transaction.atomic
def retry(issue_id: int, *, actor: User) -> Issue:
    """Try again what was given up, or ask now what the issue is like."""
    issue = _locked(issue_id, actor)
    if issue.status == IssueStatus.ENDED:
        raise Conflict("The issue is unlinked; open or link one anew.", code="issue-ended")
    last = issue.acts.order_by("-pk").first()
    if last is not None and last.status == ActStatus.FAILED:
        issue.acts.filter(pk=last.pk).update(
            status=ActStatus.WAITING, ended_at=None, attempts=0, created_at=timezone.now()
        )
        if issue.status == IssueStatus.FAILED:
            issue.status = IssueStatus.WAITING
            issue.save(update_fields=["status"])
    elif issue.status == IssueStatus.LINKED:
        Issue.objects.filter(pk=issue.pk).update(checked_at=None)
    wake(issue.tracker_id)
    return issue


def _locked(issue_id: int, actor: User) -> Issue:
    if not Issue.objects.visible_to(actor).filter(pk=issue_id).exists():
        raise NotFound(f"There is no issue {issue_id}.")
    issue = Issue.objects.select_for_update(of=("self",)).select_related("tracker", "risk").get(pk=issue_id)
    require(actor, Permission.DECISION_REQUEST, team_id=issue.team_id)
    return issue


def note(action: Action, issue: Issue, actor: User | None) -> None:
    details: dict[str, Any] = {"tracker": issue.tracker.name, "issue": issue.key, "by_rule": issue.is_by_rule}
    record(
        action,
        actor=actor,
        subject_type="risk",
        subject_id=issue.risk_id,
        subject=issue.risk.name,
        team_id=issue.team_id,
        details=details,
    )
