"""Real images and layers of other people's tests, from the archive in ``../shared/corpora``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scans import conftest as corpora


@pytest.fixture(scope="session")
def image_corpus() -> Path:
    """The folder of archives, layouts and layers. Skips where it is missing."""
    if not corpora._ARCHIVES.is_dir():
        pytest.skip("needs the folder ../shared/corpora beside the checkout")
    return corpora._unpacked("images") / "images"
