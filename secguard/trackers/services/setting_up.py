"""Set trackers up: the organisation's and each team's are its administrators'. Credentials go in and never come out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.findings.severity import Severity
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.sealing import seal, unseal
from secguard.trackers.adapters import client
from secguard.trackers.keeping import TrackerKind, checked_project
from secguard.trackers.models import Tracker

SEALED_FOR = "tracker"
MOST = 50
"""Of one team, or of the organisation."""

WORK: Final = "trackers.work"
TRY: Final = "trackers.try"


@dataclass(frozen=True, slots=True)
class TrackerEdit:
    """What a tracker is to be. ``None`` leaves a field as it is; ``opens_from`` "" and ``opens_application`` "" mean
    none."""

    name: str | None = None
    base_url: str | None = None
    issue_type: str | None = None
    login: str | None = None
    token: str | None = None
    is_active: bool | None = None
    closes: bool | None = None
    reopens: bool | None = None
    opens_from: str | None = None
    opens_overdue: bool | None = None
    opens_application: str | None = None

    def checked(self, team: Team | None) -> dict[str, Any]:
        """The model's fields to set. Raises ``Invalid``; asks for the addresses of the URL's host."""
        fields: dict[str, Any] = {}
        for name, most in (("name", 100), ("issue_type", 100), ("login", 200)):
            value = getattr(self, name)
            if value is not None:
                fields[name] = _line(name, value, most)
        for name in ("is_active", "closes", "reopens", "opens_overdue"):
            if getattr(self, name) is not None:
                fields[name] = getattr(self, name)
        if self.base_url is not None:
            fields["base_url"] = _host(self.base_url)
        if self.token is not None:
            fields["sealed_token"] = _sealed(_token(self.token))
        if self.opens_from is not None:
            fields["opens_from"] = _severity(self.opens_from)
        if self.opens_application is not None:
            fields["opens_application"] = _application(self.opens_application, team)
        return fields


def _line(name: str, text: str, most: int) -> str:
    found = " ".join(text.split())
    if len(found) > most or not found.isprintable() or (name == "name" and not found):
        least = 1 if name == "name" else 0
        raise Invalid(f"{name} has {len(found)} characters; expected {least} to {most}, all of them seen.", where=name)
    return found


def _host(url: str) -> str:
    text = url.strip()
    if len(text) > 500:
        raise Invalid(f"The address has {len(text)} characters; expected 500 at most.", where="base_url")
    return client.check(text, settings.WEBHOOK_HOSTS)


def _token(text: str) -> str:
    token = text.strip()
    if not 8 <= len(token) <= 1_000 or any(not 32 < ord(c) < 127 for c in token):
        raise Invalid("The token cannot be one; expected 8 to 1,000 ASCII characters without spaces.", where="token")
    return token


def _severity(word: str) -> int | None:
    if not word:
        return None
    known = {s.label: int(s) for s in Severity if int(s)}
    if word not in known:
        raise Invalid(f"The severity is {word[:40]!r}; expected one of {', '.join(known)}.", where="opens_from")
    return known[word]


def _application(slug: str, team: Team | None) -> Application | None:
    if not slug:
        return None
    rows = Application.objects.filter(slug=slug)
    found = (rows.filter(team=team) if team else rows).first()
    if found is None:
        raise Invalid(
            f"There is no application {slug[:60]!r} for this tracker; expected the slug of one that it may serve.",
            where="opens_application",
        )
    return found


def require_edit(actor: User | None, team_id: int | None) -> None:
    """Return if ``actor`` may set up trackers of that team (none: the organisation's), else raise ``NotAllowed``."""
    require(actor, Permission.SETTINGS_EDIT, team_id=team_id)


def add_tracker(
    edit: TrackerEdit, *, kind: str, project: str, team: Team | None, actor: User | None
) -> tuple[Tracker, str]:
    """Set up a tracker. Returns it and the secret that its webhooks are signed with, told this once.

    Raises ``NotAllowed``, ``Invalid``, and ``Conflict`` where the name is taken or there are too many.
    """
    require_edit(actor, team.pk if team else None)
    if kind not in list(TrackerKind):
        raise Invalid(f"The kind is {kind[:40]!r}; expected one of {', '.join(TrackerKind)}.", where="kind")
    for name in ("name", "base_url", "token"):
        if not getattr(edit, name):
            raise Invalid(f"A tracker needs a {name.replace('_', ' ')}.", where=name)
    fields = edit.checked(team) | {"project": checked_project(TrackerKind(kind), project)}
    _check_whole(TrackerKind(kind), fields.get("issue_type", ""), fields.get("login", ""))
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        _check_place(team, fields["name"])
        made = Tracker.objects.create(
            team=team, kind=kind, sealed_secret=_sealed(secret), created_by=actor, **_fitting(TrackerKind(kind), fields)
        )
        _record(Action.TRACKER_CREATE, made, actor, {"kind": kind, "project": made.project, **_told(fields)})
    return made, secret


def _check_whole(kind: TrackerKind, issue_type: str, login: str) -> None:
    if kind.is_jira and not issue_type:
        raise Invalid("A Jira tracker needs an issue type, as in Task or Bug.", where="issue_type")
    if kind is TrackerKind.JIRA_CLOUD and not login:
        raise Invalid("Jira Cloud takes an API token with the e-mail of its account only.", where="login")


def _fitting(kind: TrackerKind, fields: dict[str, Any]) -> dict[str, Any]:
    return fields if kind.is_jira else {**fields, "issue_type": "", "login": ""}


def _check_place(team: Team | None, name: str, *, but: int = 0) -> None:
    others = Tracker.objects.filter(team=team).exclude(pk=but)
    if others.filter(name=name).exists():
        raise Conflict(f"There is a tracker {name!r} already; choose another name.", code="tracker-exists")
    if others.count() >= MOST:
        raise Conflict(f"There are {MOST} trackers already; remove one first.", code="trackers-full")


def edit_tracker(tracker_id: int, edit: TrackerEdit, *, actor: User | None) -> Tracker:
    """Change what is named. Raises ``NotFound``, ``NotAllowed``, ``Invalid``, ``Conflict``."""
    before = _find(tracker_id, actor)
    fields = edit.checked(before.team)
    with transaction.atomic():
        tracker = _locked(tracker_id, actor)
        kind = TrackerKind(tracker.kind)
        fields = _fitting(kind, fields)
        if fields.get("base_url", tracker.base_url) != tracker.base_url and "sealed_token" not in fields:
            raise Invalid("A token is never sent to another host than it was given for: enter it anew.", where="token")
        _check_whole(kind, fields.get("issue_type", tracker.issue_type), fields.get("login", tracker.login))
        if "name" in fields:
            _check_place(tracker.team, fields["name"], but=tracker.pk)
        if {"base_url", "sealed_token", "login"} & fields.keys():
            fields |= {"failures": 0, "error": "", "next_at": timezone.now()}
        for name, value in fields.items():
            setattr(tracker, name, value)
        if fields:
            tracker.save(update_fields=list(fields))
            _record(Action.TRACKER_EDIT, tracker, actor, _told(fields))
    return tracker


@transaction.atomic
def remove_tracker(tracker_id: int, *, actor: User | None) -> None:
    """Remove a tracker with its links; what stands in it stays there. Raises ``NotFound``, ``NotAllowed``."""
    tracker = _locked(tracker_id, actor)
    pk = tracker.pk
    tracker.delete()
    tracker.pk = pk
    _record(Action.TRACKER_DELETE, tracker, actor, {})


@transaction.atomic
def renew_secret(tracker_id: int, *, actor: User | None) -> tuple[Tracker, str]:
    """A new secret for webhooks, told this once; the former one no longer counts."""
    tracker = _locked(tracker_id, actor)
    secret = secrets.token_urlsafe(32)
    tracker.sealed_secret = _sealed(secret)
    tracker.save(update_fields=["sealed_secret"])
    _record(Action.TRACKER_EDIT, tracker, actor, {"secret": "renewed"})
    return tracker, secret


@transaction.atomic
def ask_for_try(tracker_id: int, *, actor: User | None, now: datetime | None = None) -> Tracker:
    """Ask the tracker, soon and without changing anything there; the tracker then says what was found."""
    tracker = _locked(tracker_id, actor)
    tracker.tried, tracker.tried_at = "", now or timezone.now()
    tracker.save(update_fields=["tried", "tried_at"])
    jobs.enqueue(TRY, {"tracker": tracker.pk}, key=str(tracker.pk), queue=Queue.INTERACTIVE, again=True)
    return tracker


def _find(tracker_id: int, actor: User | None) -> Tracker:
    rows = Tracker.objects.all() if actor is None else Tracker.objects.visible_to(actor)
    found = rows.select_related("team").filter(pk=tracker_id).first()
    if found is None:
        raise NotFound(f"There is no tracker {tracker_id}.")
    require_edit(actor, found.team_id)
    return found


def _locked(tracker_id: int, actor: User | None) -> Tracker:
    _find(tracker_id, actor)
    rows = Tracker.objects.select_for_update(of=("self",)).select_related("team")
    found = rows.filter(pk=tracker_id).first()
    if found is None:
        raise NotFound(f"There is no tracker {tracker_id}.")
    return found


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """What the log tells of a change: everything but credentials."""
    named = {k: v for k, v in fields.items() if k not in ("sealed_token", "failures", "error", "next_at", "project")}
    if "opens_application" in named:
        named["opens_application"] = getattr(named["opens_application"], "slug", None)
    return {**named, **({"token": "replaced"} if "sealed_token" in fields else {})}


def _record(action: Action, tracker: Tracker, actor: User | None, details: dict[str, Any]) -> None:
    record(
        action,
        actor=actor,
        subject_type="tracker",
        subject_id=tracker.pk,
        subject=tracker.name,
        team_id=tracker.team_id,
        details=details,
    )


def _sealed(text: str) -> str:
    return seal(text, keys=[settings.SECRET_KEY], purpose=SEALED_FOR)


def _unsealed(text: str) -> str:
    return unseal(text, keys=[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS], purpose=SEALED_FOR)


def token_of(tracker: Tracker) -> str:
    """For who asks the tracker; raises ``Unavailable`` where it was sealed with another key."""
    return _unsealed(tracker.sealed_token)


def secret_of(tracker: Tracker) -> str:
    return _unsealed(tracker.sealed_secret)
