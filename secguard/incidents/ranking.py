"""What comes first on the page that one person reads, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from secguard.findings.severity import Severity

_OF_SEVERITY: Final = {
    Severity.CRITICAL: 50,
    Severity.HIGH: 35,
    Severity.MEDIUM: 20,
    Severity.LOW: 8,
    Severity.NEGLIGIBLE: 3,
    Severity.UNKNOWN: 5,
}
"""What nobody rated comes before what somebody called harmless."""
MOST_FOR_STORIES: Final = 10


class Reason(NamedTuple):
    points: int
    words: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an incident. ``returned``: why it is worse that this comes again ("" where it does not)."""

    severity: int
    stories: int
    is_new: bool
    has_malware: bool = False
    is_privileged: bool = False
    holds_data: bool = False
    has_known_exploited: bool = False
    returned: str = ""


@dataclass(frozen=True, slots=True)
class Rank:
    score: int
    reasons: tuple[Reason, ...]


def rank(facts: Facts) -> Rank:
    """The score, the greater the sooner to be read, and what it is made of: the severity, then the heaviest first."""
    severity = Severity(facts.severity)
    word = "no severity was told" if severity is Severity.UNKNOWN else f"{severity.label} by its sensor"
    more = min(2 * (facts.stories - 1), MOST_FOR_STORIES)
    first = Reason(_OF_SEVERITY[severity], word)
    found = [
        Reason(20 * facts.has_malware, "malware was found"),
        Reason(15 * facts.has_known_exploited, "its image has a flaw that is known to be exploited"),
        Reason(10 * facts.is_privileged, "its pods are privileged"),
        Reason(5 * facts.holds_data, "it mounts volumes with data, or folders of its node"),
        Reason(15 * bool(facts.returned), facts.returned),
        Reason(more, f"{facts.stories:,} different things happened"),
        Reason(5 * facts.is_new, "the like of it was not seen there before"),
    ]
    reasons = (first, *sorted((r for r in found if r.points > 0), key=lambda r: -r.points))
    return Rank(sum(r.points for r in reasons), reasons)
