"""The generated history: deterministic, readable, and lively enough to look around in."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.sample.catalogue import make
from secguard.sample.generate import SECOND_SCANNER, history
from secguard.sample.organisation import APPLICATIONS, PEOPLE, REGISTRY, REPOSITORIES, TEAMS
from secguard.scans.readers import read_report
from secguard.scans.report import ScanReport

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def reports() -> list[ScanReport]:
    return [read_report(raw) for push in history(NOW) for raw in push.reports]


def test_the_same_seed_tells_the_same_history() -> None:
    assert history(NOW, 7) == history(NOW, 7)
    assert history(NOW, 7) != history(NOW, 8)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_history_is_in_order_and_in_the_past(seed: int) -> None:
    pushes = history(NOW, seed)
    assert [p.at for p in pushes] == sorted(p.at for p in pushes)
    assert pushes[-1].at <= NOW
    assert pushes[0].at >= NOW - timedelta(days=71)
    assert len({p.digest for p in pushes}) == len(pushes)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_flaws_are_named_so_that_nothing_real_is_touched(seed: int) -> None:
    from random import Random

    flaws = [f for group in make(Random(seed)).flaws.values() for f in group]
    assert all(f.id.startswith("SAMPLE-2026-") for f in flaws)
    assert len({f.id for f in flaws}) == len(flaws)
    assert all(f.fixed_in is None or f.since < f.fixed_in for f in flaws)


def test_every_report_is_read_as_an_image_of_the_sample(reports: list[ScanReport]) -> None:
    assert all(r.subject.reference.startswith(f"{REGISTRY}/") for r in reports)
    assert {r.scanner for r in reports} == {"sample-scan", SECOND_SCANNER}
    kinds = Counter(k.value for r in reports for k in r.covers)
    assert set(kinds) == {"vulnerability", "secret", "misconfiguration", "hygiene"}


def test_findings_are_introduced_fixed_and_carried_over() -> None:
    by_repository: dict[str, list[set[str]]] = defaultdict(list)
    for push in history(NOW):
        names = {v.id for v in read_report(push.reports[0]).vulnerabilities}
        by_repository[push.repository.path].append(names)
    for images in by_repository.values():
        pairs = list(pairwise(images))
        assert any(after - before for before, after in pairs)
        assert any(before - after for before, after in pairs)
        assert all(before & after for before, after in pairs)


def test_rebuilds_move_a_tag_to_another_digest() -> None:
    digests: dict[tuple[str, str], set[str]] = defaultdict(set)
    for push in history(NOW):
        digests[push.repository.path, push.tag].add(push.digest)
    assert max(len(d) for d in digests.values()) == 2


def test_the_organisation_fits_together() -> None:
    assert {a.team for a in APPLICATIONS} == set(TEAMS)
    assert {r.application for r in REPOSITORIES} == {a.name for a in APPLICATIONS}
    assert {p.team for p in PEOPLE} <= {*TEAMS, ""}
    assert len({p.username for p in PEOPLE}) == len(PEOPLE)
