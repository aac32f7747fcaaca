from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from secguard.events.models import Sensor
from secguard.events.record import Kind, Line, fingerprint_of, story_of

NOW = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def line() -> Callable[..., Line]:
    """A line about a shell; ``n`` tells one event from the next of its story."""

    def make(n: int = 0, **changes: Any) -> Line:
        told: dict[str, Any] = {
            "kind": Kind.PROCESS,
            "source": "falco",
            "title": "A shell was started",
            "rule": "Terminal shell in container",
            "at": NOW,
            "story": story_of("shell"),
            "fingerprint": fingerprint_of(n),
            "detail": {"n": n},
        }
        return Line(**(told | changes))

    return make


@pytest.fixture
def sensor(db: None) -> Sensor:
    return Sensor.objects.create(name="falco-prod", cluster="prod", takes_flows=True, token_hash="0" * 64)
