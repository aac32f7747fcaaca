"""What a set of policies would have done to what was recorded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from secguard.network.edges import Edge
from secguard.network.flow import Verdict
from secguard.network.policy import Judged, Known, Outcome, Policies, Policy


class Recorded(NamedTuple):
    """An edge, how often it was recorded, and its row."""

    edge: Edge
    flows: int
    id: int = 0


class Change(NamedTuple):
    recorded: Recorded
    before: Judged
    after: Judged


@dataclass(frozen=True, slots=True)
class Simulated:
    """``cut``: denied then, and not now. ``opened``: the other way. ``unsure``: not known then, and known now."""

    asked: int
    cut: tuple[Change, ...]
    opened: tuple[Change, ...]
    unsure: tuple[Change, ...]
    unchanged: int

    @property
    def namespaces(self) -> tuple[str, ...]:
        """In which something would be cut."""
        return tuple(sorted({p.namespace for c in self.cut for p in c.recorded.edge[:2] if p.namespace}))

    @property
    def flows(self) -> int:
        return sum(c.recorded.flows for c in self.cut)

    @property
    def words(self) -> str:
        if not self.cut:
            unsure = f"; of {len(self.unsure)} it is not known" if self.unsure else ""
            return f"would cut none of {self.asked} recorded edges{unsure}"
        edges = "this edge" if len(self.cut) == 1 else f"these {len(self.cut)} edges"
        places = "1 namespace" if len(self.namespaces) == 1 else f"{len(self.namespaces)} namespaces"
        return f"would cut {edges} ({self.flows:,} flows) in {places}"


def simulate(
    recorded: Iterable[Recorded], *, before: Sequence[Policy], after: Sequence[Policy], known: Known
) -> Simulated:
    """Both sets over the same edges."""
    old, new = Policies(before, known), Policies(after, known)
    asked = unchanged = 0
    found: dict[str, list[Change]] = {"cut": [], "opened": [], "unsure": []}
    for one in recorded:
        asked += 1
        change = Change(one, old.judge(*one.edge[:4]), new.judge(*one.edge[:4]))
        kind = _kind(change.before.outcome, change.after.outcome, one.edge.verdict)
        if kind:
            found[kind].append(change)
        else:
            unchanged += 1
    return Simulated(asked, tuple(found["cut"]), tuple(found["opened"]), tuple(found["unsure"]), unchanged)


def _kind(before: Outcome, after: Outcome, seen: Verdict) -> str:
    """What was denied when it was recorded is cut by nothing."""
    if before is after or (seen is Verdict.DENIED and after is Outcome.DENIED):
        return ""
    if after is Outcome.DENIED:
        return "cut"
    if after is Outcome.UNKNOWN:
        return "unsure"
    return "opened" if before is Outcome.DENIED else ""
