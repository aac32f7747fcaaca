"""Jobs of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils import timezone

from secguard.events.sources import Told
from secguard.jobs.registry import Run
from secguard.network.services import exposing, judging, keeping


def keep(_run: Run) -> Mapping[str, Any]:
    """Tie ends to what runs, note what is exposed or unusual, judge by the rules, and let go of what has aged."""
    now = timezone.now()
    return {
        "tied": keeping.retie(),
        "exposed": exposing.note(now),
        "unusual": keeping.mark_unusual(now),
        **keeping.age(now),
        "breaking": judging.judge_all(now)["breaking"],
    }


def address(edge: int, _event: Told) -> str:
    """Where an event leads that tells of an edge."""
    return f"{reverse('network:edges')}?edge={edge}"
