"""Post what waits, at least once: whoever dies between the receiver's answer and our commit posts it again, under the
same id.

A channel is claimed by a conditional UPDATE, and what waits for it goes out in order, one after the other: a receiver
that is away costs one attempt, however much waits for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from secguard.accounts.models import Team
from secguard.channels import signing
from secguard.channels.adapters import posting
from secguard.channels.formats import MAX_LINES, Format, Post, body_of
from secguard.channels.models import Channel, Delivery, DeliveryLine, DeliveryStatus
from secguard.channels.services.setting_up import TEST, secrets_of, url_of
from secguard.errors import SecGuardError, Unavailable
from secguard.notifications import kinds
from secguard.notifications.digest import Line
from secguard.notifications.kinds import Kind
from secguard.notifications.queries import line_of
from secguard.notifications.rhythm import delay

CLAIM = timedelta(minutes=3)
"""Longer than one attempt may take; renewed for each."""

MESSAGES = 20
"""Messages to one channel in one run: others wait too."""

CHANNELS = 100
ATTEMPTS = 12
"""With waits that double up to an hour: about six hours."""

GIVE_UP_AFTER = timedelta(days=1)
KEEP = timedelta(days=90)
PRUNE_BATCH = 1_000


def deliver(now: datetime | None = None, *, channel_id: int | None = None) -> dict[str, int]:
    """The job: post whatever is due, of one channel or of all. Safe to run twice, and by several workers at once."""
    counts = {"sent": 0, "failed": 0}
    for channel in _claimed(now, channel_id):
        for worked in _work(channel, now):
            counts["sent" if worked else "failed"] += 1
    return counts


def _claimed(now: datetime | None, channel_id: int | None) -> Iterator[Channel]:
    """Channels that are due, each ours alone for ``CLAIM``; each once in a run."""
    done: set[int] = set()
    while len(done) < CHANNELS:
        at = now or timezone.now()
        due = Channel.objects.due(at).exclude(pk__in=done)
        if channel_id is not None:
            due = due.filter(pk=channel_id)
        pk = due.order_by("next_at", "pk").values_list("pk", flat=True).first()
        if pk is None:
            return
        done.add(pk)
        claim = secrets.token_hex(16)
        if due.filter(pk=pk).update(claim=claim, claimed_until=at + CLAIM):
            yield Channel.objects.select_related("team").get(pk=pk)


def _work(channel: Channel, now: datetime | None) -> Iterator[bool]:
    """Post what is due, in order, until nothing is or one fails; says for each whether it was taken."""
    ours = Channel.objects.filter(pk=channel.pk, claim=channel.claim)
    for _ in range(MESSAGES):
        at = now or timezone.now()
        if not ours.update(claimed_until=at + CLAIM):
            return
        delivery = _take(channel, at)
        if delivery is None:
            break
        try:
            answer = _post(channel, delivery, at)
        except SecGuardError as error:
            _failed(channel, delivery, error, at)
            yield False
            break
        _sent(channel, delivery, answer.status, now or timezone.now())
        yield True
    ours.update(claim="", claimed_until=None)


def _take(channel: Channel, now: datetime) -> Delivery | None:
    """The oldest that is due, one attempt more written down: from now on nothing joins it."""
    with transaction.atomic():
        due = Delivery.objects.filter(channel=channel, status=DeliveryStatus.WAITING, ready_at__lte=now)
        # A test goes first: somebody waits for it.
        delivery = due.select_for_update(no_key=True).order_by("-is_test", "ready_at", "pk").first()
        if delivery is not None:
            delivery.attempts += 1
            delivery.save(update_fields=["attempts"])
    return delivery


def _post(channel: Channel, delivery: Delivery, now: datetime) -> posting.Answer:
    body = body_of(_composed(channel, delivery), Format(channel.format), base_url=settings.PUBLIC_URL)
    headers = signing.headers(secrets_of(channel, now), delivery.message_id, now, body)
    return posting.post(url_of(channel), body, headers, settings.WEBHOOK_HOSTS)


_TEST = Kind(TEST, "This channel works", "", order=0, url="/notifications/")


def _composed(channel: Channel, delivery: Delivery) -> Post:
    """What the delivery says; the same at every attempt."""
    lines = [_test_line(channel)] if delivery.is_test else _lines(delivery)
    team = Team.objects.filter(pk=delivery.team_id).values_list("name", flat=True).first() if delivery.team_id else ""
    return Post(
        id=delivery.message_id,
        kind=_TEST if delivery.is_test else kinds.kind_or_plain(delivery.kind),
        lines=lines,
        total=max(delivery.total, len(lines)),
        created_at=delivery.created_at,
        team=team or "",
        is_test=delivery.is_test,
    )


def _lines(delivery: Delivery) -> list[Line]:
    rows = DeliveryLine.objects.filter(delivery=delivery).order_by("-weight", "pk")[:MAX_LINES]
    return [line_of(row) for row in rows]


def _test_line(channel: Channel) -> Line:
    told = "all kinds of news" if not channel.kinds else f"{len(channel.kinds)} kinds of news"
    whose = f"of the team {channel.team}" if channel.team else "of the whole organisation"
    return Line(key="test", what=f"A test of the channel {channel.name}", note=f"It is told {told} {whose}.")


def _sent(channel: Channel, delivery: Delivery, status: int, now: datetime) -> None:
    with transaction.atomic():
        _end(delivery, DeliveryStatus.SENT, now, answer=status, error="")
        Channel.objects.filter(pk=channel.pk).update(failures=0, error="", sent_at=now, next_at=now)


def _failed(channel: Channel, delivery: Delivery, error: SecGuardError, now: datetime) -> None:
    """Wait longer each time; after many attempts or a day give this one up, so that what is newer gets its turn.

    A test is not tried again: whoever asked for it reads the reason.
    """
    failures = channel.failures + 1
    wait = delay(failures)
    if isinstance(error, Unavailable) and error.retry_after:
        wait = max(wait, timedelta(seconds=min(error.retry_after, posting.LONGEST_RETRY)))
    words = error.detail[:500]
    is_over = (
        delivery.is_test
        or error.code == "gone"
        or delivery.attempts >= ATTEMPTS
        or now - delivery.created_at >= GIVE_UP_AFTER
    )
    with transaction.atomic():
        if is_over:
            _end(delivery, DeliveryStatus.FAILED, now, answer=posting.status_of(error), error=words)
        else:
            Delivery.objects.filter(pk=delivery.pk).update(answer=posting.status_of(error), error=words)
        rows = Channel.objects.filter(pk=channel.pk, claim=channel.claim)
        rows.update(failures=F("failures") + 1, error=words, next_at=now + wait)


def _end(delivery: Delivery, status: DeliveryStatus, now: datetime, **columns: Any) -> None:
    rows = Delivery.objects.filter(pk=delivery.pk, status=DeliveryStatus.WAITING)
    rows.update(status=status, ended_at=now, **columns)


def prune(now: datetime | None = None) -> int:
    """Delete what ended ninety days ago; returns how many messages."""
    old = Delivery.objects.filter(ended_at__lt=(now or timezone.now()) - KEEP)
    deleted = 0
    while ids := list(old.order_by("pk").values_list("pk", flat=True)[:PRUNE_BATCH]):
        Delivery.objects.filter(pk__in=ids).delete()
        deleted += len(ids)
    return deleted
