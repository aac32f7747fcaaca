"""What clusters ask and refuse, and what workloads are kept from, for checklists (``planning.checks``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.admission.answer import Effect, Mode
from secguard.admission.models import ClusterGate
from secguard.planning.counting import Counting, Measure, Rows, Shown, soonest
from secguard.workloads import volumes
from secguard.workloads.models import Volume, Workload
from secguard.workloads.podspec import Ask

OLD: Final = timedelta(days=7)
"""What no list of pods told of for longer, and what a cluster that has not asked for longer is set to, says nothing of
what runs now."""


def _running(application_ids: Sequence[int]) -> dict[int, list[Workload]]:
    """{application: what runs of it}. One query."""
    rows = Workload.objects.running().filter(application__in=bulk.among(application_ids))
    found: dict[int, list[Workload]] = defaultdict(list)
    for row in rows.order_by("pk"):
        found[row.application_id or 0].append(row)
    return dict(found)


# --- clusters ---

Holds = Callable[[ClusterGate, str], bool]
"""Whether what is asked for holds in a cluster's namespace."""


def _where(holds: Holds) -> Measure:
    """Measures the workloads whose cluster asks, was heard from lately, and does what is asked for."""

    def measure(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
        running = _running(application_ids)
        clusters = sorted({w.cluster_id for several in running.values() for w in several})
        rows = ClusterGate.objects.filter(cluster__in=bulk.among(clusters), token_hash__isnull=False)
        gates = {gate.cluster_id: gate for gate in rows.order_by("pk")}
        return {pk: _by_gate(several, gates, holds, now) for pk, several in running.items()}

    return measure


def _by_gate(workloads: Collection[Workload], gates: dict[int, ClusterGate], holds: Holds, now: datetime) -> Rows:
    lacking, untold, ends = set(), set(), []
    for workload in workloads:
        gate = gates.get(workload.cluster_id)
        if gate is None or not (_enforces(gate, workload.namespace) and holds(gate, workload.namespace)):
            lacking.add(workload.pk)
        elif gate.heard_at is None or gate.heard_at <= now - OLD:
            untold.add(workload.pk)
        else:
            ends.append(gate.heard_at + OLD)
    return Rows(
        total=frozenset(w.pk for w in workloads),
        lacking=frozenset(lacking),
        untold=frozenset(untold),
        changes_at=soonest(*ends),
    )


def _enforces(gate: ClusterGate, namespace: str) -> bool:
    return gate.rules.mode_in(namespace) is Mode.ENFORCE


def _refusing(*asks: str) -> Measure:
    return _where(lambda gate, _: all(gate.rules.effect_of(Ask(ask)) is Effect.BLOCK for ask in asks))


# --- pods ---


def _kept_from(*restrictions: str) -> Measure:
    """Measures the workloads all of whose pods are kept from that, as the last list of pods told. One query."""
    wanted = frozenset(restrictions)

    def measure(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
        return {
            pk: _told(several, {w.pk for w in several if not wanted <= set(w.restrictions or ())}, now)
            for pk, several in _running(application_ids).items()
        }

    return measure


def _off_the_node(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """Those that mount no folder of their node, and so not the runtime's socket either. Two queries."""
    running = _running(application_ids)
    ids = sorted(w.pk for several in running.values() for w in several)
    on_node = Volume.objects.filter(workload__in=bulk.among(ids), kind=volumes.NODE).order_by()
    mounting = set(on_node.values_list("workload_id", flat=True).distinct())
    found = {}
    for pk, several in running.items():
        # A mount that is known is one, whoever told of it; that there is none, only a list of pods tells.
        seen = _told(several, set(), now)
        lacking = frozenset(w.pk for w in several) & mounting
        found[pk] = Rows(total=seen.total, lacking=lacking, untold=seen.untold - lacking, changes_at=seen.changes_at)
    return found


def _told(workloads: Collection[Workload], without: Collection[int], now: datetime) -> Rows:
    """``without``: the ids of those that do not have it, if the list of pods told of them."""
    told = {w.pk for w in workloads if w.restrictions is not None and w.listed_at is not None}
    lately = {w.pk: w.listed_at + OLD for w in workloads if w.listed_at is not None and w.listed_at > now - OLD}
    total = frozenset(w.pk for w in workloads)
    lacking = frozenset(told & set(without))
    return Rows(
        total=total,
        lacking=lacking,
        untold=total - lacking - (told & lately.keys()),
        changes_at=soonest(*(lately[pk] for pk in lately if pk not in lacking)),
    )


_WORKLOADS: Final = Shown(
    slugs=application_slugs,
    page="/workloads/",
    noun="workload",
    plural="workloads",
    nothing="Nothing of it runs, as far as is known here.",
)
_SILENT: Final = "in a cluster that has not asked for a week"
_UNLISTED: Final = "not told of by a list of pods within a week"
COUNTINGS: Final = (
    Counting(
        name="clusters-enforce",
        about="All that runs runs in namespaces of clusters that ask, were heard from within a week, and enforce.",
        measure=_where(lambda _gate, _namespace: True),
        kept="where the answer is asked for and enforced",
        lacking="where nobody asks, or the answer is not enforced",
        untold=_SILENT,
        of=_WORKLOADS,
    ),
    Counting(
        name="refuses-host-namespaces",
        about="The clusters where it runs refuse pods that ask for hostNetwork, hostPID or hostIPC.",
        measure=_refusing("host-network", "host-pid", "host-ipc"),
        kept="where the node's namespaces are refused",
        lacking="where pods may share the node's namespaces",
        untold=_SILENT,
        of=_WORKLOADS,
    ),
    Counting(
        name="refuses-no-limits",
        about="The clusters where it runs refuse pods without limits of CPU and memory.",
        measure=_refusing("no-limits"),
        kept="where pods without limits are refused",
        lacking="where pods may run without limits",
        untold=_SILENT,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-unprivileged",
        about="No container of its workloads is privileged, as a list of pods told within a week.",
        measure=_kept_from("not-privileged"),
        kept="without a privileged container",
        lacking="with a privileged container",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-non-root",
        about="Every container of its workloads runs as a user that is not root, as a list of pods told.",
        measure=_kept_from("non-root"),
        kept="not as root",
        lacking="with a container that may run as root",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-read-only",
        about="Every container of its workloads has a read-only root filesystem, as a list of pods told.",
        measure=_kept_from("read-only-root"),
        kept="with a read-only root filesystem",
        lacking="with a container that can write to its root filesystem",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-restricted",
        about="Every container drops all capabilities, cannot gain privileges and keeps a seccomp profile.",
        measure=_kept_from("no-capabilities", "no-privilege-escalation", "seccomp"),
        kept="with capabilities dropped, no new privileges, and a seccomp profile",
        lacking="with capabilities, new privileges, or no seccomp profile",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-off-the-node",
        about="No workload mounts the container runtime's socket or a folder of its node, as a list of pods told.",
        measure=_off_the_node,
        kept="off the node's folders",
        lacking="with the runtime's socket or a folder of the node",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
)
