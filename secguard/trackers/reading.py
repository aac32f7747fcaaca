"""Issues as GitHub and Jira describe them, in answers and in webhooks. Pure; what is read is hostile."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from secguard.errors import Invalid
from secguard.trackers.keeping import RemoteState
from secguard.trackers.wording import cleaned

STATES = {"new": RemoteState.OPEN, "indeterminate": RemoteState.IN_PROGRESS, "done": RemoteState.CLOSED}
_KEY = re.compile(r"[A-Z][A-Z0-9_]{1,49}-[1-9][0-9]{0,9}")
_ZONE = re.compile(r"([+-]\d{2})(\d{2})$")


@dataclass(frozen=True, slots=True)
class Seen:
    """One issue, at ``updated_at`` by the tracker's clock. ``remote_id`` holds when its key changes."""

    remote_id: str
    key: str
    state: RemoteState
    title: str = ""
    status: str = ""
    resolution: str = ""
    assignee: str = ""
    updated_at: datetime | None = None
    text: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a webhook tells: an issue as it now is, or that it is gone; nothing, where it is about something else."""

    seen: Seen | None = None
    ignored: str = ""


def document(raw: bytes, what: str) -> dict[str, Any]:
    """A JSON object; raises ``Invalid``."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise Invalid(f"{what} is no JSON; expected an object.", code="tracker-json", where="body") from None
    if not isinstance(found, dict):
        raise Invalid(f"{what} is a JSON {type(found).__name__}; expected an object.", where="body")
    return found


def github_issue(found: Any) -> Seen:
    """An issue of GitHub's REST API; raises ``Invalid``."""
    issue = _object(found, "issue")
    number = issue.get("number")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 10**10:
        raise _odd("issue.number", number, "a whole number above 0")
    if issue.get("pull_request"):
        raise Invalid(f"#{number} is a pull request; expected an issue.", where="existing")
    state = issue.get("state")
    if state not in ("open", "closed"):
        raise _odd("issue.state", state, "open or closed")
    listed = issue.get("assignees")
    people = (listed if isinstance(listed, list) else []) or [issue.get("assignee")]
    return Seen(
        remote_id=str(number),
        key=f"#{number}",
        state=RemoteState(state),
        title=_text(issue, "title", 300),
        status=str(state),
        resolution=_text(issue, "state_reason", 100) if state == "closed" else "",
        assignee=cleaned(", ".join(filter(None, (_text(maybe(a), "login", 60) for a in people))), 200),
        updated_at=moment(issue.get("updated_at"), "issue.updated_at"),
        text=issue["body"] if isinstance(issue.get("body"), str) else "",
    )


def github_hook(event: str, raw: bytes, project: str) -> Heard:
    """What GitHub tells of ``issues``; raises ``Invalid``. A pull request is an issue to GitHub, but none to us."""
    if event != "issues":
        return Heard(ignored=f"an event {cleaned(event, 40)!r}, not issues")
    told = document(raw, "The body")
    name = str(maybe(told.get("repository")).get("full_name", ""))
    if name.lower() != project.lower():
        return Heard(ignored="of another repository")
    seen = github_issue(told.get("issue"))
    if told.get("action") in ("deleted", "transferred"):
        return Heard(Seen(seen.remote_id, seen.key, RemoteState.GONE, seen.title, str(told["action"])))
    return Heard(seen)


def jira_issue(found: Any) -> Seen:
    """An issue of Jira's REST API 2 or 3; raises ``Invalid``."""
    issue = _object(found, "issue")
    key, remote_id = issue.get("key"), issue.get("id")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _odd("issue.key", key, "one like SHOP-12")
    if not isinstance(remote_id, str | int) or not re.fullmatch(r"[0-9]{1,18}", str(remote_id)):
        raise _odd("issue.id", remote_id, "digits")
    fields = _object(issue.get("fields"), "issue.fields")
    status = _object(fields.get("status"), "issue.fields.status")
    category = maybe(status.get("statusCategory")).get("key")
    return Seen(
        remote_id=str(remote_id),
        key=key,
        state=STATES.get(category if isinstance(category, str) else "", RemoteState.OPEN),
        title=_text(fields, "summary", 300),
        status=_text(status, "name", 100),
        resolution=_text(maybe(fields.get("resolution")), "name", 100),
        assignee=_text(maybe(fields.get("assignee")), "displayName", 200),
        updated_at=moment(fields.get("updated"), "issue.fields.updated"),
        project=key.rpartition("-")[0],
    )


def jira_hook(raw: bytes) -> Heard:
    """What Jira tells of an issue; raises ``Invalid``."""
    told = document(raw, "The body")
    event = told.get("webhookEvent")
    if event not in ("jira:issue_created", "jira:issue_updated", "jira:issue_deleted"):
        return Heard(ignored=f"an event {cleaned(str(event), 40)!r}, not of an issue")
    seen = jira_issue(told.get("issue"))
    if event == "jira:issue_deleted":
        return Heard(Seen(seen.remote_id, seen.key, RemoteState.GONE, seen.title, "deleted", project=seen.project))
    return Heard(seen)


def moment(text: Any, where: str) -> datetime:
    """An instant with its zone: ``2026-11-28T07:00:00Z``, or Jira's ``2026-11-28T07:00:00.123+0100``."""
    try:
        found = datetime.fromisoformat(_ZONE.sub(r"\1:\2", text) if isinstance(text, str) else "")
        if found.tzinfo is None or not 2000 < found.year < 2200:
            raise ValueError
    except ValueError:
        raise _odd(where, text, "an instant like 2026-11-28T07:00:00Z") from None
    return found


def _object(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise _odd(where, found, "an object")
    return found


def maybe(found: Any) -> dict[str, Any]:
    """An object, or an empty one in place of anything else."""
    return found if isinstance(found, dict) else {}


def _text(found: dict[str, Any], name: str, most: int) -> str:
    value = found.get(name)
    return cleaned(value, most) if isinstance(value, str) else ""


def _odd(where: str, found: Any, expected: str) -> Invalid:
    return Invalid(
        f"{where} is {cleaned(repr(found)[:80])}; expected {expected}.", code="tracker-document", where=where
    )
