"""Jobs of the event store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.events.services import ageing, collecting
from secguard.jobs.registry import Run


def collect(_run: Run) -> Mapping[str, Any]:
    """Read the product's own sources into the store."""
    return {"new": sum(collecting.collect().values())}


def age(_run: Run) -> Mapping[str, Any]:
    """Drop what is past its time, make partitions ahead, and measure."""
    return ageing.age()
