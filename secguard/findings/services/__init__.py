"""Findings and risks: what scanners say is taken in, and everybody who depends on it is told."""

from secguard.findings.services.exposures import follow_application, follow_repository, refresh_exposures
from secguard.findings.services.following import (
    DEADLINE_ROWS,
    EXPOSURES_CHANGED,
    IMAGES_CHANGED,
    RISK_MERGED,
    RISKS_CHANGED,
    TIME_TO_FIX,
    Circumstances,
    TimeToFix,
)
from secguard.findings.services.merging import merge_flaws
from secguard.findings.services.risks import TELL, follow_flaws, tell
from secguard.findings.services.spreading import Spread, Told, spread
from secguard.findings.services.taking_in import Taken, take_in
from secguard.findings.services.words import lock_images

__all__ = [
    "DEADLINE_ROWS",
    "EXPOSURES_CHANGED",
    "IMAGES_CHANGED",
    "RISKS_CHANGED",
    "RISK_MERGED",
    "TELL",
    "TIME_TO_FIX",
    "Circumstances",
    "Spread",
    "Taken",
    "TimeToFix",
    "Told",
    "follow_application",
    "follow_flaws",
    "follow_repository",
    "lock_images",
    "merge_flaws",
    "refresh_exposures",
    "spread",
    "take_in",
    "tell",
]
