"""Jobs of channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.channels import services
from secguard.jobs.registry import Run


def deliver(_run: Run) -> Mapping[str, Any]:
    """Post whatever is due."""
    return services.deliver()


def post(run: Run) -> Mapping[str, Any]:
    """Post what is due to one channel."""
    return services.deliver(channel_id=int(run.args["channel"]))


def prune(_run: Run) -> Mapping[str, Any]:
    """The handler of the daily pruning of outboxes."""
    return {"deleted": services.prune()}
