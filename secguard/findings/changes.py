"""What a scan changes about an image: pure comparison of what stood with what one scanner says now (DESIGN rule 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from secguard.findings.identity import FindingKind

Identity = tuple[str, str]
"""(risk key, canonical component purl or "")."""


class Said(NamedTuple):
    """What one scanner says of one finding."""

    severity: int
    severity_source: str = ""
    reported_id: str = ""
    fixed_versions: tuple[str, ...] = ()
    suppressed: str = ""

    @property
    def fingerprint(self) -> str:
        text = repr((self.severity, self.severity_source, self.reported_id, self.fixed_versions, self.suppressed))
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(slots=True)
class Standing:
    """A finding as it stands in the database: as much as comparing a report with it needs."""

    id: int
    risk_id: int
    kind: str
    is_open: bool
    observation_id: int = 0
    """Of this scanner's word on it, withdrawn or not; 0 where it never said anything."""
    fingerprint: str = ""
    """Of this scanner's present word; "" where it has none."""


@dataclass(slots=True)
class Changes:
    new: list[Identity] = field(default_factory=list)
    """Not known in this image: a finding and an observation to write."""
    said_again: list[Identity] = field(default_factory=list)
    """Known; this scanner says it for the first time, again, or otherwise than before: its observation to write."""
    withdrawn: list[Identity] = field(default_factory=list)
    """This scanner no longer says it."""
    unchanged: int = 0


def compare(
    said: Mapping[Identity, Said], standing: Mapping[Identity, Standing], covers: Iterable[str], *, is_complete: bool
) -> Changes:
    """Compare one scanner's report with what stands.

    A scan withdraws only kinds that it looked for, and a partial one withdraws nothing (DESIGN rule 11).
    """
    changes = Changes()
    for identity, word in said.items():
        stands = standing.get(identity)
        if stands is None:
            changes.new.append(identity)
        elif stands.fingerprint != word.fingerprint:
            changes.said_again.append(identity)
        else:
            changes.unchanged += 1
    if is_complete:
        kinds = frozenset(covers)
        changes.withdrawn = [
            i for i, s in standing.items() if s.fingerprint and i not in said and FindingKind(s.kind) in kinds
        ]
    return changes


class Outcome(NamedTuple):
    """What a finding shows, of all that scanners now say of it."""

    is_open: bool
    severity: int
    severity_source: str
    fixed_versions: tuple[str, ...]


def outcome(words: Mapping[str, Said]) -> Outcome | None:
    """The worst severity with its source, and every fix anybody names; ``None`` where nobody says anything."""
    if not words:
        return None
    scanner, worst = max(words.items(), key=lambda w: (w[1].severity, w[0]))
    fixes = dict.fromkeys(f for _, w in sorted(words.items()) for f in w.fixed_versions)
    return Outcome(True, worst.severity, worst.severity_source or scanner, tuple(fixes))


def difference(before: set[Identity], after: set[Identity]) -> dict[str, set[Identity]]:
    """Two images of one lineage: ``introduced``, ``fixed`` and ``carried_over``."""
    return {"introduced": after - before, "fixed": before - after, "carried_over": before & after}
