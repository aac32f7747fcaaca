"""Jobs of decisions: one service call each, safe to run twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.decisions import services
from secguard.decisions.services.telling import tell_ending as tell_of_ending
from secguard.jobs.registry import Run


def review(run: Run) -> Mapping[str, Any]:
    """End what was approved under other facts than those that stand now."""
    return {"ended": len(services.review_material_changes(run.args["risks"]))}


def end_due(_run: Run) -> Mapping[str, Any]:
    """Write down the decisions that ended with a control, and by their date."""
    return {"lapsed": services.end_lapsed(), "ended": services.end_due()}


def escalate(_run: Run) -> Mapping[str, Any]:
    """Tell of requests that wait too long."""
    return {"told": services.escalate_due()}


def tell_ending(_run: Run) -> Mapping[str, Any]:
    """Tell teams of their decisions that end within a week."""
    return {"told": tell_of_ending()}


def controls(_run: Run) -> Mapping[str, Any]:
    """Look at what SecGuard observes itself, tell owners of what needs evidence, and bring lists in step."""
    return {"observed": services.observe(), "told": services.tell_controls_due(), "in_step": services.freshen()}


def deadlines(_run: Run) -> Mapping[str, Any]:
    """Count deadlines anew where an SSVC table gives them."""
    services.recount_deadlines()
    return {}
