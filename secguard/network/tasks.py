"""Jobs of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from secguard.jobs.registry import Run
from secguard.network.services import keeping


def keep(_run: Run) -> Mapping[str, Any]:
    """Tie ends to what runs, and let go of what has aged."""
    return {"tied": keeping.retie(), **keeping.age(timezone.now())}
