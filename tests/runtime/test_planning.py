"""Whether what is normal for each image that runs was locked: kept, missing, not measured."""

from __future__ import annotations

from typing import Any

import pytest

from tests.measuring import NOW, image_in, names_behind, outcome, outcomes, repository_of, run

pytestmark = pytest.mark.django_db


def baseline(image: Any, status: str, *people: Any) -> None:
    """To be locked it takes two people."""
    from secguard.approvals.quorum import Choice
    from secguard.runtime.models import Baseline
    from secguard.runtime.services.baseline_deciding import ask, vote

    row = Baseline.objects.create(image=image, learning_since=NOW, status=status if status != "locked" else "proposed")
    if status == "locked":
        asks, votes = people
        vote(ask(row.pk, "Learned.", actor=asks).pk, Choice.APPROVE, actor=votes)


def test_the_baseline_of_every_running_image_is_locked(
    application: Any, other_application: Any, viewer: Any, developer: Any, reviewer: Any
) -> None:
    locked, other, theirs = (image_in(repository_of(a)) for a in (application, application, other_application))
    baseline(locked, "locked", developer, reviewer)
    baseline(theirs, "proposed")
    assert outcome("baselines-locked", application).state == "unmeasured"
    run(application, locked)
    run(other_application, theirs)
    found = outcomes("baselines-locked", [application, other_application])
    assert [o.state for o in found] == ["kept", "missing"]
    run(application, other)
    found = outcome("baselines-locked", application)
    assert (found.state, found.says) == (
        "unmeasured", "1 of 2 running images: of which no sensor told anything yet.",
    )  # fmt: skip
    baseline(other, "learning")
    found = outcome("baselines-locked", application)
    assert found.state == "missing"
    assert names_behind(viewer, found.links[0][1], "Digest") == [other.digest]
