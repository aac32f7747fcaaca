"""Containing an attack: what is proposed, a person's yes or no, and whether it was done.

Calling a digest back is done here, by its own use case and permission. The other means are documents that a person
applies in the cluster; that they were applied is said by a person, or seen in the lists of pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.audit.actions import Action
from secguard.errors import Conflict, NotAllowed, NotFound
from secguard.incidents import containment
from secguard.incidents.containment import Form, Plan, Target
from secguard.incidents.lifecycle import UNSETTLED, Act, Answer, Means, Status, Step, after, step_after
from secguard.incidents.models import Containment, Incident
from secguard.incidents.services.acting import keep, locked, require_for, said
from secguard.jobs.registry import Run
from secguard.signing.services import recall, recalled
from secguard.workloads.models import Workload

LOOK: Final = "incidents.look"
NAMED_RUNS: Final = 10
MAX_REASON: Final = 400
"""Of a recall, with the incident's number before it."""
WORDS: Final = {
    Means.RECALL: "call the digest back",
    Means.DENY: "cut its network off",
    Means.SCALE: "stop the workload",
}


@dataclass(frozen=True, slots=True)
class Yes:
    """A person's yes. ``labels`` (``app=web``) and ``form`` are of what cuts the network off."""

    labels: str = ""
    form: Form = Form.KUBERNETES


# --- proposing ---


def propose_all(incident: Incident, now: datetime) -> None:
    """Every means there is, inside the caller's transaction; what stands proposed already stays."""
    standing = set(incident.containments.filter(status__in=UNSETTLED).values_list("kind", flat=True))
    plans = {means: plan for means, plan in _plans(incident).items() if means not in standing}
    Containment.objects.bulk_create(
        Containment(incident=incident, kind=means, document=plan.document, touches=list(plan.touches), proposed_at=now)
        for means, plan in plans.items()
    )


def _plans(incident: Incident) -> dict[Means, Plan]:
    found: dict[Means, Plan] = {}
    if incident.image is not None and not recalled([incident.image.digest]):
        found[Means.RECALL] = _recall_plan(incident.image.digest)
    target = target_of(incident)
    if target is not None and containment.can_name(target):
        found[Means.DENY] = containment.deny(target, incident.pk, {})
    if target is not None and containment.can_scale(target):
        found[Means.SCALE] = containment.scale(target)
    return found


def _recall_plan(digest: str) -> Plan:
    """Without names of workloads: the image may run in other teams' places, which this incident's people do not see."""
    count = Workload.objects.running().filter(images__digest=digest).count()
    return containment.recall(digest, [f"{count:,} workload{'' if count == 1 else 's'}"] if count else [])


def target_of(incident: Incident) -> Target | None:
    """The workload, where one is known; else what its sensor named, if it did."""
    if not incident.workload_name:
        return None
    kind = incident.workload.kind if incident.workload else incident.workload_kind or "Deployment"
    return Target(incident.cluster, incident.namespace, kind, incident.workload_name)


@transaction.atomic
def propose(pk: int, *, actor: User) -> Incident:
    """Propose anew what may contain it. Needs incident:contain; raises ``Conflict`` where it is no attack."""
    incident, now = locked(pk, actor), timezone.now()
    require_for(incident, Permission.INCIDENT_CONTAIN, actor)
    if incident.status != Status.ATTACK:
        raise Conflict(f"The incident is {incident.status}; only an attack is contained.", code="incident")
    propose_all(incident, now)
    keep(incident, Action.CONTAINMENT_PROPOSE, "proposed how to contain it", actor=actor, now=now)
    return incident


# --- a person's answer ---


@transaction.atomic
def approve(pk: int, yes: Yes, *, actor: User) -> Containment:
    """Say yes. A recall is done at once, if the actor may call the digest back as well; of the others the document is
    made, for a person to apply. Raises ``Invalid`` where the labels of the pods are needed and not given."""
    if actor.is_service:
        raise NotAllowed(
            "What contains an attack needs a person's yes; a service cannot give it.", code="person-needed"
        )
    row, now = _answered(pk, Answer.APPROVE, actor)
    row.decided_by, row.decided_at = actor, now
    if row.kind == Means.RECALL:
        row.note = _recalled(row, actor)
        row.status, row.done_by, row.done_at = step_after(row.status, Answer.APPLY), actor, now
    elif row.kind == Means.DENY:
        plan = _deny_plan(row, yes)
        row.document, row.touches = plan.document, list(plan.touches)
    row.save()
    keep(
        row.incident,
        Action.CONTAINMENT_APPROVE,
        f"said yes to: {WORDS[Means(row.kind)]}",
        row.note,
        actor=actor,
        now=now,
    )
    _contained(row.incident, now)
    return row


def _recalled(row: Containment, actor: User) -> str:
    digest = row.incident.image.digest if row.incident.image else row.incident.digest
    why = f"Incident {row.incident_id}: {row.incident.reason}"
    try:
        with transaction.atomic():
            recall(digest, why[:MAX_REASON], actor=actor)
    except Conflict as error:
        if error.code != "recalled-already":
            raise
        return "It was called back already."
    return "Called back."


def _deny_plan(row: Containment, yes: Yes) -> Plan:
    target = target_of(row.incident)
    if target is None:
        raise Conflict("Its workload is not known any more, so there is nothing to cut off.", code="no-workload")
    return containment.deny(target, row.incident_id, containment.labels_of(yes.labels), yes.form)


@transaction.atomic
def refuse(pk: int, reason: str, *, actor: User) -> Containment:
    row, now = _answered(pk, Answer.REFUSE, actor)
    row.note = said(reason, where="reason", what="why not")
    row.decided_by, row.decided_at = actor, now
    row.save(update_fields=["status", "note", "decided_by", "decided_at"])
    keep(
        row.incident, Action.CONTAINMENT_REFUSE, f"said no to: {WORDS[Means(row.kind)]}", row.note, actor=actor, now=now
    )
    _contained(row.incident, now)
    return row


@transaction.atomic
def applied(pk: int, *, actor: User) -> Containment:
    """Say that somebody has applied the document."""
    row, now = _answered(pk, Answer.APPLY, actor)
    row.done_by, row.done_at = actor, now
    row.save(update_fields=["status", "done_by", "done_at"])
    keep(row.incident, Action.CONTAINMENT_APPLY, f"applied: {WORDS[Means(row.kind)]}", actor=actor, now=now)
    _contained(row.incident, now)
    return row


@transaction.atomic
def failed(pk: int, reason: str, *, actor: User) -> Containment:
    """Say that it could not be applied, and why; it may be approved again."""
    row, now = _answered(pk, Answer.FAIL, actor)
    row.note = said(reason, where="reason", what="what went wrong")
    row.save(update_fields=["status", "note"])
    keep(row.incident, Action.CONTAINMENT_FAIL, f"failed: {WORDS[Means(row.kind)]}", row.note, actor=actor, now=now)
    return row


def _answered(pk: int, answer: Answer, actor: User) -> tuple[Containment, datetime]:
    """The proposal in its next state, not saved; its incident is locked, and an attack."""
    of = Containment.objects.filter(pk=pk).values_list("incident_id", flat=True).first()
    if of is None:
        raise _no_proposal(pk)
    try:
        incident = locked(of, actor)
    except NotFound:
        raise _no_proposal(pk) from None
    require_for(incident, Permission.INCIDENT_CONTAIN, actor)
    row = Containment.objects.select_for_update().get(pk=pk)
    row.incident = incident
    if incident.status != Status.ATTACK:
        raise Conflict(f"The incident is {incident.status}; only an attack is contained.", code="incident")
    row.status = step_after(row.status, answer)
    return row, timezone.now()


def _no_proposal(pk: int) -> NotFound:
    return NotFound(f"There is no proposal {pk} that you may see.", code="no-proposal")


def _contained(incident: Incident, now: datetime) -> None:
    """It is contained once nothing waits any more and something was done."""
    states = set(incident.containments.values_list("status", flat=True))
    if states & set(UNSETTLED) or Step.DONE not in states:
        return
    incident.status = after(incident.status, Act.CONTAIN)
    incident.save(update_fields=["status"])
    keep(incident, Action.INCIDENT_CONTAIN, "contained: all that was approved is done", actor=None, now=now)


def withdraw(incident: Incident, why: str, *, actor: User, now: datetime) -> None:
    """Refuse what waits, inside the caller's transaction: the incident is no attack any more."""
    waiting = incident.containments.filter(status__in=UNSETTLED)
    waiting.update(status=Step.REFUSED, note=why, decided_by=actor, decided_at=now)


# --- what lists of pods show ---


def look(_run: Run) -> Mapping[str, Any]:
    """The job: workloads that were to be stopped, and that lists of pods show as gone since."""
    gone = Q(incident__workload__gone_at__gte=F("decided_at"))
    rows = Containment.objects.filter(gone, kind=Means.SCALE, status=Step.APPROVED)
    done = [pk for pk in rows.order_by("pk").values_list("pk", flat=True)[:1_000] if _seen_stopped(pk)]
    return {"stopped": len(done)}


@transaction.atomic
def _seen_stopped(pk: int) -> bool:
    of = Containment.objects.filter(pk=pk).values_list("incident_id", flat=True).get()
    incident, now = locked(of, None), timezone.now()
    row = Containment.objects.select_for_update().get(pk=pk)
    if row.status != Step.APPROVED or incident.status != Status.ATTACK:
        return False
    row.status, row.done_at, row.note = step_after(row.status, Answer.APPLY), now, "A list of pods shows none of it."
    row.save(update_fields=["status", "done_at", "note"])
    row.incident = incident
    keep(incident, Action.CONTAINMENT_APPLY, f"seen as done: {WORDS[Means.SCALE]}", row.note, actor=None, now=now)
    _contained(incident, now)
    return True
