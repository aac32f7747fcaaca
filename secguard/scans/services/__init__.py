"""Take reports in: check them at once, keep them as received, and let a worker bring the findings up to date."""

from secguard.scans.services.accepting import Submission, submit
from secguard.scans.services.asking import LOOK, ScanRequest, ask, ask_again, cancel, wait_for_end
from secguard.scans.services.reading import read
from secguard.scans.services.repeating import forget_contents
from secguard.scans.services.taking_in import SCANNED, TAKE_IN, failed, take_in, work

__all__ = [
    "LOOK",
    "SCANNED",
    "TAKE_IN",
    "ScanRequest",
    "Submission",
    "ask",
    "ask_again",
    "cancel",
    "failed",
    "forget_contents",
    "read",
    "submit",
    "take_in",
    "wait_for_end",
    "work",
]
