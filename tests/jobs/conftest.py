from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from secguard.jobs import registry


@pytest.fixture
def handles() -> Iterator[Callable[..., None]]:
    """Registers handlers for the length of a test."""
    kinds: list[str] = []

    def register(kind, work, **options):
        registry.register(kind, work, **options)
        kinds.append(kind)

    yield register
    for kind in kinds:
        registry.forget(kind)
