"""What is known, in the form that the pure rules take: ends with their labels, policies, edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Q, QuerySet

from secguard.network import edges as pure
from secguard.network.edges import Sort
from secguard.network.flow import Verdict
from secguard.network.models import Applied, Edge, Peer
from secguard.network.policy import Known, Policy
from secguard.network.policyreading import policies_of
from secguard.network.simulating import Recorded

_EDGE = ("source_id", "destination_id", "protocol", "port", "verdict", "count", "pk")


class Ends:
    """Ends by their rows' ids."""

    def __init__(self, rows: Iterable[Peer]) -> None:
        self.rows = {row.pk: row for row in rows}
        self.by_id = {pk: row.end for pk, row in self.rows.items()}
        self.ids = {end: pk for pk, end in self.by_id.items()}

    @property
    def known(self) -> Known:
        return Known(
            labels={self.by_id[pk]: row.labels for pk, row in self.rows.items() if row.labels is not None},
            networks={self.by_id[pk]: frozenset(row.networks) for pk, row in self.rows.items() if row.networks},
        )


def ends_of(cluster: str) -> Ends:
    """Everything of a cluster, and what is outside of all."""
    return Ends(Peer.objects.filter(Q(cluster=cluster) | Q(cluster="")).order_by("pk"))


def recorded(ends: Ends, rows: QuerySet[Edge] | None = None, *, cluster: str = "") -> list[Recorded]:
    """Edges between known ends; of a cluster, or those given."""
    found = Edge.objects.filter(Q(source__cluster=cluster) | Q(destination__cluster=cluster)) if rows is None else rows
    made = []
    for source, destination, protocol, port, verdict, count, pk in found.order_by("pk").values_list(*_EDGE):
        if source in ends.by_id and destination in ends.by_id:
            edge = pure.Edge(ends.by_id[source], ends.by_id[destination], protocol, port or None, Verdict(verdict))
            made.append(Recorded(edge, count, pk))
    return made


def applied(cluster: str) -> list[Policy]:
    """The policies that a cluster says it applies."""
    found: list[Policy] = []
    for document in Applied.objects.filter(cluster=cluster).order_by("pk").values_list("document", flat=True):
        found += policies_of(document, cluster)
    return found


def workloads(ends: Ends) -> Sequence[pure.Peer]:
    return [end for end in ends.by_id.values() if end.sort is Sort.WORKLOAD and end.name and end.kind != "Service"]
