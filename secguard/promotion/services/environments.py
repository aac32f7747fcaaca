"""The environments and their order. Who changes them changes who may run what: it is on the audit log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.db import transaction
from django.db.models import Max

from secguard import patterns
from secguard.accounts.models import User
from secguard.accounts.roles import APPROVERS, Permission, Role
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.images.models import Registry
from secguard.promotion.models import GATES, Environment, Promotion
from secguard.promotion.route import check_prefix
from secguard.signing.models import SigningKey

MAX_ENVIRONMENTS = 20
MAX_SEATS = 10
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class EnvironmentEdit:
    """An environment's settings. ``None`` leaves one as it is."""

    position: int | None = None
    registry: str | None = None
    path_prefix: str | None = None
    gate: str | None = None
    key_name: str | None = None
    approvers: Mapping[str, int] | None = None
    requires_previous: bool | None = None
    is_automatic: bool | None = None
    automatic_for: str | None = None

    def checked(self) -> dict[str, Any]:
        """The model's fields to set; raises ``Invalid`` with the place of the fault."""
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return {name: _CHECKS[name](value) if name in _CHECKS else value for name, value in given.items()}


@transaction.atomic
def add_environment(name: str, edit: EnvironmentEdit, *, actor: User | None) -> Environment:
    """A new environment, by default the last of the order. Needs environment:edit in the whole organisation.

    Raises ``Invalid``, and ``Conflict`` where one of that name or at that place is there.
    """
    require(actor, Permission.ENVIRONMENT_EDIT)
    text, found = name.strip(), edit.checked()
    if not _NAME.fullmatch(text):
        raise Invalid(
            f"{text[:80]!r} is no name of an environment; expected lower-case letters, digits and '-', at most 63.",
            where="name",
        )
    if "registry" not in found:
        raise Invalid("Name the registry that the environment's images lie in.", where="registry")
    known = list(Environment.objects.select_for_update())
    if len(known) >= MAX_ENVIRONMENTS:
        raise Conflict(f"There are {len(known)} environments; at most {MAX_ENVIRONMENTS} are kept.")
    last = max((e.position for e in known), default=0)
    made = Environment(name=text, **({"position": last + 1} | found))
    _check_together(made, known)
    made.save(force_insert=True)
    _record(Action.ENVIRONMENT_CREATE, made, actor, edit)
    return made


@transaction.atomic
def edit_environment(pk: int, edit: EnvironmentEdit, *, actor: User | None) -> Environment:
    """Change an environment, for what is asked for from now on. Raises ``NotFound``, ``Invalid``, ``Conflict``."""
    require(actor, Permission.ENVIRONMENT_EDIT)
    known = list(Environment.objects.select_for_update(of=("self",)).select_related("registry"))
    found = next((e for e in known if e.pk == pk), None)
    if found is None:
        raise NotFound(f"There is no environment {pk}.")
    changes = edit.checked()
    for name, value in changes.items():
        setattr(found, name, value)
    _check_together(found, known)
    if changes:
        found.save(update_fields=list(changes))
        _record(Action.ENVIRONMENT_EDIT, found, actor, edit)
    return found


@transaction.atomic
def delete_environment(pk: int, *, actor: User | None) -> None:
    """Take away an environment that nothing was ever promoted to. Raises ``NotFound``, ``Conflict``."""
    require(actor, Permission.ENVIRONMENT_EDIT)
    found = Environment.objects.select_for_update().filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no environment {pk}.")
    if Promotion.objects.filter(environment=found).exists():
        raise Conflict(
            f"Images were asked for in {found.name}: it stays, so that it can be told why they run. Rename nothing; "
            "move it to the end of the order, or take its approvers' and gate's demands as they are.",
            code="environment-used",
        )
    _record(Action.ENVIRONMENT_DELETE, found, actor, EnvironmentEdit())
    found.delete()


def _check_together(environment: Environment, known: list[Environment]) -> None:
    others = [e for e in known if e.pk != environment.pk]
    for other in others:
        if other.name == environment.name:
            raise Conflict(f"There is an environment {environment.name!r} already; edit it.", where="name")
        if other.position == environment.position:
            raise Conflict(
                f"{other.name} stands at place {other.position} of the order; choose another place.", where="position"
            )
    is_first = all(environment.position < e.position for e in others)
    if not is_first and not environment.key_name:
        raise Invalid(
            f"Name the key that signs what is promoted to {environment.name}; only the first environment, which images "
            "are pushed to, needs none.",
            where="key_name",
        )
    if environment.approvers and environment.is_automatic:
        raise Invalid(
            "What is promoted by itself is asked for by nobody, so nobody can approve it for somebody else: choose "
            "approvers, or that it goes by itself.",
            where="is_automatic",
        )


def _registry(host: Any) -> Registry:
    found = Registry.objects.filter(host=str(host).strip().lower()).first()
    if found is None or found.configured_at is None:
        raise Invalid(
            f"Workers do not connect to {str(host)[:200]!r}: nobody has set that registry up here.",
            code="registry-not-set-up",
            where="registry",
        )
    return found


def _position(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= 1000:
        raise Invalid(f"The place in the order is {value!r}; expected a number from 1 to 1000.", where="position")
    return value


def _gate(value: Any) -> str:
    if value not in {g.value for g in GATES}:
        raise Invalid(f"{str(value)[:40]!r} is no gate of an environment; expected {', '.join(GATES)}.", where="gate")
    return str(value)


def _key(value: Any) -> str:
    name = str(value).strip()
    if name and not SigningKey.objects.signing_images().filter(name=name).exists():
        raise Invalid(f"No key {name[:80]!r} signs; make it first (secguard keys create).", where="key_name")
    return name


def _approvers(value: Any) -> dict[str, int]:
    roles = {role.value for role in APPROVERS}
    if not isinstance(value, Mapping) or any(
        role not in roles or not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= MAX_SEATS
        for role, n in value.items()
    ):
        raise Invalid(
            f"Expected an object of {', '.join(sorted(roles))}, each with a number of people from 0 to {MAX_SEATS}.",
            where="approvers",
        )
    return {Role(role).value: n for role, n in sorted(value.items()) if n}


def _pattern(value: Any) -> str:
    try:
        return patterns.check(str(value)) if str(value).strip() else ""
    except Invalid as error:
        raise Invalid(error.detail, code=error.code, where="automatic_for") from None


_CHECKS = {
    "registry": _registry,
    "position": _position,
    "path_prefix": check_prefix,
    "gate": _gate,
    "key_name": _key,
    "approvers": _approvers,
    "automatic_for": _pattern,
}


def next_position() -> int:
    highest: int | None = Environment.objects.aggregate(n=Max("position"))["n"]
    return (highest or 0) + 1


def _record(action: Action, environment: Environment, actor: User | None, edit: EnvironmentEdit) -> None:
    told = {f.name: value for f in fields(edit) if (value := getattr(edit, f.name)) is not None}
    record(
        action,
        actor=actor,
        subject_type="environment",
        subject_id=environment.pk,
        subject=environment.name,
        details=told,
    )
