"""Whether flows are heard of, what network policies limit, and whether the rules between segments are kept, for
checklists (``planning.checks``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.network import edges
from secguard.network.edges import Sort
from secguard.network.models import Applied, Edge, Heard, Peer
from secguard.network.policy import Known, Policies, Policy, Rule, Side
from secguard.network.policyreading import policies_of
from secguard.network.segmentation import Stance
from secguard.network.selectors import Truth, inverted
from secguard.planning.counting import Counting, Measure, Rows, Shown, soonest
from secguard.workloads.models import Workload
from secguard.workloads.queries import workloads_running

SILENT: Final = timedelta(days=1)
"""Of a cluster of which no flow came for longer nobody hears."""
OLD: Final = timedelta(days=7)
"""A list of policies that is older says nothing of those that a cluster applies now."""


def _clusters(running: dict[int, list[Workload]]) -> list[str]:
    return sorted({w.cluster.name for several in running.values() for w in several})


def _heard(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """The workloads of whose cluster flows came within a day. Two queries."""
    running = workloads_running(application_ids)
    rows = Heard.objects.filter(cluster__in=bulk.among(_clusters(running)), last_at__gt=now - SILENT)
    last = dict(rows.values_list("cluster", "last_at"))
    return {
        pk: Rows(
            total=frozenset(w.pk for w in several),
            lacking=frozenset(w.pk for w in several if w.cluster.name not in last),
            changes_at=soonest(*(last[w.cluster.name] + SILENT for w in several if w.cluster.name in last)),
        )
        for pk, several in running.items()
    }


def _limited(side: Side) -> Measure:
    """Measures the workloads that a policy which their cluster applies isolates in a direction. Four queries."""

    def measure(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
        running = workloads_running(application_ids)
        listed = Heard.objects.filter(cluster__in=bulk.among(_clusters(running)), policies_at__gt=now - OLD)
        told = dict(listed.values_list("cluster", "policies_at"))
        workloads = [w for several in running.values() for w in several]
        ends = _ends(workloads)
        labels = {end: known for several in ends.values() for end, known in several.items() if known is not None}
        policies = Policies(_applied(workloads, told), Known(labels=labels))
        held = {w.pk: min(isolation(policies, end, side) for end in ends[w.pk]) for w in workloads}
        return {pk: _rows(several, held, told) for pk, several in running.items()}

    return measure


def _rows(workloads: Collection[Workload], held: dict[int, Truth], told: dict[str, datetime | None]) -> Rows:
    ends = [told.get(w.cluster.name) for w in workloads]
    listed = {w.pk for w in workloads if w.cluster.name in told}
    total = frozenset(w.pk for w in workloads)
    return Rows(
        total=total,
        lacking=frozenset(pk for pk in listed if held[pk] is Truth.NO),
        untold=frozenset(pk for pk in total if pk not in listed or held[pk] is Truth.MAYBE),
        changes_at=soonest(*(at + OLD for at in ends if at is not None)),
    )


def _ends(workloads: Collection[Workload]) -> dict[int, dict[edges.Peer, dict[str, str | None] | None]]:
    """{workload: its ends, as flows told of them with their labels; as the list of pods has it where none did}."""
    rows = Peer.objects.filter(workload__in=bulk.among(sorted(w.pk for w in workloads)), sort=Sort.WORKLOAD.value)
    found: dict[int, dict[edges.Peer, dict[str, str | None] | None]] = defaultdict(dict)
    for row in rows.exclude(kind="Service").order_by("pk"):
        found[row.workload_id or 0][row.end] = row.labels
    for w in workloads:
        if not found[w.pk]:
            found[w.pk] = {edges.Peer(Sort.WORKLOAD, w.name, w.cluster.name, w.namespace, w.kind): None}
    return dict(found)


def _applied(workloads: Collection[Workload], told: Collection[str]) -> list[Policy]:
    """What clusters told that they apply, in the workloads' namespaces or in all."""
    clusters = sorted({w.cluster.name for w in workloads if w.cluster.name in told})
    namespaces = sorted({"", *(w.namespace for w in workloads)})
    rows = Applied.objects.filter(cluster__in=bulk.among(clusters), namespace__in=bulk.among(namespaces))
    found: list[Policy] = []
    for cluster, document in rows.order_by("pk").values_list("cluster", "document"):
        found += policies_of(document, cluster)
    return found


def isolation(policies: Policies, end: edges.Peer, side: Side) -> Truth:
    """Whether anything limits an end in a direction: a policy selects it, and none that does lets everything through.

    Kubernetes, "Network Policies": what several policies let through adds up.
    """
    selecting = [
        (policy, selects)
        for policy, selects in policies.selecting(end, side)
        if policy.rules(side) is not None and side not in policy.leaves_open
    ]
    limits = max((selects for _, selects in selecting), default=Truth.NO)
    opens = max((selects for policy, selects in selecting if _lets_all(policy.rules(side) or ())), default=Truth.NO)
    return min(limits, inverted(opens))


def _lets_all(rules: Sequence[Rule]) -> bool:
    return any(rule.peers is None and rule.ports is None and not rule.is_partial for rule in rules)


# --- rules between segments ---


def _segmented(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    """The workloads all of whose ends lie in a segment that takes nothing but what a rule allows. Three queries."""
    running = workloads_running(application_ids)
    ends, closed = _closed([w for several in running.values() for w in several])
    return {
        pk: Rows(
            total=frozenset(w.pk for w in several),
            lacking=frozenset(w.pk for w in several if w.pk in ends and not ends[w.pk] <= closed),
            untold=frozenset(w.pk for w in several if w.pk not in ends),
        )
        for pk, several in running.items()
    }


def _rules_kept(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """The workloads in closed segments of which no connection was seen to break a rule of late. Four queries."""
    running = workloads_running(application_ids)
    ends, closed = _closed([w for several in running.values() for w in several])
    theirs = sorted(set().union(*ends.values()))
    rows = Edge.objects.filter(
        Q(source__in=bulk.among(theirs)) | Q(destination__in=bulk.among(theirs)),
        broke_at__isnull=False,
        last_at__gt=now - OLD,
    )
    last: dict[int, datetime] = {}
    for *both, at in rows.values_list("source_id", "destination_id", "last_at"):
        last |= {end: max(at, last.get(end, at)) for end in both}
    found = {}
    for pk, several in running.items():
        total = frozenset(w.pk for w in several)
        own = {w.pk: ends.get(w.pk, set()) for w in several}
        breaking = {w: max(last[end] for end in known) for w, of in own.items() if (known := of & last.keys())}
        safe = {w for w, of in own.items() if of and of <= closed}
        changes_at = soonest(*(at + OLD for at in breaking.values()))
        lacking = frozenset(breaking)
        found[pk] = Rows(total=total, lacking=lacking, untold=total - lacking - safe, changes_at=changes_at)
    return found


def _closed(workloads: Collection[Workload]) -> tuple[dict[int, set[int]], set[int]]:
    """({workload: its ends, where flows told of any}, those that lie in a closed segment)."""
    wanted = bulk.among(sorted(w.pk for w in workloads))
    ends: dict[int, set[int]] = defaultdict(set)
    for pk, workload in Peer.objects.filter(workload__in=wanted).order_by().values_list("pk", "workload_id"):
        ends[workload or 0].add(pk)
    theirs = bulk.among(sorted(set().union(*ends.values())))
    closed = Peer.objects.filter(
        pk__in=theirs, segments__stance=Stance.CLOSED.value, segments__ended_at=None
    ).order_by()
    return dict(ends), set(closed.values_list("pk", flat=True).distinct())


_WORKLOADS: Final = Shown(
    slugs=application_slugs,
    page="/workloads/",
    noun="workload",
    plural="workloads",
    nothing="Nothing of it runs, as far as is known here.",
)
_UNLISTED: Final = "whose policies are not told within a week, or whose labels are not known"
COUNTINGS: Final = (
    Counting(
        name="network-heard",
        about="Of each cluster that runs its workloads flows came within the last day.",
        measure=_heard,
        kept="in a cluster of which flows come",
        lacking="in a cluster of which no flow came within a day",
        of=_WORKLOADS,
    ),
    Counting(
        name="network-ingress-limited",
        about="A network policy that the cluster applies limits what may reach each of its workloads.",
        measure=_limited(Side.INGRESS),
        kept="with a network policy for what may reach them",
        lacking="that everything may reach",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="network-egress-limited",
        about="A network policy that the cluster applies limits what each of its workloads may call.",
        measure=_limited(Side.EGRESS),
        kept="with a network policy for what they may call",
        lacking="that may call everything",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="network-segmented",
        about="Each of its workloads lies in a segment that takes nothing but what a rule allows.",
        measure=_segmented,
        kept="in a closed segment",
        lacking="in no closed segment",
        untold="of which no flow told yet",
        of=_WORKLOADS,
    ),
    Counting(
        name="network-rules-kept",
        about="No connection of its workloads was seen within a week to break a rule between segments.",
        measure=_rules_kept,
        kept="in a closed segment whose rules were kept for a week",
        lacking="with a connection that breaks a rule",
        untold="in no closed segment, or of which no flow told yet",
        of=_WORKLOADS,
    ),
)
