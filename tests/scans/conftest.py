"""Real reports of other people's tools, read from the archives in ``../shared/corpora``."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

_CHECKOUT = Path(__file__).parents[2]
_ARCHIVES = _CHECKOUT.parent / "shared" / "corpora"
_CACHE = _CHECKOUT / "tests" / ".cache" / "corpora"


@pytest.fixture(scope="session")
def corpus() -> Callable[[str], bytes]:
    """Reads one member: ``corpus("scanner/owner+repo/path/in/it.json")``. Skips where the archives are missing."""
    if not _ARCHIVES.is_dir():
        pytest.skip(f"needs the folder {_ARCHIVES.name} beside the checkout (../shared/corpora)")
    return lambda member: (_unpacked(member.partition("/")[0]) / member).read_bytes()


@pytest.fixture(scope="session")
def corpus_members() -> Callable[[str], list[str]]:
    """Every member of one kind: ``corpus_members("scanner")``."""
    if not _ARCHIVES.is_dir():
        pytest.skip(f"needs the folder {_ARCHIVES.name} beside the checkout (../shared/corpora)")
    return _members


@cache
def _members(kind: str) -> list[str]:
    root = _unpacked(kind)
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@cache
def _unpacked(kind: str) -> Path:
    """The folder with the archive's members; unpacked once and kept, whichever of several test processes is first."""
    archive = _ARCHIVES / f"{kind}.tar.xz"
    target = _CACHE / f"{kind}-{archive.stat().st_size}"
    if not target.is_dir():
        _CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=_CACHE))
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, filter="data")
        try:
            os.replace(fresh, target)
        except OSError:  # another process was first, and its folder is not empty
            shutil.rmtree(fresh)
    return target


ODD_VALUES: tuple[Any, ...] = (
    None,
    0,
    -1,
    1e308,
    True,
    "",
    "x",
    "<script>alert(1)</script>",
    "a\0b",
    "\ud7ff",
    [],
    {},
    [None],
    {"": 1},
)
"""What a member of a report is replaced by: every JSON type, none of them what a reader expects there."""


@pytest.fixture(scope="session")
def mutate() -> Callable[[bytes, st.DataObject], bytes]:
    """A report with one to three members dropped or of another type, or cut off: ``mutate(raw, data)``."""
    return _mutated


def _mutated(raw: bytes, data: st.DataObject) -> bytes:
    if data.draw(st.integers(0, 9)) == 0:
        return raw[: data.draw(st.integers(0, len(raw)))]
    document = json.loads(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = _somewhere(document, data)
        if holder is None:
            break
        if isinstance(holder, dict) and data.draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = copy.deepcopy(data.draw(st.sampled_from(ODD_VALUES)))
    return json.dumps(document).encode()


def _somewhere(document: Any, data: st.DataObject) -> tuple[Any, Any]:
    """A place in the document, by walking down a random way and stopping at random."""
    holder, key, value = None, None, document
    while isinstance(value, dict | list) and value and (holder is None or data.draw(st.integers(0, 3))):
        holder = value
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        key = data.draw(st.sampled_from(keys))
        value = holder[key]
    return holder, key
