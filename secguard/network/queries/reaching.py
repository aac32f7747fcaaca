"""What could be reached from a workload, with the findings on the way and how it stands to the outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Count, Max, Q

from secguard import bulk
from secguard.accounts.models import User
from secguard.errors import NotFound
from secguard.findings.models import OPEN, Finding
from secguard.network.edges import Peer as End
from secguard.network.edges import Sort
from secguard.network.models import Edge, Heard, Peer
from secguard.network.policy import Policies
from secguard.network.queries import known
from secguard.network.queries.edges import HIDDEN
from secguard.network.reachability import Reached, Step, by_allowed, by_observed

MAX_HOPS: Final = 6
MAX_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Flaws:
    """Open findings of what a workload runs: how many, how many of them known to be exploited, and the worst."""

    open: int = 0
    exploited: int = 0
    severity: int = 0


@dataclass(slots=True)
class Row:
    """One end that could be reached."""

    name: str
    place: str
    hops: int
    ports: str
    is_certain: bool
    is_outside: bool
    by: tuple[str, ...]
    """``observed``, ``allowed``."""
    path: tuple[str, ...]
    end_id: int | None = None
    workload_id: int | None = None
    flaws: Flaws = field(default_factory=Flaws)
    is_exposed: bool = False


@dataclass(slots=True)
class Reach:
    start: Peer
    rows: list[Row]
    observed: int
    allowed: int
    exploited: int
    is_exposed: bool
    policies: int
    has_policies: bool
    """The cluster has told which policies it applies; where not, everything counts as allowed."""
    more: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A workload's short words for its page."""

    ends: tuple[int, ...]
    incoming: int
    outgoing: int
    denied: int
    from_outside: int
    is_exposed: bool


def workload_standing(workload_id: int) -> Standing | None:
    """How a workload stands in the network; ``None`` where no flow told of it. Two statements."""
    ends = tuple(Peer.objects.filter(workload=workload_id).order_by("pk").values_list("pk", flat=True))
    if not ends:
        return None
    is_in, is_out = Q(destination__in=ends), Q(source__in=ends)
    counts: dict[str, Any] = Edge.objects.filter(is_in | is_out).aggregate(
        incoming=Count("pk", filter=is_in),
        outgoing=Count("pk", filter=is_out),
        denied=Count("pk", filter=Q(verdict="denied")),
        from_outside=Count("pk", filter=is_in & Q(source__is_world=True, verdict="forwarded")),
    )
    return Standing(ends, **counts, is_exposed=counts["from_outside"] > 0)


def reach_from(user: User, peer_id: int) -> Reach:
    """What could be reached from an end that the person may see; raises ``NotFound`` where there is none.

    Names of other teams' workloads are left out, and what is known of their flaws too.
    """
    start = Peer.objects.visible_to(user).filter(pk=peer_id, sort=Sort.WORKLOAD.value).first()
    if start is None:
        raise NotFound(f"There is no workload {peer_id} in the network that you may see.")
    ends = known.ends_of(start.cluster)
    edges = [one.edge for one in known.recorded(ends, cluster=start.cluster)]
    observed = by_observed(start.end, edges, max_hops=MAX_HOPS)
    applied = known.applied(start.cluster)
    allowed = by_allowed(start.end, known.workloads(ends), Policies(applied, ends.known), max_hops=MAX_HOPS)
    visible = set(Peer.objects.visible_to(user).filter(cluster=start.cluster).values_list("pk", flat=True))
    reached = {ends.ids[end] for end in (*observed.steps, *allowed.steps)}
    flaws = flaws_of(user, (ends.rows[pk].workload_id for pk in reached if pk in visible))
    exposed = set(Edge.objects.from_outside().values_list("destination", flat=True))
    rows = [_row(end, ends, observed, allowed, visible, flaws, exposed) for end in {*observed.steps, *allowed.steps}]
    rows.sort(key=_order)
    return Reach(
        start=start,
        rows=rows[:MAX_SHOWN],
        observed=len(observed.steps),
        allowed=len(allowed.steps),
        exploited=sum(row.flaws.exploited > 0 for row in rows),
        is_exposed=start.pk in exposed,
        policies=len(applied),
        has_policies=bool(applied) or Heard.objects.filter(cluster=start.cluster, policies_at__isnull=False).exists(),
        more=max(0, len(rows) - MAX_SHOWN),
    )


def _order(row: Row) -> tuple[Any, ...]:
    """Known exploited first, then what was observed, then what is near."""
    return (-row.flaws.exploited, "observed" not in row.by, -row.flaws.severity, row.hops, row.name, row.end_id or 0)


def _row(
    end: End,
    ends: known.Ends,
    observed: Reached,
    allowed: Reached,
    visible: set[int],
    flaws: Mapping[int, Flaws],
    exposed: set[int],
) -> Row:
    pk = ends.ids[end]
    found = observed if end in observed.steps else allowed
    step = found.steps[end]
    is_named = end.sort is not Sort.WORKLOAD or pk in visible
    workload_id = ends.rows[pk].workload_id if is_named else None
    return Row(
        name=str(end) if is_named else HIDDEN,
        place=end.kind if is_named and end.sort is Sort.WORKLOAD else "",
        hops=step.hops,
        ports=", ".join(step.ports),
        is_certain=step.is_certain,
        is_outside=end.is_outside,
        by=tuple(word for word, of in (("observed", observed), ("allowed", allowed)) if end in of.steps),
        path=tuple(_words(s, ends, visible) for s in found.path(end)),
        end_id=pk if is_named else None,
        workload_id=workload_id,
        flaws=flaws.get(workload_id or 0, Flaws()),
        is_exposed=is_named and pk in exposed,
    )


def _words(step: Step, ends: known.Ends, visible: set[int]) -> str:
    is_named = step.peer.sort is not Sort.WORKLOAD or ends.ids[step.peer] in visible
    return f"{step.peer if is_named else HIDDEN} ({', '.join(step.ports)})"


def flaws_of(user: User, workload_ids: Iterable[int | None]) -> dict[int, Flaws]:
    """Open findings of what workloads run, as far as the person may see them. Two statements."""
    ids = sorted({pk for pk in workload_ids if pk})
    if not ids:
        return {}
    from_image: dict[int, list[int]] = defaultdict(list)
    links = Peer.objects.filter(workload__in=bulk.among(ids), workload__images__isnull=False)
    for workload, image in links.order_by().values_list("workload_id", "workload__images").distinct():
        from_image[image].append(workload)
    rows = Finding.objects.visible_to(user).filter(image__in=bulk.among(sorted(from_image)), status=OPEN).order_by()
    counted = rows.values("image_id").annotate(
        n=Count("pk"), exploited=Count("pk", filter=Q(risk__known_exploited=True)), worst=Max("severity")
    )
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in counted:
        for workload in from_image[one["image_id"]]:
            total = sums[workload]
            total[0] += one["n"]
            total[1] += one["exploited"]
            total[2] = max(total[2], one["worst"])
    return {pk: Flaws(*total) for pk, total in sums.items()}
