"""Jobs of compliance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.compliance import services
from secguard.jobs.registry import Run


def keep(run: Run) -> Mapping[str, Any]:
    """Every minute: measure what is due, count today anew where something has changed, and close days that are over."""
    services.ensure_shipped()
    measured = services.measure_due(progress=run.progress)
    return {"measured": measured, "days": services.keep_days(is_changed=measured > 0)}
