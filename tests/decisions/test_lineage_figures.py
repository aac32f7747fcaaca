"""The figures of docs/decisions.md: a decision that follows the lineage is made once, not once a version."""

from __future__ import annotations

import pytest

from benchmarks.lineage import FLAWS, counts, table

pytestmark = pytest.mark.django_db
VERSIONS = 10


def test_with_the_lineage_people_decide_less() -> None:
    with_lineage, without = counts(VERSIONS)
    assert with_lineage.decisions == sum(with_lineage.by_version)
    assert with_lineage.by_version[0] == without.by_version[0] > 0, "the first version knows no lineage"
    for version, (one, other) in enumerate(zip(with_lineage.by_version, without.by_version, strict=True), start=1):
        assert one <= other, f"version {version}"
    assert with_lineage.decisions < without.decisions
    assert with_lineage.versions_held_up < without.versions_held_up == VERSIONS
    blocking = [f for f in FLAWS if f.first <= VERSIONS and (f.severity == "critical" or f.exploited_from <= VERSIONS)]
    assert len(blocking) <= with_lineage.decisions < 2 * len(blocking), "each once, and some again when they ended"
    assert "| decisions people make |" in table(with_lineage, without)
