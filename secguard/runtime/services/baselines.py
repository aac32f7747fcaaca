"""The use cases of baselines: call them as ``baselines.<name>``."""

from secguard.runtime.services.baseline_deciding import (
    ask,
    expect_deviation,
    expected,
    items_of,
    may,
    reopen,
    teams_of,
    vote,
    withdraw,
)
from secguard.runtime.services.baseline_learning import JUDGED, Observation, follow, observe

__all__ = [
    "JUDGED",
    "Observation",
    "ask",
    "expect_deviation",
    "expected",
    "follow",
    "items_of",
    "may",
    "observe",
    "reopen",
    "teams_of",
    "vote",
    "withdraw",
]
