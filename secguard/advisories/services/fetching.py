"""Feeds: which there are, when each is due, and one fetched and taken in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.advisories.adapters import feeds as fetcher
from secguard.advisories.feeds import DEFAULTS, ImportStatus, next_due
from secguard.advisories.models import Feed, Import
from secguard.advisories.services.importing import finish, folder, take_in
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import NotFound, SecGuardError
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run

FETCH = "advisories.fetch"
DUE = "advisories.due"


@transaction.atomic
def ensure_defaults() -> None:
    """The feeds that the product knows by itself, as they were left where they are there already."""
    known = set(Feed.objects.values_list("name", flat=True))
    columns = ("name", "title", "kind", "url", *_EMPTY)
    rows = [
        (
            *feed,
            *_EMPTY.values(),
        )
        for feed in sorted(DEFAULTS)
        if feed.name not in known
    ]
    if rows:
        bulk.insert_missing(Feed, (*columns, "due_at"), [(*row, timezone.now()) for row in rows])


_EMPTY: dict[str, Any] = {
    "is_enabled": False,
    "etag": "",
    "last_modified": "",
    "entries": 0,
    "left_out": 0,
    "failures": 0,
    "error": "",
}


@transaction.atomic
def edit_feed(feed_id: int, *, actor: Any, is_enabled: bool | None = None, url: str | None = None) -> Feed:
    """Switch a feed on or off, or say where it lies.

    Raises ``NotFound``, ``NotAllowed``, and ``Invalid`` for an address that no feed may have.
    """
    require(actor, Permission.FEED_EDIT)
    feed = _locked(feed_id)
    changes: dict[str, Any] = {}
    if url is not None and url != feed.url:
        fetcher.require_address(url)
        changes["url"] = [feed.url, url]
        feed.url, feed.etag, feed.last_modified = url, "", ""
    if is_enabled is not None and is_enabled != feed.is_enabled:
        changes["is_enabled"] = [feed.is_enabled, is_enabled]
        feed.is_enabled, feed.due_at = is_enabled, timezone.now()
    if changes:
        feed.save(update_fields=["url", "etag", "last_modified", "is_enabled", "due_at"])
        _record(Action.FEED_EDIT, feed, actor, changes)
    return feed


@transaction.atomic
def request_fetch(feed_id: int, *, actor: Any) -> Feed:
    """Have a feed fetched now, whether it is switched on or not. Raises ``NotFound``, ``NotAllowed``."""
    require(actor, Permission.FEED_EDIT)
    feed = _locked(feed_id)
    _record(Action.FEED_FETCH, feed, actor, {})
    jobs.enqueue(FETCH, {"feed": feed.pk, "by": getattr(actor, "pk", None)}, key=str(feed.pk), queue=Queue.SCHEDULED)
    return feed


def _locked(feed_id: int) -> Feed:
    feed = Feed.objects.select_for_update().filter(pk=feed_id).first()
    if feed is None:
        raise NotFound(f"There is no feed {feed_id}.")
    return feed


def _record(action: Action, feed: Feed, actor: Any, changes: Mapping[str, Any]) -> None:
    audit.record(action, actor=actor, subject_type="feed", subject_id=feed.pk, subject=feed.name, details=dict(changes))


def enqueue_due(_run: Run) -> dict[str, Any]:
    """The periodic job: each feed that is switched on and due is fetched by a job of its own."""
    due = Feed.objects.filter(is_enabled=True, due_at__lte=timezone.now()).order_by("due_at")
    with transaction.atomic():
        for feed in due:
            jobs.enqueue(FETCH, {"feed": feed.pk, "by": None}, key=str(feed.pk), queue=Queue.SCHEDULED)
    return {"due": len(due)}


def fetch(run: Run) -> dict[str, Any]:
    """The job: fetch one feed and take it in; what happened is written on the feed."""
    feed = Feed.objects.filter(pk=run.args["feed"]).first()
    if feed is None:
        return {}
    received = folder() / f"{uuid.uuid4()}.part"
    try:
        return _fetch(feed, received, run)
    except SecGuardError as error:
        failed(feed.pk, error.detail)
        raise
    finally:
        received.unlink(missing_ok=True)


def _fetch(feed: Feed, received: Any, run: Run) -> dict[str, Any]:
    now = timezone.now()
    Feed.objects.filter(pk=feed.pk).update(tried_at=now)
    fetched = fetcher.fetch(
        feed.url,
        received,
        etag=feed.etag,
        last_modified=feed.last_modified,
        max_bytes=settings.MAX_FEED_BYTES,
        progress=lambda done, total: run.progress(f"fetching {feed.title}", done, total),
    )
    if fetched.is_unchanged:
        _succeeded(feed, now)
        return {"unchanged": True}
    row = Import.objects.create(
        feed=feed, name=feed.url, status=ImportStatus.RUNNING, job_id=run.job_id, requested_by_id=run.args.get("by")
    )
    try:
        taken = take_in(received, feed.url.rpartition("/")[2] or feed.name, run.progress)
    except SecGuardError as error:
        Import.objects.filter(pk=row.pk).update(
            status=ImportStatus.FAILED, error=error.detail, finished_at=timezone.now()
        )
        raise
    finish(row, taken)
    _succeeded(feed, now, etag=fetched.etag, last_modified=fetched.last_modified)
    return dict(taken.counts)


def _succeeded(feed: Feed, now: datetime, **validators: str) -> None:
    Feed.objects.filter(pk=feed.pk).update(
        succeeded_at=timezone.now(), failures=0, error="", due_at=next_due(feed.kind, now), **validators
    )


@transaction.atomic
def failed(feed_id: int, words: str) -> None:
    """Count a failure, keep its words, and try again later, later each time."""
    feed = _locked(feed_id)
    feed.failures = min(feed.failures + 1, 1000)
    feed.error, feed.due_at = words, next_due(feed.kind, timezone.now(), feed.failures)
    feed.save(update_fields=["failures", "error", "due_at"])


def fetch_failed(args: Mapping[str, Any], code: str, words: str) -> None:
    """The job was given up for another reason than the feed's own."""
    if code == "internal":
        failed(args["feed"], words)
