"""What an issue and what SecGuard finds have to do with each other. Pure.

An issue never changes what was found or decided: closing one elsewhere is somebody's word, and the law of four eyes
holds here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum
from urllib.parse import urlsplit

from secguard.errors import Invalid


class TrackerKind(StrEnum):
    GITHUB = "github"
    JIRA_CLOUD = "jira-cloud"
    JIRA_DATA_CENTER = "jira-data-center"

    @property
    def is_jira(self) -> bool:
        return self is not TrackerKind.GITHUB


class IssueStatus(StrEnum):
    """Of the link: what the tracker says of the issue is ``RemoteState``."""

    WAITING = "waiting"
    LINKED = "linked"
    FAILED = "failed"
    ENDED = "ended"


class RemoteState(StrEnum):
    UNKNOWN = ""
    OPEN = "open"
    IN_PROGRESS = "in-progress"
    CLOSED = "closed"
    GONE = "gone"


class Standing(StrEnum):
    """Of a risk in one team's newest images."""

    OPEN = "open"
    FIXED = "fixed"
    ACCEPTED = "accepted"


class ActKind(StrEnum):
    OPEN = "open"
    LINK = "link"
    TELL = "tell"


class ActStatus(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


def standing(*, is_present: bool, is_uncovered: bool) -> Standing:
    if not is_present:
        return Standing.FIXED
    return Standing.OPEN if is_uncovered else Standing.ACCEPTED


def in_words(state: str, stands: str) -> str:
    """What differs between there and here; empty where nothing does."""
    if state == RemoteState.CLOSED and stands == Standing.OPEN:
        return "closed there, still found here"
    if state == RemoteState.GONE:
        return "gone there: deleted, moved, or no longer shown to the token"
    if state in (RemoteState.OPEN, RemoteState.IN_PROGRESS) and stands == Standing.FIXED:
        return "fixed here, still open there"
    if state in (RemoteState.OPEN, RemoteState.IN_PROGRESS) and stands == Standing.ACCEPTED:
        return "covered by a decision here, still open there"
    return ""


_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_PROJECT = re.compile(r"[A-Z][A-Z0-9_]{1,49}")
_NUMBER = re.compile(r"#?([1-9][0-9]{0,9})")
_JIRA_KEY = re.compile(r"([A-Z][A-Z0-9_]{1,49})-([1-9][0-9]{0,9})")


def checked_project(kind: TrackerKind, text: str) -> str:
    """``owner/repository`` or a Jira project's key; raises ``Invalid``."""
    project = text.strip()
    if kind.is_jira:
        if not _PROJECT.fullmatch(project):
            raise Invalid(f"The project is {project[:60]!r}; expected its key, as in SHOP.", where="project")
    elif not _REPOSITORY.fullmatch(project) or project.split("/")[1] in (".", ".."):
        raise Invalid(f"The repository is {project[:60]!r}; expected owner/repository.", where="project")
    return project


def site_of(kind: TrackerKind, base_url: str) -> str:
    """Where people see what the API at ``base_url`` tells of."""
    base = base_url.rstrip("/")
    if kind.is_jira:
        return base
    parts = urlsplit(base)
    if parts.hostname == "api.github.com":
        return "https://github.com"
    return base.removesuffix("/api/v3")


def issue_url(kind: TrackerKind, base_url: str, project: str, key: str) -> str:
    """The issue's address for people: made here, never taken from an answer."""
    site = site_of(kind, base_url)
    return f"{site}/browse/{key}" if kind.is_jira else f"{site}/{project}/issues/{key.removeprefix('#')}"


def checked_key(kind: TrackerKind, base_url: str, project: str, text: str) -> str:
    """The key of an existing issue (``#12``, ``SHOP-12``) from what somebody typed or pasted.

    Raises ``Invalid`` where it is no issue, or one of another project: the tracker's token may read more than this
    tracker is for.
    """
    entered = text.strip()
    site = site_of(kind, base_url)
    if entered.lower().startswith(("http://", "https://")):
        path = "/browse/" if kind.is_jira else f"/{project}/issues/"
        if not entered.lower().startswith(f"{site}{path}".lower()):
            raise _no_issue(entered, f"{site}{path}…")
        entered = re.split(r"[?#/]", entered[len(site) + len(path) :])[0]
    if not kind.is_jira:
        found = _NUMBER.fullmatch(entered.removeprefix(project) if entered.startswith(f"{project}#") else entered)
        if found:
            return f"#{found[1]}"
        raise _no_issue(text, f"a number, #12, or {site}/{project}/issues/12")
    found = _JIRA_KEY.fullmatch(entered.upper())
    if found and found[1] == project:
        return entered.upper()
    raise _no_issue(text, f"{project}-12, or {site}/browse/{project}-12")


def _no_issue(text: str, expected: str) -> Invalid:
    return Invalid(f"{text[:100]!r} is no issue of this tracker; expected {expected}.", where="existing")


# --- signatures of webhooks ---

_PREFIX = "sha256="


def signature(secret: str, body: bytes) -> str:
    return _PREFIX + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def is_signed(secret: str, body: bytes, header: str) -> bool:
    """GitHub's ``X-Hub-Signature-256`` and Jira Cloud's ``X-Hub-Signature``, compared in constant time."""
    return hmac.compare_digest(signature(secret, body).encode(), header.strip().encode("utf-8", "replace"))


def path_word(secret: str) -> str:
    """The secret part of the address for who signs nothing (Jira Data Center before it could): it does not tell the
    secret itself, for addresses come into logs."""
    return hmac.new(secret.encode(), b"path", hashlib.sha256).hexdigest()[:40]


def is_path(secret: str, word: str) -> bool:
    return hmac.compare_digest(path_word(secret).encode(), word.encode("utf-8", "replace"))
