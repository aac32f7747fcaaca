"""``secguard gate`` and ``secguard report``: post, wait, fetch the verdict."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from secguard.client import verdict
from secguard.client.rest import CouldNotTell, Deadline, NoSuchThing, Server

STAGES = ("build", "promote", "admit", "run")
DIGEST = re.compile(r"(?:^|@)(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")
# The server holds a request for so long at most; after that the scan is asked for again and again.
WAIT_IN_REQUEST = 20
MOST_DETAILS = 2_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Report:
    """A scanner's output, byte for byte."""

    content: bytes
    name: str

    @classmethod
    def load(cls, path: str) -> Report:
        """From a file, or ``-`` for the standard input; ``CouldNotTell`` where it cannot be read or is empty."""
        try:
            content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        except OSError as error:
            raise CouldNotTell(f"The report {path} cannot be read: {error.strerror}.") from error
        if not content.strip():
            name = "the standard input" if path == "-" else path
            raise CouldNotTell(f"The report from {name} is empty: did the scanner fail before it wrote anything?")
        return cls(content, "standard input" if path == "-" else path)

    def idempotency_key(self, image: str) -> str:
        """The same for the same bytes about the same image: a pipeline that is run again makes no second scan."""
        return hashlib.sha256(image.encode() + b"\0" + self.content).hexdigest()


def post_report(
    server: Server, report: Report, deadline: Deadline, progress: Progress, *, image: str = "", **about: str
) -> Mapping[str, Any]:
    """Posts a report and waits for its scan; returns the finished scan's document.

    ``about`` says what the report does not: ``scanner``, ``application``, ``renamed``.
    """
    progress("Posting the report", 0, 0)
    query = {"image": image, **about, "wait": min(WAIT_IN_REQUEST, int(deadline.left))}
    scan = server.send(
        "POST",
        "/api/v1/reports/",
        deadline,
        params={name: value for name, value in query.items() if value},
        content=report.content,
        headers={"Content-Type": "application/octet-stream", "Idempotency-Key": report.idempotency_key(image)},
    )
    return wait_for_scan(server, scan, deadline, progress)


def wait_for_scan(server: Server, scan: Mapping[str, Any], deadline: Deadline, progress: Progress) -> Mapping[str, Any]:
    """The scan once it has ended; ``CouldNotTell`` where it failed or the time is up."""
    identity = scan.get("id")
    if identity is None:
        raise CouldNotTell("The server's answer names no scan; is it of another release than this command?")
    for _ in deadline.pauses():
        status = str(scan.get("status", ""))
        if status == "failed":
            raise CouldNotTell(f"The scan {identity} failed: {problem_of(scan)}")
        if status == "finished" and ("verdict" not in scan or scan["verdict"]):
            return scan
        progress(*progress_of(scan))
        scan = server.get(f"/api/v1/scans/{quote(str(identity))}/", deadline)
    raise CouldNotTell(
        f"The scan {identity} is still {scan.get('status')} after {deadline.seconds:g} s. It goes on without this "
        f"command; ask again with: secguard gate IMAGE, or give it longer with --wait."
    )


def problem_of(scan: Mapping[str, Any]) -> str:
    """Why a scan failed, in words."""
    problem = scan.get("problem")
    if isinstance(problem, Mapping):
        problem = problem.get("detail") or problem.get("title")
    return str(problem or "the server says no more")


def progress_of(scan: Mapping[str, Any]) -> tuple[str, int, int]:
    """How far an open scan is: words, and done of total where that is known."""
    shown = scan.get("progress")
    if isinstance(shown, Mapping):
        return str(shown.get("text") or scan.get("status")), int(shown.get("done") or 0), int(shown.get("total") or 0)
    return f"The scan is {scan.get('status')}", 0, 0


def gate(
    server: Server,
    image: str,
    deadline: Deadline,
    progress: Progress,
    *,
    stage: str = "build",
    report: Report | None = None,
    **about: str,
) -> verdict.Verdict:
    """The verdict on an image at a stage, after posting ``report`` where there is one."""
    if report is None:
        digest = digest_of(server, image, deadline)
    else:
        scan = post_report(server, report, deadline, progress, image=image, **about)
        digest = str(scan.get("digest") or digest_of(server, image, deadline))
    progress("Asking for the verdict", 0, 0)
    return verdict_on(server, digest, deadline, stage, called=image)


def verdict_on(server: Server, digest: str, deadline: Deadline, stage: str, *, called: str = "") -> verdict.Verdict:
    """The verdict on a digest at a stage, with what its reasons name; the image is named as it was ``called``.

    One digest has many names; what a pipeline asked about is the one it knows. A bare digest is named by the server.
    """
    document = server.get(f"/api/v1/images/{digest}/verdict/", deadline, stage=stage)
    named = verdict.finding_ids(document)
    details = _details(server, digest, named, deadline) if named else {}
    return verdict.read(document, server.url, details, called="" if called == digest else called)


def digest_of(server: Server, image: str, deadline: Deadline) -> str:
    """The digest that a reference stands for: from itself, or from what the server last saw it point to."""
    found = DIGEST.search(image)
    if found:
        return found[1]
    if not image.strip():
        raise CouldNotTell("No image is named: is the variable that names it set?")
    images = server.pages("/api/v1/images/", deadline, most=2, reference=image)
    if not images:
        raise NoSuchThing(
            f"The server knows no image {image!r} (or does not show it to this token). Scan it first: "
            f"secguard gate {shlex.quote(image)} --report FILE"
        )
    return str(images[0]["digest"])


def _details(server: Server, digest: str, named: set[str], deadline: Deadline) -> dict[str, Mapping[str, Any]]:
    """The findings that the verdict names by id. Without them the answer is the same, so a failure costs only words."""
    try:
        rows = server.pages(f"/api/v1/images/{digest}/findings/", deadline, most=MOST_DETAILS)
    except CouldNotTell:
        return {}
    return {str(row.get("id")): row for row in rows if str(row.get("id")) in named}
