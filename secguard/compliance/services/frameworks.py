"""Keep frameworks by version: those that come with the product, and the organisation's own."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.compliance.framework import digest_of, kept_framework, load, shipped
from secguard.compliance.models import FrameworkVersion, MeasuredApplication
from secguard.errors import Conflict, Invalid, NotFound
from secguard.planning.checks import CHECKS

MOST = 100
"""Frameworks by name."""


def ensure_shipped() -> None:
    """What comes with the product, each as the version in force; what a release has taken out ends. One query."""
    rows = FrameworkVersion.objects.filter(is_shipped=True, valid_until=None).values_list("name", "digest")
    wanted = {name: digest_of(text) for name, text in shipped().items()}
    found = dict(rows)
    if found == wanted:
        return
    with transaction.atomic():
        for name, digest in wanted.items():
            if found.get(name) != digest:
                _make(shipped()[name], None, is_shipped=True)
        for name in sorted(found.keys() - wanted.keys()):
            _end(name, None, timezone.now())


@transaction.atomic
def make_framework(text: str, *, actor: User | None, name: str = "") -> FrameworkVersion:
    """Write down a framework, or the next version of one, in force from now on.

    ``name`` is the one that is meant to get a version; any, where it is left out. Needs policy:edit in the whole
    organisation. The text that is in force already is the version that there is. Raises ``FrameworkError`` with every
    fault, ``Conflict`` for the name of a shipped one, ``Invalid`` for another name than was meant.
    """
    require(actor, Permission.POLICY_EDIT)
    framework = load(text, CHECKS)
    if name and framework.name != name:
        raise Invalid(
            f"The text is of the framework {framework.name!r}; expected {name!r}. Change its 'name', or send it where "
            f"{framework.name!r} is kept.",
            code="framework-name",
            where="name",
        )
    _refuse_shipped(framework.name)
    newest = FrameworkVersion.objects.filter(name=framework.name, valid_until=None).first()
    if newest is not None and newest.text == text:
        return newest
    if newest is None and FrameworkVersion.objects.values("name").distinct().count() >= MOST:
        raise Invalid(f"There are {MOST} frameworks already, as many as are kept.", code="too-many")
    return _make(text, actor, is_shipped=False)


@transaction.atomic
def retire_framework(name: str, *, actor: User | None) -> FrameworkVersion:
    """Take an own framework out of force: nothing is counted by it from now on, and its past days stay.

    Needs policy:edit in the whole organisation. Raises ``NotFound`` where none is in force under that name.
    """
    require(actor, Permission.POLICY_EDIT)
    _refuse_shipped(name)
    ended = _end(name, actor, timezone.now())
    if ended is None:
        raise NotFound(f"No framework {name[:60]!r} is in force.", code="framework")
    return ended


def _refuse_shipped(name: str) -> None:
    if name in shipped():
        raise Conflict(
            f"The framework {name!r} comes with SecGuard and changes with its releases. Give yours another name.",
            code="framework-shipped",
            where="name",
        )


def _make(text: str, actor: User | None, *, is_shipped: bool) -> FrameworkVersion:
    framework, now = kept_framework(text), timezone.now()
    standing = FrameworkVersion.objects.select_for_update().filter(name=framework.name)
    newest = standing.order_by("-number").first()
    number = 1 if newest is None else newest.number + 1
    try:
        with transaction.atomic():
            standing.filter(valid_until=None).update(valid_until=now)
            made = FrameworkVersion.objects.create(
                name=framework.name,
                number=number,
                title=framework.title,
                text=text,
                digest=digest_of(text),
                is_shipped=is_shipped,
                added_by=actor,
                added_at=now,
                valid_from=now,
            )
    except IntegrityError:
        if is_shipped:  # another process was first
            return FrameworkVersion.objects.get(name=framework.name, number=number)
        raise Conflict(
            f"Version {number} of {framework.name!r} was made at this moment; look at it and try again.",
            code="framework",
        ) from None
    MeasuredApplication.objects.update(is_due=True)  # it may name what nobody asked for before
    details = {"version": number, "digest": made.digest, "controls": len(framework.controls)}
    _record(Action.FRAMEWORK_CREATE, made, actor, details)
    return made


def _end(name: str, actor: User | None, now: datetime) -> FrameworkVersion | None:
    version = FrameworkVersion.objects.select_for_update().filter(name=name, valid_until=None).first()
    if version is None:
        return None
    version.valid_until = now
    version.save(update_fields=["valid_until"])
    _record(Action.FRAMEWORK_RETIRE, version, actor, {"version": version.number})
    return version


def _record(action: Action, version: FrameworkVersion, actor: User | None, details: dict[str, object]) -> None:
    record(
        action,
        actor=actor,
        subject_type="framework",
        subject_id=version.pk,
        subject=str(version),
        details={"name": version.name, **details},
    )
