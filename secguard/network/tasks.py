"""Jobs of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from secguard.jobs.registry import Run
from secguard.network.services import exposing, keeping


def keep(_run: Run) -> Mapping[str, Any]:
    """Tie ends to what runs, note what is exposed or unusual, and let go of what has aged."""
    now = timezone.now()
    return {
        "tied": keeping.retie(),
        "exposed": exposing.note(now),
        "unusual": keeping.mark_unusual(now),
        **keeping.age(now),
    }
