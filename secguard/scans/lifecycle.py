"""The life of a scan: which step may follow which."""

from __future__ import annotations

from enum import StrEnum

from secguard.errors import Conflict


class ScanStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ScanOrigin(StrEnum):
    """Who looked: a tool of somebody's pipeline that posted its report, or a worker of ours."""

    REPORT = "report"
    WORKER = "worker"


class ScanEvent(StrEnum):
    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"


OPEN_STATUSES = (ScanStatus.QUEUED, ScanStatus.RUNNING)
LOST_STATUSES = (ScanStatus.FAILED, ScanStatus.CANCELLED)
"""Ended without a word on the image."""

TRANSITIONS: dict[tuple[ScanStatus, ScanEvent], ScanStatus] = {
    (ScanStatus.QUEUED, ScanEvent.START): ScanStatus.RUNNING,
    # A worker that was killed left the scan running: the next one starts it again.
    (ScanStatus.RUNNING, ScanEvent.START): ScanStatus.RUNNING,
    (ScanStatus.RUNNING, ScanEvent.FINISH): ScanStatus.FINISHED,
    (ScanStatus.QUEUED, ScanEvent.FAIL): ScanStatus.FAILED,
    (ScanStatus.RUNNING, ScanEvent.FAIL): ScanStatus.FAILED,
    (ScanStatus.QUEUED, ScanEvent.CANCEL): ScanStatus.CANCELLED,
    (ScanStatus.RUNNING, ScanEvent.CANCEL): ScanStatus.CANCELLED,
}


def after(status: str, event: ScanEvent) -> ScanStatus:
    """The status after ``event``; raises ``Conflict`` naming the status found."""
    try:
        return TRANSITIONS[(ScanStatus(status), event)]
    except KeyError:
        raise Conflict(f"The scan is {status}; it cannot {event} now.", code="scan-state") from None
