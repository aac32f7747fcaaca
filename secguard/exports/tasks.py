"""The jobs of exports: ids in, one service call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.exports import services
from secguard.jobs.registry import Run


def look(_run: Run) -> Mapping[str, Any]:
    """Asks for the delivery to every target that something waits for."""
    return {"asked": services.look()}


def deliver(run: Run) -> Mapping[str, Any]:
    return {"sent": services.deliver(int(run.args["target"]), run)}


def test(run: Run) -> Mapping[str, Any]:
    services.deliver_test(int(run.args["target"]))
    return {}
