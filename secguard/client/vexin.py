"""``secguard vex-import``: a VEX document, or a scanner's ignore list, brought in; what it asks for others decide."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from secguard.client.formats.cleaning import line
from secguard.client.gate import digest_of
from secguard.client.rest import CouldNotTell, Deadline, Server

MAX_BYTES: Final = 16 * 1024 * 1024
_WORDS: Final = {
    "requested": "asked for",
    "open": "asked for already",
    "decided": "decided already",
    "refused": "refused",
}


def load(path: str) -> bytes:
    """The document's bytes; ``-`` is the standard input. Raises ``CouldNotTell``."""
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if path == "-" else _read(Path(path))
    except OSError as error:
        raise CouldNotTell(f"{path} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_BYTES:
        raise CouldNotTell(f"{path} has more than {MAX_BYTES:,} bytes, which is what is taken. Split it.")
    return raw


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def signature(path: str) -> str:
    """The signature beside the document, base64, as ``cosign sign-blob`` writes it. Raises ``CouldNotTell``."""
    try:
        text = _read(Path(path))[:1_000].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CouldNotTell(f"{path} cannot be read as a signature in base64: {error}.") from error
    return "".join(text.split())


def take_in(server: Server, deadline: Deadline, raw: bytes, *, image: str = "", **asked: str) -> dict[str, Any]:
    """Posts the document, to one image or for all that its products match; returns the server's answer.

    ``asked`` is as the API takes it: ``expires_at``, ``repository``, ``application``, ``preview``, ``signature``.
    """
    path = f"/api/v1/images/{digest_of(server, image, deadline)}/vex/" if image else "/api/v1/vex/"
    headers = {"Content-Type": "application/octet-stream"}
    params = {name: text for name, text in asked.items() if text}
    return server.send("POST", path, deadline, content=raw, headers=headers, params=params)


def as_text(answer: dict[str, Any], *, is_preview: bool = False) -> str:
    """The answer for a terminal: a line for each decision, then what asked for nothing, and why."""
    words = _WORDS | ({"requested": "would be asked for"} if is_preview else {})
    rows = []
    for item in answer.get("results", []):
        decision = f" (decision {item['decision']})" if item.get("decision") else ""
        problem = f": {(item.get('problem') or {}).get('detail', '')}" if item.get("problem") else ""
        what = f"{item.get('vulnerability')} in {item.get('scope')} {item.get('scope_label')}"
        rows.append(line(f"{words.get(item.get('outcome', ''), 'unknown')}: {what}{decision}{problem}"))
    for told in answer.get("told", []):
        rows.append(line(f"nothing to ask, {told.get('count')} times: {told.get('why')}"))
    rows += [line(f"left out: {text}") for text in answer.get("left_out", [])]
    asked = "decisions would be asked for; nothing was sent." if is_preview else "decisions asked for."
    rows.append(line(f"{answer.get('statements')} statements, {answer.get('requested')} {asked}"))
    return "\n".join(rows) + "\n"


def refused(answer: dict[str, Any]) -> bool:
    return any(item.get("outcome") == "refused" for item in answer.get("results", []))
