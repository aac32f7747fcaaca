"""Proposals: generated from what was observed, tried against it, asked for by one person and decided by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.network import netpol
from secguard.network.edges import Sort
from secguard.network.lifecycle import ProposalEvent, ProposalState, after
from secguard.network.models import Peer, Proposal
from secguard.network.netpol import Generated
from secguard.network.policy import Form
from secguard.network.policyreading import policies_of
from secguard.network.queries import known
from secguard.network.simulating import Simulated, simulate

MAX_TEXT: Final = 4_000
MAX_CUT: Final = 200
"""So many of the edges that would be cut are kept with a proposal."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What was generated, and what it would do to everything that is recorded of its cluster."""

    generated: Generated
    simulated: Simulated
    application: Application | None


@dataclass(frozen=True, slots=True)
class About:
    """What a policy is generated for: one workload (by its end), or a namespace of a cluster."""

    form: Form
    end: int | None = None
    cluster: str = ""
    namespace: str = ""


def draft(about: About, *, actor: User) -> Draft:
    """Generate and simulate, and keep nothing.

    Raises ``NotFound`` for a workload that the person may not see and for a namespace of which others' workloads are a
    part (a policy for all of them would tell what those speak to), and ``Invalid`` where no policy can be written.
    """
    subject, application = _subject(about, actor)
    ends = known.ends_of(about.cluster if subject is None else subject.cluster)
    told = known.recorded(ends, cluster=about.cluster if subject is None else subject.cluster)
    edges = [one.edge for one in told]
    if subject is None:
        made = netpol.for_namespace(about.cluster, about.namespace, edges, ends.known, form=about.form)
    else:
        made = netpol.for_workload(subject.end, edges, ends.known, form=about.form, namesakes=known.workloads(ends))
    require_seen(made, ends, actor)
    now = known.applied(made.cluster)
    rest = [p for p in now if (p.form, p.namespace, p.name) != (made.form, made.namespace, made.name)]
    then = [*rest, *policies_of(made.document, made.cluster)]
    return Draft(made, simulate(told, before=now, after=then, known=ends.known), application)


def require_seen(made: Generated, ends: known.Ends, actor: User) -> None:
    """A policy names whom its workloads speak to, and so may be made only by who may know them."""
    met = {ends.ids[end] for edge in made.edges for end in edge[:2] if end.sort is Sort.WORKLOAD}
    if Peer.objects.visible_to(actor).filter(pk__in=bulk.among(sorted(met))).count() != len(met):
        raise NotAllowed(
            "It speaks with workloads of other teams, which a policy would have to name and you may not see. Ask "
            "somebody who sees the whole organisation to generate it.",
            code="others",
        )


def _subject(about: About, actor: User) -> tuple[Peer | None, Application | None]:
    if about.end is not None:
        rows = Peer.objects.visible_to(actor).select_related("workload__application")
        found = rows.filter(pk=about.end, sort=Sort.WORKLOAD.value).first()
        if found is None:
            raise NotFound(f"There is no workload {about.end} in the network that you may see.", where="end")
        return found, found.workload.application if found.workload else None
    inside = Peer.objects.filter(sort=Sort.WORKLOAD.value, cluster=about.cluster, namespace=about.namespace)
    count = inside.count()
    if not count or inside.visible_to(actor).count() != count:
        raise NotFound(
            f"There is no namespace {about.namespace[:63]!r} of {about.cluster[:100]!r} all of whose workloads you may "
            "see. Generate policies for single workloads.",
            where="namespace",
        )
    owners = set(inside.values_list("workload__application", flat=True))
    return None, Application.objects.filter(pk__in=owners).first() if len(owners) == 1 else None


@transaction.atomic
def propose(about: About, reason: str, *, actor: User) -> Proposal:
    """Ask for a generated policy to be applied. Needs workload:edit in the team that owns what it is for.

    Raises ``Conflict`` where one for the same name is open already.
    """
    subject, application = _subject(about, actor)
    require(actor, Permission.WORKLOAD_EDIT, team_id=application.team_id if application else None)
    made = draft(about, actor=actor)
    generated = made.generated
    proposal = Proposal(
        cluster=generated.cluster,
        namespace=generated.namespace,
        name=generated.name,
        form=generated.form.value,
        subject=subject.name if subject else "",
        application=application,
        document=generated.document,
        made_from=len(generated.edges),
        left_out=[{"subject": out.subject, "why": out.why} for out in generated.left_out],
        simulated=summary_of(made.simulated),
        reason=_text(reason, "reason"),
        asked_by=actor,
    )
    try:
        with transaction.atomic():
            proposal.save()
    except IntegrityError as error:
        raise Conflict(
            f"A proposal for {proposal} is open already; decide or withdraw that one first.", code="open", where="name"
        ) from error
    _record(Action.NETWORK_POLICY_PROPOSE, proposal, actor, {"cuts": len(made.simulated.cut)})
    return proposal


def summary_of(simulated: Simulated) -> dict[str, Any]:
    """What is kept of a simulation: its words, counts, and the first edges that would be cut."""
    return {
        "words": simulated.words,
        "asked": simulated.asked,
        "cut": len(simulated.cut),
        "flows": simulated.flows,
        "namespaces": list(simulated.namespaces),
        "opened": len(simulated.opened),
        "unsure": len(simulated.unsure),
        "edges": [change.recorded.id for change in simulated.cut[:MAX_CUT]],
    }


@transaction.atomic
def decide(proposal_id: int, event: ProposalEvent, answer: str = "", *, actor: User) -> Proposal:
    """Approve, reject or withdraw.

    Who asked may withdraw, and nobody else; who decides needs policy:activate and is somebody else.
    """
    rows = Proposal.objects.visible_to(actor).select_for_update(of=("self",))
    proposal = rows.filter(pk=proposal_id).first()
    if proposal is None:
        raise NotFound(f"There is no proposal {proposal_id} that you may see.")
    if event is ProposalEvent.WITHDRAW:
        if proposal.asked_by_id != actor.pk:
            raise NotAllowed("Who asked for a policy may withdraw it; you did not.", code="not-yours")
    else:
        require(
            actor, Permission.POLICY_ACTIVATE, team_id=proposal.application.team_id if proposal.application else None
        )
        if event is ProposalEvent.APPROVE and proposal.asked_by_id == actor.pk:
            raise NotAllowed(
                "Nobody approves what they asked for themselves; somebody else has to.", code="own-request"
            )
    proposal.state = after(ProposalState(proposal.state), event).value
    proposal.decided_by, proposal.decided_at, proposal.answer = actor, timezone.now(), _text(answer, "answer")
    proposal.save(update_fields=["state", "decided_by", "decided_at", "answer"])
    _record(Action.NETWORK_POLICY_DECIDE, proposal, actor, {"state": proposal.state})
    return proposal


def _text(text: str, where: str) -> str:
    found = text.replace("\0", "").strip()
    if len(found) > MAX_TEXT:
        raise Invalid(f"The {where} has {len(found):,} characters; at most {MAX_TEXT:,}.", where=where)
    return found


def _record(action: Action, proposal: Proposal, actor: User, details: dict[str, Any]) -> None:
    record(
        action,
        actor=actor,
        subject_type="network-policy",
        subject_id=proposal.pk,
        subject=f"{proposal.cluster}: {proposal}",
        details=details | {"form": proposal.form},
    )
