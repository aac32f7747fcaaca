"""``secguard scan``: have the server's workers look at an image, from its registry or from an archive here."""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from secguard.client import verdict
from secguard.client.gate import Progress, problem_of, progress_of, verdict_on
from secguard.client.rest import CouldNotTell, Deadline, Server

ENDED = ("finished", "failed", "cancelled")
NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
MOST_TOLD = 2**20
CHUNK = 2**20
_UNFIT = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True)
class Outcome:
    """A scan that has ended, and the verdict on each image that it looked at: one, or one a platform."""

    scan: Mapping[str, Any]
    verdicts: tuple[tuple[str, verdict.Verdict], ...]
    """(platform, verdict)."""


def scan(
    server: Server, target: str, deadline: Deadline, progress: Progress, *, image: str, application: str, stage: str
) -> Outcome:
    """Asks for the scan, waits for its end and fetches the verdicts; ``CouldNotTell`` where it failed or time is up.

    ``target`` is a reference, or the path of an archive or OCI layout; ``image`` then is what the image is called.
    """
    asked = ask(server, target, deadline, progress, image=image, application=application)
    ended = wait_for(server, asked, deadline, progress)
    found = [ended] if not ended.get("platforms") else [_get(server, pk, deadline) for pk in ended["platforms"]]
    progress("Asking for the verdict", 0, 0)
    called = str(ended.get("image") or "").partition("@")[0]
    verdicts = [
        (str(s.get("platform") or ""), verdict_on(server, str(s["digest"]), deadline, stage, called=called))
        for s in found
    ]
    return Outcome(ended, tuple(verdicts))


def ask(
    server: Server, target: str, deadline: Deadline, progress: Progress, *, image: str, application: str
) -> Mapping[str, Any]:
    """The scan as it is asked for."""
    path = Path(target)
    if path.exists():
        return upload(server, path, deadline, progress, image=image, application=application)
    if target.startswith((".", "/")):
        raise CouldNotTell(f"There is no file or folder {target}.")
    body = {"image": target, "application": application}
    return server.post("/api/v1/scans/", deadline, {k: v for k, v in body.items() if v})


def upload(
    server: Server, path: Path, deadline: Deadline, progress: Progress, *, image: str, application: str
) -> Mapping[str, Any]:
    """Sends an archive, or an OCI layout as one."""
    with _archive(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        query = {"image": image or name_in(path), "application": application}
        return server.send(
            "POST",
            "/api/v1/scans/archive/",
            deadline,
            params={k: v for k, v in query.items() if v},
            content=_parts(file, size, progress),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        )


def _parts(file: IO[bytes], size: int, progress: Progress) -> Iterator[bytes]:
    done = 0
    while part := file.read(CHUNK):
        done += len(part)
        progress("Sending the archive", done, size)
        yield part


@contextmanager
def _archive(path: Path) -> Iterator[IO[bytes]]:
    try:
        if path.is_dir():
            with tempfile.TemporaryFile() as packed:
                with tarfile.open(fileobj=packed, mode="w") as tar:
                    tar.add(path, arcname=".")
                yield packed
        else:
            with path.open("rb") as file:
                yield file
    except (OSError, tarfile.TarError) as error:
        raise CouldNotTell(f"The archive {path} cannot be read: {error}.") from error


def name_in(path: Path) -> str:
    """What the image in an archive is called: as the archive says, else after the file."""
    for told in _told_names(path):
        if "/" in told or ":" in told:
            return told
    stem = path.resolve().name.partition(".")[0].lower()
    return f"localhost/{_UNFIT.sub('-', stem).strip('-._') or 'image'}:latest"


def _told_names(path: Path) -> Iterator[str]:
    for document in _documents(path):
        rows = document if isinstance(document, list) else document.get("manifests", [])
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict):
                annotations = row.get("annotations") or {}
                yield from (str(t) for t in row.get("RepoTags") or [])
                yield from (str(annotations[n]) for n in NAMES if annotations.get(n))


def _documents(path: Path) -> Iterator[Any]:
    for name in ("manifest.json", "index.json"):
        try:
            raw = (path / name).read_bytes() if path.is_dir() else _member(path, name)
            if raw and len(raw) < MOST_TOLD:
                yield json.loads(raw)
        except (OSError, ValueError, tarfile.TarError, RecursionError):
            continue


def _member(path: Path, name: str) -> bytes:
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.removeprefix("./") == name and member.isfile() and member.size < MOST_TOLD:
                file = tar.extractfile(member)
                return file.read() if file else b""
    return b""


def wait_for(server: Server, asked: Mapping[str, Any], deadline: Deadline, progress: Progress) -> Mapping[str, Any]:
    """The scan once it has ended."""
    found = asked
    for _ in deadline.pauses():
        if found.get("status") in ENDED:
            break
        progress(*progress_of(found))
        found = _get(server, found["id"], deadline)
    if found.get("status") == "finished":
        return found
    if found.get("status") in ENDED:
        raise CouldNotTell(f"The scan {found['id']} {_how(found)}")
    raise CouldNotTell(
        f"The scan {found['id']} is still {found.get('status')} after {deadline.seconds:g} s. It goes on without this "
        "command; ask again with the same command, or give it longer with --wait."
    )


def _how(found: Mapping[str, Any]) -> str:
    return "was cancelled." if found["status"] == "cancelled" else f"failed: {problem_of(found)}"


def cancel(server: Server, scan_id: int, deadline: Deadline) -> Mapping[str, Any]:
    """Calls an open scan off."""
    return server.post(f"/api/v1/scans/{scan_id}/cancel/", deadline)


def _get(server: Server, scan_id: object, deadline: Deadline) -> Mapping[str, Any]:
    return server.get(f"/api/v1/scans/{quote(str(scan_id))}/", deadline)
