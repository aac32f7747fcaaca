"""Break-glass: asked for, granted by somebody else, used once, and looked at afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.admission.answer import Answer
from secguard.admission.breakglass import MIN_REASON, GlassEvent, GlassStatus, after, check
from secguard.admission.models import BreakGlass
from secguard.admission.services import telling
from secguard.approvals.queries import CHOSEN, is_made_able_by
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.workloads.models import Cluster

_ACTIONS = {
    GlassEvent.GRANT: Action.BREAK_GLASS_GRANT,
    GlassEvent.REFUSE: Action.BREAK_GLASS_REFUSE,
    GlassEvent.WITHDRAW: Action.BREAK_GLASS_WITHDRAW,
    GlassEvent.USE: Action.BREAK_GLASS_USE,
    GlassEvent.REVIEW: Action.BREAK_GLASS_REVIEW,
}


@transaction.atomic
def request_glass(
    cluster_name: str, namespace: str, digest: str, *, minutes: int, reason: str, actor: User
) -> BreakGlass:
    """Ask that this digest may start once in this namespace, whatever blocks it.

    Needs break-glass:request in the whole organisation. Raises ``NotFound`` for a cluster that does not ask here,
    ``Invalid``, and ``Conflict`` where the same is asked for already.
    """
    require(actor, Permission.BREAK_GLASS_REQUEST)
    check(namespace.strip(), digest.strip(), minutes, reason)
    cluster = Cluster.objects.select_for_update(of=("self",)).filter(name=cluster_name, gate__isnull=False).first()
    if cluster is None:
        raise NotFound(f"There is no cluster {cluster_name[:100]!r} that asks here.", where="cluster")
    same = {"cluster": cluster, "namespace": namespace.strip(), "digest": digest.strip()}
    standing = BreakGlass.objects.filter(**same, status=GlassStatus.REQUESTED).first()
    if standing is not None:
        raise Conflict(f"Break-glass {standing.pk} asks for the same and waits.", code="break-glass-asked")
    made = BreakGlass.objects.create(**same, minutes=minutes, reason=reason.strip(), requested_by=actor)
    _record(Action.BREAK_GLASS_REQUEST, made, actor, {"minutes": minutes, "reason": made.reason})
    telling.tell_asked(made, now=made.requested_at)
    return made


def grant_glass(pk: int, *, actor: User) -> BreakGlass:
    """Let it be used once, from now until its minutes have passed. Nobody grants their own (DESIGN rule 6)."""
    return _decide(pk, GlassEvent.GRANT, actor)


def refuse_glass(pk: int, *, actor: User) -> BreakGlass:
    return _decide(pk, GlassEvent.REFUSE, actor)


@transaction.atomic
def _decide(pk: int, event: GlassEvent, actor: User) -> BreakGlass:
    require(actor, Permission.BREAK_GLASS_GRANT)
    found, now = _locked(pk), timezone.now()
    _check_other(found, actor, event)
    found.status = after(found.status, event)
    found.decided_by, found.decided_at = actor, now
    if event is GlassEvent.GRANT:
        found.expires_at = now + timedelta(minutes=found.minutes)
    found.save(update_fields=["status", "decided_by", "decided_at", "expires_at"])
    _record(_ACTIONS[event], found, actor, {"requested_by": found.requested_by.username})
    if event is GlassEvent.GRANT:
        telling.tell_granted(found, now=now)
    else:
        telling.tell_ended(found, "refused", actor=actor, now=now)
    return found


@transaction.atomic
def withdraw_glass(pk: int, *, actor: User) -> BreakGlass:
    """Take it back before it is used: whoever asked, and whoever may grant."""
    found = _locked(pk)
    if found.requested_by_id != actor.pk:
        require(actor, Permission.BREAK_GLASS_GRANT)
    require(actor, Permission.BREAK_GLASS_REQUEST)
    found.status = after(found.status, GlassEvent.WITHDRAW)
    found.save(update_fields=["status"])
    _record(Action.BREAK_GLASS_WITHDRAW, found, actor, {})
    telling.tell_ended(found, "withdrawn", actor=actor, now=timezone.now())
    return found


@transaction.atomic
def review_glass(pk: int, *, review: str, actor: User) -> BreakGlass:
    """Say what came of a use; somebody other than who asked for it."""
    require(actor, Permission.BREAK_GLASS_GRANT)
    found = _locked(pk)
    _check_other(found, actor, GlassEvent.REVIEW)
    if len(review.strip()) < MIN_REASON:
        raise Invalid(f"Say in at least {MIN_REASON} characters what came of it.", where="review")
    found.status = after(found.status, GlassEvent.REVIEW)
    found.reviewed_by, found.reviewed_at, found.review = actor, timezone.now(), review.strip()
    found.save(update_fields=["status", "reviewed_by", "reviewed_at", "review"])
    _record(Action.BREAK_GLASS_REVIEW, found, actor, {"review": found.review})
    telling.settle(telling.USED, found, now=found.reviewed_at)
    return found


@transaction.atomic
def use(made: Answer, now: datetime) -> bool:
    """Use up what ``made`` stands on, all of it or none; False where somebody was first or its time is over."""
    about = made.subject
    for pk in made.used:
        usable = BreakGlass.objects.filter(pk=pk, status=GlassStatus.GRANTED, expires_at__gt=now)
        told = f"{about.kind} {about.namespace}/{about.name}, asked for by {about.user or 'nobody who is told'}"[:600]
        if usable.update(status=GlassStatus.USED, used_at=now, used_for=told) != 1:
            transaction.set_rollback(True)
            return False
        used = BreakGlass.objects.select_related("cluster", "requested_by", "decided_by").get(pk=pk)
        _record(Action.BREAK_GLASS_USE, used, None, {"for": told, "review": about.uid})
        telling.tell_used(used, now=now)
    return True


def _locked(pk: int) -> BreakGlass:
    rows = BreakGlass.objects.select_for_update(of=("self",)).select_related("cluster", "requested_by")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no break-glass {pk}.")
    return found


def _check_other(found: BreakGlass, actor: User, event: GlassEvent) -> None:
    if found.requested_by_id == actor.pk:
        raise NotAllowed(f"Nobody may {event} a break-glass of their own; somebody else has to.", code="own-request")
    if is_made_able_by(found.requested_by_id, actor.pk, found.requested_at):
        raise NotAllowed(CHOSEN, code="chosen-by-requester")


def _record(action: Action, found: BreakGlass, actor: User | None, details: Mapping[str, Any]) -> None:
    record(
        action,
        actor=actor,
        subject_type="break-glass",
        subject_id=found.pk,
        subject=f"{found.digest} in {found.cluster.name}, {found.namespace}",
        details=details,
    )
