"""The tracker's API, with its credentials; and a try of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from secguard.errors import SecGuardError
from secguard.trackers.adapters import github, jira
from secguard.trackers.adapters.client import Client
from secguard.trackers.keeping import TrackerKind
from secguard.trackers.models import Tracker
from secguard.trackers.services.setting_up import token_of

Remote = github.GitHub | jira.Jira


@contextmanager
def remote_of(tracker: Tracker) -> Iterator[Remote]:
    """Raises ``Unavailable`` where the token was sealed with another key, ``Invalid`` where its host is no longer one
    that may be asked."""
    kind, token = TrackerKind(tracker.kind), token_of(tracker)
    sent = jira.headers(token, tracker.login) if kind.is_jira else github.headers(token)
    with Client(tracker.base_url, sent, settings.WEBHOOK_HOSTS) as client:
        if kind.is_jira:
            is_cloud = kind is TrackerKind.JIRA_CLOUD
            yield jira.Jira(client, tracker.project, tracker.issue_type, is_cloud=is_cloud)
        else:
            yield github.GitHub(client, tracker.project)


def try_now(tracker_id: int, now: datetime | None = None) -> bool:
    """Ask, and write down what was found. One that works is told what waits at once."""
    tracker = Tracker.objects.filter(pk=tracker_id).first()
    if tracker is None:
        return False
    try:
        with remote_of(tracker) as remote:
            found, works = remote.look(), True
    except SecGuardError as error:
        found, works = error.detail, False
    at = now or timezone.now()
    changed = {"failures": 0, "error": "", "next_at": at, "worked_at": at} if works else {}
    Tracker.objects.filter(pk=tracker_id).update(tried=found[:500], tried_at=at, **changed)
    return works
