"""Real images and layers of other people's tests, from the archive in ``../shared/corpora``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secguard.images.adapters.pushing import PushingClient
from tests.fixtures_registries import RunningRegistry
from tests.scans import conftest as corpora


@pytest.fixture(scope="session")
def image_corpus() -> Path:
    """The folder of archives, layouts and layers. Skips where it is missing."""
    if not corpora._ARCHIVES.is_dir():
        pytest.skip("needs the folder ../shared/corpora beside the checkout")
    return corpora._unpacked("images") / "images"


@pytest.fixture(params=[("secure_registry", "token_registry"), ("token_registry", "secure_registry")], ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[RunningRegistry, RunningRegistry]:
    """Two registries, one with basic authentication over TLS and one behind a token server; both ways."""
    first, second = request.param
    return request.getfixturevalue(first), request.getfixturevalue(second)


@pytest.fixture
def plain(plain_registry: RunningRegistry) -> Iterator[PushingClient]:
    with PushingClient(plain_registry.access, sleep=lambda _: None) as made:
        yield made
