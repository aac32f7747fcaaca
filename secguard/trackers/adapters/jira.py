"""Issues of a Jira project: Cloud by REST API 3 (Atlassian Document Format), Data Center by 2 (wiki markup)."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from secguard.errors import Conflict
from secguard.trackers import reading
from secguard.trackers.adapters.client import Client
from secguard.trackers.keeping import RemoteState
from secguard.trackers.reading import Seen
from secguard.trackers.wording import Document, Story, adf, body, headline, wiki

FIELDS = "summary,status,resolution,assignee,updated"


def headers(token: str, login: str) -> dict[str, str]:
    """Basic with an account's e-mail and API token, or a personal access token as bearer."""
    if login:
        pair = base64.b64encode(f"{login}:{token}".encode()).decode()
        return {"Authorization": f"Basic {pair}", "Accept": "application/json"}
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


class Jira:
    def __init__(self, client: Client, project: str, issue_type: str, *, is_cloud: bool) -> None:
        self._client = client
        self._project = project
        self._type = issue_type
        self._is_cloud = is_cloud
        self._api = "/rest/api/3" if is_cloud else "/rest/api/2"

    def _markup(self, document: Document) -> Any:
        return adf(document) if self._is_cloud else wiki(document)

    def look(self) -> str:
        """What the account sees of the project, in words."""
        found = reading.maybe(self._client.ask("GET", f"{self._api}/project/{self._project}"))
        listed = found.get("issueTypes")
        names = [str(reading.maybe(t).get("name")) for t in listed] if isinstance(listed, list) else []
        if names and self._type not in names:
            return f"{self._project} answers, but has no issue type {self._type!r}; it has {', '.join(names[:12])}."
        return f"{self._project} answers, and has the issue type {self._type!r}."

    def find(self, marker: str, since: datetime) -> Seen | None:
        """The issue that a former attempt made, by the word in its description that no other has."""
        asked = {"jql": f'project = "{self._project}" AND description ~ "{marker}"', "fields": FIELDS}
        # Cloud took /search away in 2025 (Atlassian's CHANGE-2046); Data Center has no other.
        path = f"{self._api}/search/jql" if self._is_cloud else f"{self._api}/search"
        rows = reading.maybe(self._client.ask("GET", path, query={**asked, "maxResults": "2"})).get("issues")
        return reading.jira_issue(rows[0]) if isinstance(rows, list) and rows else None

    def create(self, story: Story) -> Seen:
        fields = {
            "project": {"key": self._project},
            "issuetype": {"name": self._type},
            "summary": headline(story),
            "description": self._markup(body(story)),
        }
        made = reading.maybe(self._client.ask("POST", f"{self._api}/issue", {"fields": fields}))
        return self.fetch(str(made.get("id", "")) if str(made.get("id", "")).isdigit() else "0")

    def fetch(self, remote_id: str) -> Seen:
        return reading.jira_issue(self._client.ask("GET", self._path(remote_id), query={"fields": FIELDS}))

    def say(self, remote_id: str, document: Document) -> None:
        self._client.ask("POST", f"{self._path(remote_id)}/comment", {"body": self._markup(document)})

    def close(self, remote_id: str, *, is_fixed: bool) -> Seen:
        """By the workflow's own transition into a status that counts as done."""
        return self._move(remote_id, {RemoteState.CLOSED})

    def reopen(self, remote_id: str) -> Seen:
        return self._move(remote_id, {RemoteState.OPEN, RemoteState.IN_PROGRESS})

    def number_of(self, key: str) -> str:
        return key

    def _move(self, remote_id: str, into: set[RemoteState]) -> Seen:
        path = f"{self._path(remote_id)}/transitions"
        listed = reading.maybe(self._client.ask("GET", path)).get("transitions")
        known = [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []
        ways = [t for t in known if _leads_to(t) in into and str(t.get("id", "")).isdigit()]
        if not ways:
            names = ", ".join(str(t.get("name")) for t in known[:8]) or "none"
            raise Conflict(
                f"The workflow has no way from here to a status that is {' or '.join(sorted(into))}; its transitions: "
                f"{names}. Move the issue there by hand.",
                code="tracker-workflow",
            )
        first = min(ways, key=lambda t: _leads_to(t) is RemoteState.IN_PROGRESS)
        self._client.ask("POST", path, {"transition": {"id": str(first["id"])}})
        return self.fetch(remote_id)

    def _path(self, remote_id: str) -> str:
        return f"{self._api}/issue/{remote_id}"


def _leads_to(transition: dict[str, Any]) -> RemoteState:
    category = reading.maybe(reading.maybe(transition.get("to")).get("statusCategory")).get("key")
    return reading.STATES.get(category if isinstance(category, str) else "", RemoteState.UNKNOWN)
