"""Jobs of the forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.forecast import services
from secguard.jobs.registry import Run


def compute(_run: Run) -> Mapping[str, Any]:
    """Make the forecast anew, and tell of it."""
    return {"turns": services.compute(), "told": services.tell()}
