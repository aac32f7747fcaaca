"""Set up where events are sent. Targets are the organisation's: whoever sets one up may send everybody's events out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.channels import signing
from secguard.channels.adapters import posting
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.events.record import Kind
from secguard.exports import queries, targets
from secguard.exports.models import ExportTarget
from secguard.exports.services.sending import destination, sealed, tls_context
from secguard.exports.targets import SYSLOG, Cursor, Event, Format, Sink, State
from secguard.findings.severity import Severity
from secguard.outbound import connections
from secguard.outbound.addresses import permitted

MOST_TARGETS: Final = 50
MAX_PEM: Final = 64 * 1024


class Start(StrEnum):
    """Where a target begins, or goes on from when it is moved."""

    NOW = "now"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEdit:
    """What a target is to be. ``None`` leaves a field as it is.

    ``address``: ``host:port`` of a syslog receiver, the URL of a webhook. Certificates and the key are PEM; empty
    takes them away. Without teams and applications a target is told everybody's events (``is_wide``).
    """

    name: str | None = None
    address: str | None = None
    format: str | None = None
    ca_certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    needs_close_notify: bool | None = None
    kinds: Sequence[str] | None = None
    least_severity: int | None = None
    is_wide: bool | None = None
    teams: Sequence[Team] | None = None
    applications: Sequence[Application] | None = None

    def checked(self, sink: Sink) -> dict[str, Any]:
        """The model's own fields to set. Raises ``Invalid``; asks for the addresses of the host."""
        fields: dict[str, Any] = {}
        if self.name is not None:
            fields["name"] = _checked_name(self.name)
        if self.format is not None:
            fields["format"] = _checked_format(self.format, sink)
        if self.address is not None:
            fields |= _checked_address(self.address.strip(), sink)
        fields |= self._checked_certificates(sink)
        if self.needs_close_notify is not None:
            fields["needs_close_notify"] = self.needs_close_notify and sink == Sink.SYSLOG_TLS
        if self.kinds is not None:
            fields["kinds"] = _checked_kinds(self.kinds)
        if self.least_severity is not None:
            fields["least_severity"] = Severity(self.least_severity)
        return fields | self._checked_audience()

    def _checked_certificates(self, sink: Sink) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self.ca_certificate is not None:
            fields["ca_certificate"] = _pem(self.ca_certificate, "ca_certificate")
            tls_context(fields["ca_certificate"])
        if self.client_certificate is not None:
            certificate = _pem(self.client_certificate, "client_certificate")
            key = _pem(self.client_key or "", "client_key")
            if certificate and sink != Sink.SYSLOG_TLS:
                raise Invalid("Only syslog over TLS shows a client certificate.", where="client_certificate")
            if certificate:
                tls_context("", certificate, key)
            fields |= {"client_certificate": certificate, "sealed_client_key": sealed(key if certificate else "")}
        return fields

    def _checked_audience(self) -> dict[str, Any]:
        if (self.is_wide, self.teams, self.applications) == (None, None, None):
            return {}
        is_limited = bool(self.teams or self.applications)
        is_wide = self.is_wide if self.is_wide is not None else not is_limited
        if is_wide and is_limited:
            raise Invalid("Choose either everybody's events, or some teams and applications.", where="teams")
        if not is_wide and not is_limited:
            raise Invalid("Choose at least one team or application, or everybody's events.", where="teams")
        return {"is_wide": is_wide}


def _checked_name(name: str) -> str:
    text = " ".join(name.split())
    if not text or len(text) > 100 or not text.isprintable():
        raise Invalid("A target needs a name of 1 to 100 characters.", where="name")
    return text


def _checked_format(name: str, sink: Sink) -> str:
    known = [f.value for f in Format if f != Format.TEXT or sink in SYSLOG]
    if name not in known:
        raise Invalid(f"The format is {name[:40]!r}; expected one of {', '.join(known)}.", where="format")
    return name


def _checked_address(address: str, sink: Sink) -> dict[str, Any]:
    again = {"failures": 0, "next_at": timezone.now()}
    if sink == Sink.WEBHOOK:
        try:
            to = posting.check(address, settings.WEBHOOK_HOSTS)
        except Invalid as error:
            raise Invalid(error.detail, code=error.code, where="address") from None
        return {"sealed_url": sealed(address), "host": to.host[:300], **again}
    to = destination(address)
    try:
        permitted(connections.resolve(to.host, to.port), to)
    except (OSError, UnicodeError):
        raise Invalid(
            f"The name {to.host} has no address that could be found; expected a host that this server can reach.",
            where="address",
        ) from None
    except NotAllowed as error:
        raise Invalid(
            f"{error.detail} For a host inside the network the operator names it in SECGUARD_WEBHOOK_HOSTS.",
            where="address",
        ) from None
    return {"host": f"[{to.host}]:{to.port}" if ":" in to.host else f"{to.host}:{to.port}", **again}


def _checked_kinds(names: Sequence[str]) -> list[str]:
    if unknown := sorted(set(names) - {k.value for k in Kind}):
        raise Invalid(f"There is no kind of event {unknown[0][:40]!r}; known: {', '.join(Kind)}.", where="kinds")
    return sorted(set(names))


def _pem(text: str, where: str) -> str:
    found = text.replace("\r\n", "\n").strip()
    if len(found) > MAX_PEM:
        raise Invalid(f"It has {len(found):,} characters, expected at most {MAX_PEM:,}.", where=where)
    if found and "-----BEGIN " not in found:
        raise Invalid("It is no PEM; expected -----BEGIN …-----.", where=where)
    return found


def add_target(edit: TargetEdit, *, sink: str, start: Start, actor: User | None) -> tuple[ExportTarget, str]:
    """Set up a target. Returns it and the secret that signs what its webhook is posted, told this once (else empty).

    Raises ``NotAllowed``, ``Invalid``, and ``Conflict`` where the name is taken or there are too many.
    """
    require(actor, Permission.EXPORT_EDIT)
    if sink not in list(Sink):
        raise Invalid(f"The sink is {sink[:40]!r}; expected one of {', '.join(Sink)}.", where="sink")
    for where in ("name", "address", "format"):
        if not getattr(edit, where):
            raise Invalid(f"A target needs its {where}.", where=where)
    fields = edit.checked(Sink(sink))  # before the transaction: it asks for addresses
    secret = signing.new_secret() if sink == Sink.WEBHOOK else ""
    position = _position(start, timezone.now())
    with transaction.atomic():
        _check_place(fields["name"])
        target = ExportTarget.objects.create(
            sink=sink, sealed_secret=sealed(secret), created_by=actor, **fields, **position
        )
        _set_audience(target, edit)
        _record(Action.EXPORT_TARGET_CREATE, target, actor, {"sink": sink, "start": start, **_told(edit, fields)})
    return target, secret


def _position(start: Start, now: datetime) -> dict[str, Any]:
    at: Cursor = queries.now_cursor(now) if start == Start.NOW else queries.BEGINNING
    return {"position_txid": at.txid, "position_id": at.id, "position_day": at.day}


def _check_place(name: str, *, but: int = 0) -> None:
    others = ExportTarget.objects.exclude(pk=but)
    if others.filter(name=name).exists():
        raise Conflict(f"There is a target {name!r} already; choose another name.", code="export-target-exists")
    if others.count() >= MOST_TARGETS:
        raise Conflict(f"There are {MOST_TARGETS} targets already; remove one first.", code="export-targets-full")


def _set_audience(target: ExportTarget, edit: TargetEdit) -> None:
    if target.is_wide or edit.teams is not None:
        target.teams.set(() if target.is_wide else edit.teams or ())
    if target.is_wide or edit.applications is not None:
        target.applications.set(() if target.is_wide else edit.applications or ())


def edit_target(target_id: int, edit: TargetEdit, *, actor: User) -> ExportTarget:
    """Change what is named; the position stays. Raises ``NotFound``, ``NotAllowed``, ``Invalid``, ``Conflict``."""
    fields = edit.checked(Sink(queries.find(actor, target_id).sink))
    with transaction.atomic():
        target = _locked(target_id, actor)
        if "name" in fields:
            _check_place(fields["name"], but=target.pk)
        _save(target, **fields, revision=target.revision + 1)
        _set_audience(target, edit)
        _record(Action.EXPORT_TARGET_EDIT, target, actor, _told(edit, fields))
    return target


@transaction.atomic
def remove_target(target_id: int, *, actor: User) -> None:
    """Remove a target. Raises ``NotFound``, ``NotAllowed``."""
    target = _locked(target_id, actor)
    _record(Action.EXPORT_TARGET_DELETE, target, actor, {})
    target.delete()


@transaction.atomic
def pause_target(target_id: int, *, actor: User, now: datetime | None = None) -> ExportTarget:
    """Send nothing until it is resumed; the position stays. Raises ``NotFound``, ``NotAllowed``, ``Conflict``."""
    return _step(target_id, Event.PAUSE, Action.EXPORT_TARGET_PAUSE, actor, now)


@transaction.atomic
def resume_target(target_id: int, *, actor: User, now: datetime | None = None) -> ExportTarget:
    """Go on from the position. Raises ``NotFound``, ``NotAllowed``, ``Conflict``."""
    return _step(target_id, Event.RESUME, Action.EXPORT_TARGET_RESUME, actor, now)


def _step(target_id: int, event: Event, action: Action, actor: User, now: datetime | None) -> ExportTarget:
    target, at = _locked(target_id, actor), now or timezone.now()
    state = targets.after(State(target.state), event)
    _save(target, state=state.value, since=at, reason="", failures=0, next_at=at)
    _record(action, target, actor, {})
    return target


@transaction.atomic
def move_target(target_id: int, start: Start, *, actor: User, now: datetime | None = None) -> ExportTarget:
    """Go on from elsewhere: from now (what waits is not sent), or from the oldest event that is kept (all of it again).

    Raises ``NotFound``, ``NotAllowed``.
    """
    target, at = _locked(target_id, actor), now or timezone.now()
    former = str(target.position)
    _save(target, **_position(start, at), revision=target.revision + 1, next_at=at, failures=0)
    _record(Action.EXPORT_TARGET_MOVE, target, actor, {"start": start, "from": former, "to": str(target.position)})
    return target


@transaction.atomic
def renew_secret(target_id: int, *, actor: User) -> tuple[ExportTarget, str]:
    """A new secret, told this once; it signs from now on. ``Conflict`` for syslog, which signs nothing."""
    target = _locked(target_id, actor)
    if target.sink != Sink.WEBHOOK:
        raise Conflict(f"What is sent as {target.sink} is not signed.", code="export-not-signed")
    secret = signing.new_secret()
    _save(target, sealed_secret=sealed(secret))
    _record(Action.EXPORT_TARGET_EDIT, target, actor, {"secret": "renewed"})
    return target, secret


def _locked(target_id: int, actor: User) -> ExportTarget:
    require(actor, Permission.EXPORT_EDIT)
    found = ExportTarget.objects.visible_to(actor).select_for_update().filter(pk=target_id).first()
    if found is None:
        raise NotFound(f"There is no export target {target_id}.")
    return found


def _save(target: ExportTarget, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(target, name, value)
    target.save(update_fields=list(fields))


def _told(edit: TargetEdit, fields: dict[str, Any]) -> dict[str, Any]:
    """What the log tells of a change: where it is sent and whose, but no secret."""
    names = ("name", "host", "format", "kinds", "least_severity", "is_wide", "needs_close_notify", "ca_certificate")
    told = {name: fields[name] for name in names if name in fields}
    if "ca_certificate" in told:
        told["ca_certificate"] = "set" if told["ca_certificate"] else "none"
    if "client_certificate" in fields:
        told["client_certificate"] = "set" if fields["client_certificate"] else "none"
    if edit.teams is not None:
        told["teams"] = sorted(team.slug for team in edit.teams)
    if edit.applications is not None:
        told["applications"] = sorted(application.slug for application in edit.applications)
    return told


def _record(action: Action, target: ExportTarget, actor: User | None, details: dict[str, Any]) -> None:
    record(
        action,
        actor=actor,
        subject_type="export-target",
        subject_id=target.pk,
        subject=target.name,
        details=details,
    )
