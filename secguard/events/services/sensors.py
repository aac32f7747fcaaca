"""Who may send events and flows."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.events.models import Sensor

PREFIX: Final = "sge_"


@dataclass(frozen=True, slots=True)
class SensorEdit:
    """What may be set. ``cluster``: what it sends is of that one, whatever it says; empty: it says which."""

    name: str
    cluster: str = ""
    takes_events: bool = True
    takes_flows: bool = False
    is_active: bool = True

    def checked(self) -> dict[str, Any]:
        """The columns; raises ``Invalid`` for a name that is none, and for a sensor that may send nothing."""
        fields = asdict(self) | {"name": self.name.strip(), "cluster": self.cluster.strip()}
        for column, least in (("name", 1), ("cluster", 0)):
            text = fields[column]
            if not least <= len(text) <= 100 or not text.isprintable():
                raise Invalid(
                    f"The {column} has {len(text)} characters; expected {least} to 100 printable ones.", where=column
                )
        if not (self.takes_events or self.takes_flows):
            raise Invalid("The sensor may send nothing; expected events, flows or both.", where="takes_events")
        return fields


@transaction.atomic
def create(edit: SensorEdit, *, actor: User | None) -> tuple[Sensor, str]:
    """A new sensor, and its token, told this once. Needs sensor:edit in the whole organisation."""
    require(actor, Permission.SENSOR_EDIT)
    fields, token = edit.checked(), _new_token()
    _require_free(fields["name"])
    sensor = Sensor.objects.create(**fields, token_hash=_hash(token), created_by=actor)
    _record(Action.SENSOR_CREATE, sensor, fields, actor)
    return sensor, token


@transaction.atomic
def edit(sensor_id: int, edit: SensorEdit, *, actor: User | None) -> Sensor:
    require(actor, Permission.SENSOR_EDIT)
    sensor, fields = _locked(sensor_id), edit.checked()
    _require_free(fields["name"], but=sensor.pk)
    changed = {name: value for name, value in fields.items() if getattr(sensor, name) != value}
    if changed:
        for name, value in changed.items():
            setattr(sensor, name, value)
        sensor.save(update_fields=list(changed))
        _record(Action.SENSOR_EDIT, sensor, changed, actor)
    return sensor


@transaction.atomic
def renew_token(sensor_id: int, *, actor: User | None) -> tuple[Sensor, str]:
    """A new token, told this once; the former one ends at once."""
    require(actor, Permission.SENSOR_EDIT)
    sensor, token = _locked(sensor_id), _new_token()
    sensor.token_hash, sensor.token_made_at = _hash(token), timezone.now()
    sensor.save(update_fields=["token_hash", "token_made_at"])
    _record(Action.SENSOR_EDIT, sensor, {"token": "renewed"}, actor)
    return sensor, token


def sensor_of(authorization: str) -> Sensor:
    """The active sensor whose token a request's ``Authorization`` shows; raises ``NotAllowed`` where it is none's."""
    scheme, _, rest = authorization.strip().partition(" ")
    token = rest.strip() if scheme.lower() in ("bearer", "token") else authorization.strip()
    digest = _hash(token)
    found = Sensor.objects.filter(token_hash=digest).first() if token else None
    if found is None or not constant_time_compare(found.token_hash, digest):
        raise NotAllowed(
            "The token is no sensor's. A sensor is made under Settings, Sensors; it sends its token as "
            f"Authorization: Bearer {PREFIX}….",
            code="sensor-token",
        )
    if not found.is_active:
        raise NotAllowed(f"The sensor {found.name} was switched off.", code="sensor-off")
    return found


def note_heard(sensor: Sensor, *, taken: int, refused: int, refusal: str, now: datetime) -> None:
    """Count what a request brought."""
    changes: dict[str, Any] = {"taken": F("taken") + taken, "heard_at": now}
    if refused:
        changes |= {"refused": F("refused") + refused, "last_refusal": refusal.replace("\0", "")[:500]}
    Sensor.objects.filter(pk=sensor.pk).update(**changes)


def _require_free(name: str, but: int | None = None) -> None:
    if Sensor.objects.filter(Q(name__iexact=name) & ~Q(pk=but)).exists():
        raise Conflict(f"There is a sensor {name!r} already; choose another name.", where="name", code="taken")


def _locked(sensor_id: int) -> Sensor:
    found = Sensor.objects.select_for_update().filter(pk=sensor_id).first()
    if found is None:
        raise NotFound(f"There is no sensor {sensor_id}.")
    return found


def _new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _record(action: Action, sensor: Sensor, details: Mapping[str, Any], actor: User | None) -> None:
    record(
        action,
        actor=actor,
        subject_type="sensor",
        subject_id=sensor.pk,
        subject=sensor.name,
        details=dict(details),
    )
