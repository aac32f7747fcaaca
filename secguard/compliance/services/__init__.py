"""Keep frameworks and what is measured for them: call these as ``compliance.services.<name>``."""

from secguard.compliance.services.days import forget_counts, keep_days
from secguard.compliance.services.frameworks import ensure_shipped, make_framework, retire_framework
from secguard.compliance.services.measuring import (
    follow_application,
    follow_checklists,
    measure,
    measure_due,
    measure_everything,
)
from secguard.compliance.services.reporting import make_report

__all__ = [
    "ensure_shipped",
    "follow_application",
    "follow_checklists",
    "forget_counts",
    "keep_days",
    "make_framework",
    "make_report",
    "measure",
    "measure_due",
    "measure_everything",
    "retire_framework",
]
