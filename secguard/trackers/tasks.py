"""Jobs of trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.jobs.registry import Run
from secguard.trackers import services


def keep(_run: Run) -> Mapping[str, Any]:
    """Every minute: see what changed here, open what a rule says, post what waits, and ask what changed there."""
    return {"told": services.follow(), "opened": services.open_by_rule(), **services.work()}


def work(run: Run) -> Mapping[str, Any]:
    """Post what waits for one tracker."""
    return services.work(tracker_id=int(run.args["tracker"]))


def try_it(run: Run) -> Mapping[str, Any]:
    """See whether a tracker answers, and to the credentials that it was given."""
    return {"works": services.try_now(int(run.args["tracker"]))}


def prune(_run: Run) -> Mapping[str, Any]:
    """The handler of the daily pruning of what was posted."""
    return {"deleted": services.prune()}
