"""``secguard promote``, ``secguard promotions`` and ``secguard recall``: ask, wait, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from secguard.client.advisories import Progress
from secguard.client.formats import table
from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell, Deadline, Server
from secguard.client.verdict import Exit, reasons_of

PATH = "/api/v1/promotions/"
OPEN = ("waiting", "running")
WAIT_SECONDS = 1
"""The server answers once it has ended, and after these at the latest, for the progress that is shown."""
BREATH = 0.05
"""Between two questions, where a server does not wait."""
WORDS = {
    "promoted": "PROMOTED",
    "refused": "REFUSED",
    "failed": "FAILED",
    "withdrawn": "WITHDRAWN",
    "recalled": "RECALLED",
    "waiting": "WAITS FOR APPROVAL",
    "running": "ON ITS WAY",
}
EXITS = {"promoted": Exit.PASSED, "refused": Exit.BLOCKED, "withdrawn": Exit.BLOCKED, "recalled": Exit.BLOCKED}
VERBS = ("approve", "reject", "withdraw", "retry")
_STEPS = {
    "verdict": "Asking for the verdict",
    "approvals": "Looking at the approvals",
    "copy": "Copying",
    "sign": "Signing",
    "attest": "Attesting",
    "read-back": "Reading it back",
    "tag": "Moving the tags",
    "record": "Recording",
}


def promote(
    server: Server, image: str, to: str, deadline: Deadline, show: Progress, *, tags: Sequence[str], wait: bool
) -> dict[str, Any]:
    """Asks, and with ``wait`` waits for the end; the promotion's document as it is then.

    Raises ``CouldNotTell`` where the time is up before that.
    """
    asked: dict[str, Any] = {"image": image, "to": to} | ({"tags": list(tags)} if tags else {})
    found = server.post(f"{PATH}?wait={WAIT_SECONDS}" if wait else PATH, deadline, asked)
    if not wait:
        return found
    for _ in deadline.pauses():
        while found.get("status") == "running" and deadline.left > 0:
            show(*_progress(found))
            deadline.sleep(BREATH)
            found = server.get(f"{PATH}{found['id']}/", deadline, wait=WAIT_SECONDS)
        if found.get("status") not in OPEN:
            return found
        show(*_progress(found))
        found = server.get(f"{PATH}{found['id']}/", deadline)
    what = "waits for approval" if found.get("status") == "waiting" else "is still on its way"
    raise CouldNotTell(
        f"The promotion {found['id']} {what} after {deadline.seconds:g} s. It goes on without this command; see "
        f"{server.url}/promotions/{found['id']}/, or give it longer with --wait SECONDS."
    )


def act(server: Server, deadline: Deadline, verb: str, pk: str, comment: str) -> dict[str, Any]:
    """Approve, reject, withdraw or try again."""
    if not pk.isdigit():
        raise CouldNotTell(f"{pk!r} is no promotion's number; expected what {PATH} calls its id.")
    return server.post(f"{PATH}{pk}/{verb}/", deadline, {"comment": comment} if comment else {})


def recall(server: Server, deadline: Deadline, digest: str, reason: str, *, lift: bool) -> dict[str, Any]:
    """Call a digest back, or lift that."""
    path = f"/api/v1/images/{digest}/recall/"
    return server.send("DELETE" if lift else "POST", path, deadline, json={"reason": reason})


def exit_of(promotion: Mapping[str, Any], *, waited: bool) -> int:
    """0 promoted, or asked for where nobody waits; 1 refused, withdrawn or called back; 2 it failed."""
    status = str(promotion.get("status"))
    if status in OPEN and not waited:
        return Exit.PASSED
    return EXITS.get(status, Exit.COULD_NOT_TELL)


def as_text(promotion: Mapping[str, Any], url: str) -> str:
    """For a person at a terminal: what became of it, why, and the way out."""
    return "\n".join(_lines(promotion, url)) + "\n"


def _lines(promotion: Mapping[str, Any], url: str) -> Iterator[str]:
    status = str(promotion.get("status"))
    source = f"{promotion.get('source')}@{promotion.get('digest')}"
    yield f"{WORDS.get(status, line(status))}: {line(source)} to {line(str(promotion.get('environment')))}"
    tags = ", ".join(str(tag) for tag in promotion.get("tags") or []) or "no tag"
    yield f"Destination {line(str(promotion.get('destination')))} ({line(tags)})"
    if why := promotion.get("why"):
        yield line(str(why), 2000)
    if missing := (promotion.get("approval") or {}).get("missing"):
        yield "Still needs " + ", ".join(f"{count} {line(role)}" for role, count in missing.items())
    for reason in reasons_of(promotion, url):
        yield ""
        yield from table.reason_lines(reason)
    yield ""
    yield f"{url}/promotions/{promotion.get('id')}/"


def _progress(promotion: Mapping[str, Any]) -> tuple[str, int, int]:
    if promotion.get("status") == "waiting":
        return "Waiting for approval", 0, 0
    told = promotion.get("progress") or {}
    text = str(told.get("text") or "")
    return _STEPS.get(text, text or "Waiting for a worker"), int(told.get("done") or 0), int(told.get("total") or 0)
