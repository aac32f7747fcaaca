"""Waking a worker through Celery. A wake-up may be lost, late or doubled: the jobs table is the truth."""

from __future__ import annotations

import time

import structlog
from kombu.exceptions import KombuError

from secguard.celery import app

log = structlog.get_logger(__name__)

WORK = "secguard.jobs.work"
SWEEP = "secguard.jobs.sweep"
EXPIRES_SECONDS = 60
QUIET_SECONDS = 5

_quiet_until = 0.0


def wake(queue: str) -> bool:
    """Sends one wake-up to a worker of ``queue``; False where the broker does not take it.

    Called after a request's commit, so it never raises; after a failure it stays quiet for some seconds, so that a
    broker that is down does not cost every request its connection timeout.
    """
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return False
    try:
        app.send_task(WORK, args=[queue], queue=queue, expires=EXPIRES_SECONDS, retry=False)
    except (KombuError, OSError) as error:
        _quiet_until = time.monotonic() + QUIET_SECONDS
        log.warning("The broker took no wake-up; the next sweep finds the job.", queue=queue, error=str(error))
        return False
    return True
