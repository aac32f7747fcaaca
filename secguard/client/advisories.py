"""``secguard advisories``: bring a file, a folder or an address of advisories, and list what the server knows."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import zstandard

from secguard.client.rest import CouldNotTell, Deadline, Server

CHUNK = 2**20
PACKED = (".gz", ".zst")
ENDINGS = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".csv", *PACKED)
"""What is taken of a folder; everything else in it is no advisory."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Body:
    """A file as a request's body, which can be sent again from its beginning."""

    path: Path
    show: Progress

    def __iter__(self) -> Iterator[bytes]:
        total, sent = self.path.stat().st_size, 0
        with self.path.open("rb") as file:
            while part := file.read(CHUNK):
                sent += len(part)
                self.show("Sending", sent, total)
                yield part


def bring(server: Server, source: str, deadline: Deadline, show: Progress) -> dict[str, Any]:
    """Has ``source`` (a file, a folder or an https address) imported; returns the import's document once it ended."""
    with _file_of(source, show) as (path, name):
        size = path.stat().st_size
        if not size:
            raise CouldNotTell(f"{source} is empty.")
        row = server.send(
            "POST",
            "/api/v1/advisories/import/",
            deadline,
            params={"name": name},
            content=_Body(path, show),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        )
    return _ended(server, row, deadline, show)


def _ended(server: Server, row: Mapping[str, Any], deadline: Deadline, show: Progress) -> dict[str, Any]:
    found = dict(row)
    for _ in deadline.pauses():
        found = server.get(f"/api/v1/imports/{row['id']}/", deadline)
        if found.get("status") not in ("queued", "running"):
            break
        show("Importing", 0, 0)
    if found.get("status") == "failed":
        raise CouldNotTell(f"The import failed: {found.get('error') or 'the server says no more'}")
    if found.get("status") != "finished":
        raise CouldNotTell(
            f"The import {row['id']} is {found.get('status')} still; it goes on, and the page Vulnerability data shows "
            "what becomes of it. A longer --wait waits for it."
        )
    return found


@contextlib.contextmanager
def _file_of(source: str, show: Progress) -> Iterator[tuple[Path, str]]:
    """(a file on this machine, the name to send): the source itself, or a file of its own made of it."""
    path = Path(source)
    if not source.startswith(("https://", "http://")) and not path.is_dir():
        if not path.is_file():
            raise CouldNotTell(f"There is no file or folder {source}; an address begins with https://.")
        yield path, path.name
        return
    with tempfile.TemporaryDirectory(prefix="secguard-") as folder:
        made = Path(folder) / "body"
        if path.is_dir():
            _zip(path, made, show)
            yield made, f"{path.resolve().name}.zip"
        else:
            _download(source, made, show)
            yield made, urlsplit(source).path.rpartition("/")[2] or "download"


def _zip(folder: Path, into: Path, show: Progress) -> None:
    count = 0
    # Files of reproducible archives are often dated 1970, before what a ZIP can say; the date is of no use here.
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive:
        for root, _, names in os.walk(folder):
            for name in sorted(names):
                if name.endswith(ENDINGS):
                    file = Path(root) / name
                    _add(archive, file, str(file.relative_to(folder)))
                    count += 1
                    show("Packing", count, 0)
    if not count:
        raise CouldNotTell(f"{folder} holds no file that ends in one of {', '.join(ENDINGS)}.")


def _add(archive: zipfile.ZipFile, file: Path, name: str) -> None:
    """Puts a file into the archive, a packed one unpacked: the server opens no archive inside another."""
    packed = next((ending for ending in PACKED if name.endswith(ending)), "")
    if not packed:
        archive.write(file, name)
        return
    try:
        with archive.open(name.removesuffix(packed), "w", force_zip64=True) as member:
            for part in _unpacked(file, packed):
                member.write(part)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise CouldNotTell(f"{file} cannot be unpacked: {error}. Is it whole?") from error


def _unpacked(file: Path, packed: str) -> Iterator[bytes]:
    if packed == ".gz":
        with gzip.open(file) as plain:
            yield from iter(lambda: plain.read(CHUNK), b"")
        return
    frame = None
    with file.open("rb") as raw:
        while step := raw.read(2**10):
            while step:
                frame = frame or zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
                yield frame.decompress(step)
                step = frame.unused_data
                frame = None if frame.eof else frame
    if frame is not None:
        # The library says nothing where a file was cut off, and half a feed would pass for all of it.
        raise EOFError("it ends in the middle")


def _download(url: str, into: Path, show: Progress) -> None:
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=60) as answer, into.open("wb") as file:
            if not answer.is_success:
                raise CouldNotTell(f"{url} answers {answer.status_code} {answer.reason_phrase}.")
            total, done = int(answer.headers.get("Content-Length", 0) or 0), 0
            for part in answer.iter_raw(CHUNK):
                done += len(part)
                file.write(part)
                show("Fetching", done, total)
    except httpx.HTTPError as error:
        raise CouldNotTell(
            f"{url} cannot be fetched from here ({type(error).__name__}: {error}). "
            "Fetch it elsewhere and import the file."
        ) from error
