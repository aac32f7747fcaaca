"""When a person is written to, and how long to wait for a mail server that is away. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum


class Rhythm(StrEnum):
    """How often at most."""

    AT_ONCE = "at-once"
    HOURLY = "hourly"
    DAILY = "daily"


class ByMail(StrEnum):
    """How a person is written to about one kind of news."""

    AT_ONCE = "at-once"
    DIGEST = "digest"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Choice:
    """How a person is told of one kind of news."""

    by_mail: ByMail = ByMail.DIGEST
    on_page: bool = True

    @property
    def is_silent(self) -> bool:
        return not self.on_page and self.by_mail is ByMail.NEVER


class MessageStatus(StrEnum):
    """A message's life: it waits until the mail server took it, refused it for good, or nobody needs it any more."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


SETTLE = timedelta(seconds=30)
"""So long nothing new may have come: one import tells in many steps, and is one message."""

SETTLE_MOST = timedelta(minutes=5)
"""After this the first news waits for no further ones."""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

DAILY_HOUR = 7
"""The hour of the person's own day from which a daily message is written."""

FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person chose; quiet hours are hours of their day, from the one to before the other."""

    rhythm: Rhythm = Rhythm.HOURLY
    quiet_from: int | None = None
    quiet_until: int | None = None
    zone: tzinfo = UTC

    def is_quiet(self, now: datetime) -> bool:
        """Whether nothing is written at ``now``."""
        start, end = self.quiet_from, self.quiet_until
        if start is None or end is None or start == end:
            return False
        hour = now.astimezone(self.zone).hour
        return start <= hour < end if start < end else hour >= start or hour < end


def is_due(
    wishes: Wishes,
    *,
    first: datetime,
    latest: datetime,
    last_sent: datetime | None,
    now: datetime,
    at_once: bool = False,
) -> bool:
    """Whether what waits is to be written now.

    ``first`` and ``latest`` are the instants of the oldest and newest news that wait, ``last_sent`` that of the last
    message, if any. ``at_once``: there is something among them for which minutes count.
    """
    # A clock that ran ahead left times that are still to come. News of then have waited, and a message of then holds
    # nothing back for longer than a day.
    first, latest = (LONG_AGO if at > now else at for at in (first, latest))
    if last_sent is not None and last_sent > now + timedelta(days=1):
        last_sent = None
    if wishes.is_quiet(now) or not _has_settled(first, latest, now):
        return False
    if at_once:
        return True
    match wishes.rhythm:
        case Rhythm.AT_ONCE:
            return True
        case Rhythm.HOURLY:
            return last_sent is None or now - last_sent >= timedelta(hours=1)
        case Rhythm.DAILY:
            begin = _day_begins(wishes.zone, now)
            return first <= begin and (last_sent is None or last_sent < begin)


def _has_settled(first: datetime, latest: datetime, now: datetime) -> bool:
    return now - latest >= SETTLE or now - first >= SETTLE_MOST


def _day_begins(zone: tzinfo, now: datetime) -> datetime:
    """The last time that it was ``DAILY_HOUR`` where the person is."""
    local = now.astimezone(zone)
    today = local.replace(hour=DAILY_HOUR, minute=0, second=0, microsecond=0)
    begin = today if today <= local else today - timedelta(days=1)
    # As an instant: times of one zone are compared by their clocks, which a change of summer time sets back.
    return begin.astimezone(UTC)


def delay(attempts: int) -> timedelta:
    """How long to wait after so many attempts (1 is the first): doubled each time, an hour at most."""
    wait: timedelta = min(FIRST_DELAY * 2 ** min(max(attempts, 1) - 1, 12), LONGEST_DELAY)
    return wait
