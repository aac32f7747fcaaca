"""Tell trackers what waits, and ask them what changed; at least once, and an issue is opened once.

A tracker is claimed by a conditional UPDATE, and what waits for it goes out in order: one that is away, or that says it
was asked too much, costs one attempt, however much waits for it. What it refuses for good (a field that it does not
know) is given up with its words, and does not hold up what comes after.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from secguard.errors import Invalid, NotFound, SecGuardError, Unavailable
from secguard.notifications.rhythm import delay
from secguard.trackers import queries, wording
from secguard.trackers.keeping import ActKind, ActStatus, IssueStatus, RemoteState, Standing
from secguard.trackers.models import Act, Issue, Tracker
from secguard.trackers.reading import Seen
from secguard.trackers.services.hearing import is_taken, learn
from secguard.trackers.services.trying import Remote, remote_of

CLAIM = timedelta(minutes=6)
"""Longer than the requests of one act may take; renewed for each."""

ACTS = 20
CHECKS = 30
"""Of one tracker in one run: others wait too."""

TRACKERS = 100
ATTEMPTS = 12
GIVE_UP_AFTER = timedelta(days=2)
STALE = timedelta(hours=1)
OLD = timedelta(hours=12)
"""How long what is known of an open issue is good without a webhook, and of a closed one."""

KEEP = timedelta(days=90)
PRUNE_BATCH = 1_000


def work(now: datetime | None = None, *, tracker_id: int | None = None) -> dict[str, int]:
    """The job: tell and ask whatever is due, of one tracker or of all. Safe to run twice, and by several at once."""
    counts = {"sent": 0, "failed": 0, "checked": 0}
    for tracker in _claimed(now, tracker_id):
        for what in _work(tracker, now):
            counts[what] += 1
    return counts


def _claimed(now: datetime | None, tracker_id: int | None) -> Iterator[Tracker]:
    """Trackers that are due, each ours alone for ``CLAIM``; each once in a run."""
    done: set[int] = set()
    while len(done) < TRACKERS:
        at = now or timezone.now()
        due = Tracker.objects.due(at, at - STALE, at - OLD).exclude(pk__in=done)
        if tracker_id is not None:
            due = due.filter(pk=tracker_id)
        pk = due.order_by("next_at", "pk").values_list("pk", flat=True).first()
        if pk is None:
            return
        done.add(pk)
        claim = secrets.token_hex(16)
        if due.filter(pk=pk).update(claim=claim, claimed_until=at + CLAIM):
            yield Tracker.objects.get(pk=pk)


def _work(tracker: Tracker, now: datetime | None) -> Iterator[str]:
    ours = Tracker.objects.filter(pk=tracker.pk, claim=tracker.claim)
    try:
        with remote_of(tracker) as remote:
            yield from _acts(tracker, remote, now)
            yield from _checks(tracker, remote, now)
    except SecGuardError as error:
        at = now or timezone.now()
        wait = delay(tracker.failures + 1)
        if isinstance(error, Unavailable) and error.retry_after:
            # What it asks for: a limit is known to end then, and nothing is wrong.
            asked = timedelta(seconds=error.retry_after)
            wait = asked if error.code == "tracker-limited" else max(wait, asked)
        ours.update(failures=F("failures") + 1, error=error.detail[:500], next_at=at + wait)
        yield "failed"
    ours.update(claim="", claimed_until=None)


def _renewed(tracker: Tracker, at: datetime) -> bool:
    rows = Tracker.objects.filter(pk=tracker.pk, claim=tracker.claim, is_active=True)
    return bool(rows.update(claimed_until=at + CLAIM))


def _acts(tracker: Tracker, remote: Remote, now: datetime | None) -> Iterator[str]:
    """Tell what waits, in order. Raises what holds for the whole tracker: it is away, or takes our token no more."""
    for _ in range(ACTS):
        at = now or timezone.now()
        act = _take(tracker) if _renewed(tracker, at) else None
        if act is None:
            return
        try:
            _do(act, tracker, remote, at)
        except Unavailable as error:
            if _count(act, error, at):
                yield "failed"
            raise
        except SecGuardError as error:
            _give_up(act, error.detail, at)
            yield "failed"
        else:
            _works(tracker, at)
            yield "sent"


def _take(tracker: Tracker) -> Act | None:
    """The oldest that waits, one attempt more written down."""
    with transaction.atomic():
        waits = Act.objects.filter(tracker=tracker, status=ActStatus.WAITING).order_by("pk")
        act = waits.select_for_update(no_key=True, of=("self",)).select_related("issue__tracker").first()
        if act is not None:
            act.attempts += 1
            act.save(update_fields=["attempts"])
    return act


def _do(act: Act, tracker: Tracker, remote: Remote, at: datetime) -> None:
    if act.kind == ActKind.OPEN:
        _open(act, tracker, remote, at)
    elif act.kind == ActKind.LINK:
        _link(act, tracker, remote, at)
    else:
        _tell(act, tracker, remote, at)
    Act.objects.filter(pk=act.pk, status=ActStatus.WAITING).update(status=ActStatus.DONE, ended_at=at, error="")


def _open(act: Act, tracker: Tracker, remote: Remote, at: datetime) -> None:
    """Make the issue, unless a former attempt did: whose answer was lost, or who died before it was written down."""
    issue = act.issue
    seen = remote.find(issue.marker, issue.created_at) or remote.create(queries.story_of(issue))
    _linked(issue, tracker, seen, at)


def _link(act: Act, tracker: Tracker, remote: Remote, at: datetime) -> None:
    issue = act.issue
    seen = remote.fetch(issue.remote_id or remote.number_of(issue.key))
    if (seen.project and seen.project != tracker.project) or is_taken(tracker, seen, issue.team_id):
        raise Invalid(f"{issue.key} is no longer in {tracker.project}, or is linked with another team's things.")
    if not act.is_said:
        remote.say(seen.remote_id, wording.note("linked", queries.story_of(issue)))
        Act.objects.filter(pk=act.pk).update(is_said=True)
    _linked(issue, tracker, seen, at)


def _linked(issue: Issue, tracker: Tracker, seen: Seen, at: datetime) -> None:
    with transaction.atomic():
        learn(issue.pk, seen, project=tracker.project, now=at)
        waiting = Issue.objects.filter(pk=issue.pk).exclude(status=IssueStatus.ENDED)
        waiting.update(status=IssueStatus.LINKED, key=seen.key)


def _tell(act: Act, tracker: Tracker, remote: Remote, at: datetime) -> None:
    """Comment, and close or open again what is ours where the tracker is set up so."""
    issue = act.issue
    if issue.status != IssueStatus.LINKED or issue.state == RemoteState.GONE:
        return
    if not act.is_said:
        remote.say(issue.remote_id, wording.note(act.word, queries.story_of(issue)))
        Act.objects.filter(pk=act.pk).update(is_said=True)
    seen = remote.fetch(issue.remote_id)
    if issue.is_ours:
        is_closed = seen.state is RemoteState.CLOSED
        if act.word != Standing.OPEN and tracker.closes and not is_closed:
            seen = remote.close(issue.remote_id, is_fixed=act.word == Standing.FIXED)
        elif act.word == Standing.OPEN and tracker.reopens and is_closed:
            seen = remote.reopen(issue.remote_id)
    learn(issue.pk, seen, project=tracker.project, now=at)


def _checks(tracker: Tracker, remote: Remote, now: datetime | None) -> Iterator[str]:
    """Ask about the issues that nobody told of for long: webhooks are lost."""
    at = now or timezone.now()
    stale = Issue.objects.filter(tracker=tracker).to_check(at - STALE, at - OLD)
    for issue in stale.order_by(F("checked_at").asc(nulls_first=True), "pk")[:CHECKS]:
        if not _renewed(tracker, now or timezone.now()):
            return
        try:
            seen = remote.fetch(issue.remote_id)
        except (NotFound, Invalid) as error:
            if isinstance(error, NotFound) or error.code == "gone":
                seen = Seen(issue.remote_id, issue.key, RemoteState.GONE, issue.title, "not found")
            else:
                Issue.objects.filter(pk=issue.pk).update(checked_at=at)
                continue
        learn(issue.pk, seen, project=tracker.project, now=at)
        _works(tracker, at)
        yield "checked"


def _works(tracker: Tracker, at: datetime) -> None:
    Tracker.objects.filter(pk=tracker.pk).update(failures=0, error="", worked_at=at, next_at=at)


def _count(act: Act, error: Unavailable, at: datetime) -> bool:
    """Whether it is given up, after many attempts or two days. Being asked to wait is no attempt in vain."""
    if error.code == "tracker-limited":
        Act.objects.filter(pk=act.pk).update(attempts=F("attempts") - 1, error=error.detail[:500])
        return False
    if act.attempts >= ATTEMPTS or at - act.created_at >= GIVE_UP_AFTER:
        _give_up(act, error.detail, at)
        return True
    Act.objects.filter(pk=act.pk).update(error=error.detail[:500])
    return False


def _give_up(act: Act, words: str, at: datetime) -> None:
    with transaction.atomic():
        rows = Act.objects.filter(pk=act.pk, status=ActStatus.WAITING)
        rows.update(status=ActStatus.FAILED, ended_at=at, error=words[:500])
        if act.kind != ActKind.TELL:
            Issue.objects.filter(pk=act.issue_id, status=IssueStatus.WAITING).update(status=IssueStatus.FAILED)


def prune(now: datetime | None = None) -> int:
    """Delete what was told ninety days ago; returns how many."""
    old = Act.objects.filter(ended_at__lt=(now or timezone.now()) - KEEP)
    deleted = 0
    while ids := list(old.order_by("pk").values_list("pk", flat=True)[:PRUNE_BATCH]):
        Act.objects.filter(pk__in=ids).delete()
        deleted += len(ids)
    return deleted
