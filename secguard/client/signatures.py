"""``secguard sign`` and ``secguard signatures``: have an image signed where it lies, and read who signed it."""

from __future__ import annotations

from typing import Any

from secguard.client.advisories import Progress
from secguard.client.gate import digest_of
from secguard.client.rest import CouldNotTell, Deadline, Server


def sign(
    server: Server, image: str, deadline: Deadline, show: Progress, *, key: str, repository: str, attest: bool = False
) -> list[dict[str, Any]]:
    """Signs with ``key`` (empty: only looks) and returns every signature that was seen."""
    digest = digest_of(server, image, deadline)
    place = repository or _repository_of(server, image, digest, deadline)
    path = f"/api/v1/images/{digest}/signatures/"
    asked: dict[str, Any] = {"repository": place} | ({"key": key} if key else {}) | ({"attest": True} if attest else {})
    job = server.post(path, deadline, asked)
    for _ in deadline.pauses():
        if job.get("status") not in ("queued", "running"):
            break
        show("Signing" if key else "Looking", 0, 0)
        job = server.get(f"{path}job/", deadline, repository=place)
    if job.get("status") != "succeeded":
        raise CouldNotTell(
            f"The job is {job.get('status')}: {job.get('error') or 'it goes on; a longer --wait waits for it'}"
        )
    return seen(server, digest, deadline, most=1000)


def seen(server: Server, image: str, deadline: Deadline, *, most: int) -> list[dict[str, Any]]:
    """The signatures that were seen when the image was last looked at."""
    return server.pages(f"/api/v1/images/{digest_of(server, image, deadline)}/signatures/", deadline, most=most)


def _repository_of(server: Server, image: str, digest: str, deadline: Deadline) -> str:
    """Where the image lies: as the reference says, or the only place that there is."""
    known = server.get(f"/api/v1/images/{digest}/", deadline).get("repositories") or []
    names = sorted({str(place.get("repository")) for place in known})
    fitting = [name for name in names if image.startswith((f"{name}:", f"{name}@"))] or names
    if len(fitting) != 1:
        found = ", ".join(fitting) or "no repository that this token may see"
        raise CouldNotTell(f"The image lies in {found}; say which with --repository.")
    return fitting[0]
