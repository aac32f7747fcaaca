"""What a tracker says of an issue is written down, by whichever way it came: an answer, a check, a webhook."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from secguard.errors import NotAllowed
from secguard.trackers import reading
from secguard.trackers.keeping import IssueStatus, RemoteState, TrackerKind, is_path, is_signed
from secguard.trackers.models import Issue, Tracker
from secguard.trackers.reading import Heard, Seen
from secguard.trackers.services.opening import wake
from secguard.trackers.services.setting_up import secret_of


def hear_github(tracker_id: int, raw: bytes, *, event: str, signed: str) -> dict[str, Any]:
    """A webhook of GitHub's. Raises ``NotAllowed`` where its signature is not the tracker's, ``Invalid``."""
    tracker = _tracker(tracker_id, jira=False)
    if tracker is None or not is_signed(secret_of(tracker), raw, signed):
        raise _unsigned("X-Hub-Signature-256")
    return _hear(tracker, reading.github_hook(event, raw, tracker.project))


def hear_jira(tracker_id: int, raw: bytes, *, signed: str, word: str) -> dict[str, Any]:
    """A webhook of Jira's: signed, or sent to the address that holds a secret word."""
    tracker = _tracker(tracker_id, jira=True)
    secret = secret_of(tracker) if tracker else ""
    if tracker is None or not (is_signed(secret, raw, signed) or (word and is_path(secret, word))):
        raise _unsigned("X-Hub-Signature")
    return _hear(tracker, reading.jira_hook(raw))


def _tracker(tracker_id: int, *, jira: bool) -> Tracker | None:
    found = Tracker.objects.filter(pk=tracker_id, is_active=True).first()
    return found if found and TrackerKind(found.kind).is_jira is jira else None


def _unsigned(header: str) -> NotAllowed:
    """The same whether there is such a tracker or not."""
    return NotAllowed(
        f"There is no tracker here that is turned on and whose secret signed this. Expected the header {header}: "
        "sha256=…, HMAC-SHA256 of the body with the secret that the tracker's page shows once.",
        code="hook-signature",
    )


def _hear(tracker: Tracker, heard: Heard, now: datetime | None = None) -> dict[str, Any]:
    at = now or timezone.now()
    Tracker.objects.filter(pk=tracker.pk).update(heard_at=at)
    if heard.seen is None:
        return {"issues": 0, "ignored": heard.ignored}
    rows = Issue.objects.filter(tracker=tracker, remote_id=heard.seen.remote_id, status=IssueStatus.LINKED)
    changed = sum(
        learn(pk, heard.seen, project=tracker.project, hook=True, now=at) for pk in rows.values_list("pk", flat=True)
    )
    return {"issues": changed, "ignored": "" if changed else "nothing new of an issue that is linked"}


@transaction.atomic
def learn(issue_id: int, seen: Seen, *, project: str, hook: bool = False, now: datetime) -> bool:
    """Show what was seen, unless something later is shown already; returns whether anything changed.

    Webhooks are lost, repeated and overtaken, so the tracker's own clock decides. Two states at one instant (GitHub
    tells whole seconds): the tracker is asked.
    """
    issue = Issue.objects.select_for_update(of=("self",)).filter(pk=issue_id).first()
    if issue is None:
        return False
    if seen.project and seen.project != project:
        # What it is like there is for who may see that project.
        seen = Seen(seen.remote_id, issue.key, RemoteState.GONE, issue.title, "moved to another project")
    told = {
        "state": seen.state.value, "remote_status": seen.status, "resolution": seen.resolution,
        "assignee": seen.assignee, "title": seen.title, "key": seen.key, "remote_id": seen.remote_id,
    }  # fmt: skip
    differs = any(getattr(issue, name) != value for name, value in told.items())
    checked = {} if hook else {"checked_at": now}
    if seen.updated_at and issue.remote_at and seen.updated_at < issue.remote_at:
        Issue.objects.filter(pk=issue.pk).update(checked_at=issue.checked_at if hook else now)
        return False
    if hook and differs and seen.updated_at and seen.updated_at == issue.remote_at:
        Issue.objects.filter(pk=issue.pk).update(checked_at=None)
        wake(issue.tracker_id)
        return False
    newer = seen.updated_at or issue.remote_at
    Issue.objects.filter(pk=issue.pk).update(**told, **checked, remote_at=newer)
    return differs


def is_taken(tracker: Tracker, seen: Seen, team_id: int | None) -> bool:
    """Whether another team's things are linked with the issue: its state is not told to both."""
    others = Issue.objects.filter(tracker=tracker, remote_id=seen.remote_id).exclude(status=IssueStatus.ENDED)
    mine = Q(team_id=team_id) if team_id is not None else Q(team=None)
    return others.exclude(mine).exists()
