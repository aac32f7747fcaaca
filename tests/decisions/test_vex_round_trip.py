"""What goes out comes in again with the same meaning: our writers, then our readers of others' documents."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given

from secguard.decisions import vexin
from secguard.decisions.justifications import understood
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.scope import ScopeKind
from secguard.decisions.vex import Ruling
from secguard.decisions.vex.writers import csaf, cyclonedx, openvex
from secguard.decisions.vexin.matching import Stand, match
from tests.decisions.test_vex_writers import SLOWLY, many, told

WRITERS = pytest.mark.parametrize("writer", [openvex, cyclonedx, csaf], ids=["openvex", "cyclonedx", "csaf"])
Judged = dict[tuple[str, str], tuple[str, str]]
"""{(flaw, image): (kind, justification)} of the flaws that everything in an image says the same of."""


def stands_of(rulings: list[Ruling]) -> tuple[list[Stand], list[str]]:
    """A finding for each package of each image that is judged, and the images' digests in the order of their ids."""
    digests = sorted({p.digest for p, _ in rulings})
    flaws = sorted({j.vulnerability for _, j in rulings})
    stands = {
        Stand(
            risk=flaws.index(j.vulnerability),
            names=frozenset({j.vulnerability.upper()}),
            image=digests.index(p.digest),
            digest=p.digest,
            package=purl.partition("@1")[0].partition("@v")[0],
            name=purl,
            version=purl.rpartition("@")[2],
        )
        for p, j in rulings
        for purl in j.purls or ("pkg:generic/whole@1",)
    }
    return sorted(stands, key=lambda s: (s.risk, s.image, s.name)), digests


def not_affected_whole(rulings: list[Ruling]) -> Judged:
    """What must be asked for again: flaws that are decided as not affected wherever they are in an image."""
    said: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for p, j in rulings:
        said[j.vulnerability, p.digest].add((j.kind.value, j.justification))
    return {
        key: (DecisionKind.NOT_AFFECTED.value, min(why for _, why in words))
        for key, words in said.items()
        if {kind for kind, _ in words} == {DecisionKind.NOT_AFFECTED.value}
    }


@WRITERS
@SLOWLY
@given(rulings=many())
def test_what_is_said_is_read_as_it_was_meant(writer: Any, rulings: list[Ruling]) -> None:
    if not rulings:
        return
    read = vexin.read(writer.document(told(*rulings)))
    found = {
        (s.vulnerability, s.status.value, digest, str(understood(s.justification) or ""))
        for s in read.statements
        for digest in (s.product.digests if s.product else ())
        or [p.rpartition("@")[2].partition("?")[0].replace("%3A", ":") for p in (s.product.purls if s.product else ())]
    }
    images = {p.digest for p, _ in rulings}
    assert {row for row in found if row[2] in images} == {
        (
            j.vulnerability,
            "not_affected" if j.kind is DecisionKind.NOT_AFFECTED else "affected",
            p.digest,
            j.justification,
        )
        for p, j in rulings
    }


@WRITERS
@SLOWLY
@given(rulings=many())
def test_what_is_asked_for_again_is_what_was_decided(writer: Any, rulings: list[Ruling]) -> None:
    """Only not_affected is asked for, for just the images and flaws that it was decided on, and with its reason."""
    if not rulings:
        return
    read = vexin.read(writer.document(told(*rulings)))
    stands, digests = stands_of(rulings)
    flaws = sorted({j.vulnerability for _, j in rulings})
    asks, _ = match(read.statements, stands, image=None)
    assert {a.scope for a in asks} <= {ScopeKind.IMAGE}
    assert {a.kind for a in asks} <= {DecisionKind.NOT_AFFECTED}
    wanted = not_affected_whole(rulings)
    assert {(flaws[a.risk], digests[a.scope_id]) for a in asks} == set(wanted)
