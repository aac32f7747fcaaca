"""Take reports in: check them at once, keep them as received, and let a worker bring the findings up to date."""

from secguard.scans.services.accepting import Submission, submit
from secguard.scans.services.reading import read
from secguard.scans.services.repeating import forget_contents
from secguard.scans.services.taking_in import SCANNED, TAKE_IN, failed, take_in, work

__all__ = [
    "SCANNED",
    "TAKE_IN",
    "Submission",
    "failed",
    "forget_contents",
    "read",
    "submit",
    "take_in",
    "work",
]
