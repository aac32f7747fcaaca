"""The life of a scan: which step may follow which."""

from __future__ import annotations

from enum import StrEnum

from secguard.errors import Conflict


class ScanStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class ScanEvent(StrEnum):
    START = "start"
    FINISH = "finish"
    FAIL = "fail"


OPEN_STATUSES = (ScanStatus.QUEUED, ScanStatus.RUNNING)

TRANSITIONS: dict[tuple[ScanStatus, ScanEvent], ScanStatus] = {
    (ScanStatus.QUEUED, ScanEvent.START): ScanStatus.RUNNING,
    # A worker that was killed left the scan running: the next one starts it again.
    (ScanStatus.RUNNING, ScanEvent.START): ScanStatus.RUNNING,
    (ScanStatus.RUNNING, ScanEvent.FINISH): ScanStatus.FINISHED,
    (ScanStatus.QUEUED, ScanEvent.FAIL): ScanStatus.FAILED,
    (ScanStatus.RUNNING, ScanEvent.FAIL): ScanStatus.FAILED,
}


def after(status: str, event: ScanEvent) -> ScanStatus:
    """The status after ``event``; raises ``Conflict`` naming the status found."""
    try:
        return TRANSITIONS[(ScanStatus(status), event)]
    except KeyError:
        raise Conflict(f"The scan is {status}; it cannot {event} now.", code="scan-state") from None
