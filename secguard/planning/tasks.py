"""Jobs of planning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.jobs.registry import Run
from secguard.planning import services


def keep(_run: Run) -> Mapping[str, Any]:
    """Every minute: what the clock has changed, what was never measured, and what was measured too long ago."""
    services.ensure_shipped()
    return {"counted": services.keep()}
