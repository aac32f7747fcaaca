"""``secguard decisions``: ask, decide, withdraw, revoke; and the plain lists of images and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell, Deadline, NoSuchThing, Server

SCOPES = ("image", "repository", "application", "organisation")
KINDS = ("fix", "mitigate", "accept", "not_affected")
JUSTIFICATIONS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)
VERBS = ("approve", "reject", "withdraw", "revoke")


def request(
    server: Server,
    deadline: Deadline,
    *,
    kind: str,
    risk: str,
    scope: Mapping[str, Any],
    reason: str,
    until: str,
    conditions: Mapping[str, Any] | None = None,
    justification: str = "",
    controls: Sequence[int] = (),
) -> dict[str, Any]:
    """Asks for a decision; returns its document. ``risk`` is an id, or words that find exactly one risk."""
    document = {
        "kind": kind,
        "risk": risk_id(server, deadline, risk),
        "scope": dict(scope),
        "reason": reason,
        "expires_at": until,
        "conditions": dict(conditions or {}),
        **({"justification": justification} if justification else {}),
        **({"controls": list(controls)} if controls else {}),
    }
    return server.post("/api/v1/decisions/", deadline, document)


def risk_id(server: Server, deadline: Deadline, risk: str) -> int:
    """The id of a risk from its id, or from a search (``CVE-2026-1234``) that finds exactly one."""
    if risk.isdigit():
        return int(risk)
    found = server.pages("/api/v1/risks/", deadline, most=6, search=risk)
    if not found:
        raise NoSuchThing(f"No risk matches {risk!r}; look for it with: secguard findings IMAGE")
    if len(found) > 1:
        listed = "\n".join(f"  {row.get('id')}  {line(_title(row))}" for row in found[:5])
        raise CouldNotTell(f"Several risks match {risk!r}; name one by its id:\n{listed}")
    return int(found[0]["id"])


def decide(server: Server, deadline: Deadline, verb: str, identity: str, comment: str) -> dict[str, Any]:
    """Approves, rejects, withdraws or revokes a decision; returns its new document."""
    sent = {"reason" if verb == "revoke" else "comment": comment}
    return server.post(f"/api/v1/decisions/{quote(identity, safe='')}/{verb}/", deadline, sent)


def show(server: Server, deadline: Deadline, identity: str) -> dict[str, Any]:
    return server.get(f"/api/v1/decisions/{quote(identity, safe='')}/", deadline)


def _title(row: Mapping[str, Any]) -> str:
    parts = (row.get("vulnerability") or row.get("title"), row.get("package") or row.get("component"))
    return " in ".join(text for text in map(plain, parts) if text)


def plain(value: Any) -> str:
    """A value of a JSON document as one short text."""
    if isinstance(value, Mapping):
        for name in ("reference", "name", "username", "purl", "digest", "id"):
            if value.get(name):
                return plain(value[name])
        return ", ".join(name if part is True else f"{name}: {plain(part)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(part) for part in value)
    return "" if value is None else line(str(value), 120)


def rows_as_text(rows: list[dict[str, Any]], columns: Sequence[str]) -> str:
    """Rows under column headings, aligned; what a terminal must not see is taken out."""
    table = [[name.replace("_", " ").upper() for name in columns]]
    table += [[plain(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(row[n]) for row in table) for n in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "\n".join(lines) + "\n"


def document_as_text(document: Mapping[str, Any]) -> str:
    """One name and value a line."""
    width = max((len(name) for name in document), default=0)
    return "".join(f"{name.ljust(width)}  {plain(value)}\n" for name, value in document.items())
