"""The map: ends gathered into groups, and what they say to each other, added up by the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Count, Q, QuerySet, Sum
from django.urls import reverse

from secguard.network import layout
from secguard.network.edges import Sort
from secguard.network.models import Edge
from secguard.network.queries.edges import OUTSIDE, SIDES, about

MAX_LINKS: Final = 1_000
"""So many are drawn: those that say most. The table's count and the list of edges tell of all."""
MAX_WORKLOADS: Final = 400
MAX_OUTSIDE: Final = 40
MAX_ROWS: Final = 20_000


@dataclass(slots=True)
class Node:
    """A group of ends, or one end. ``sort``: ``namespace``, ``workload``, ``outside``, ``own`` or ``others``."""

    id: str
    label: str
    sort: str
    cluster: str = ""
    url: str = ""
    x: int = 0
    y: int = 0


@dataclass(slots=True)
class Link:
    """How many edges two groups have, by their state, and how many flows."""

    source: str
    destination: str
    allowed: int = 0
    denied: int = 0
    unknown: int = 0
    new: int = 0
    anomalous: int = 0
    flows: int = 0
    url: str = ""

    @property
    def state(self) -> str:
        """The one that matters most."""
        for state in ("denied", "anomalous", "new", "allowed"):
            if getattr(self, state):
                return state
        return "unknown"


@dataclass(slots=True)
class Map:
    nodes: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    link_count: int = 0
    is_cut: bool = False
    """More than is drawn."""

    @property
    def document(self) -> dict[str, Any]:
        """What the page draws, and the API answers."""
        links = [asdict(link) | {"state": link.state} for link in self.links]
        return {"nodes": [asdict(n) for n in self.nodes], "links": links, "is_cut": self.is_cut}

    def label_of(self, node_id: str) -> str:
        return next((n.label for n in self.nodes if n.id == node_id), "")


_COUNTS: Final = {"allowed": "forwarded", "denied": "denied", "unknown": "unknown"}


def _added(rows: QuerySet[Edge], keys: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """One row for each group of edges: the database adds, whatever their number."""
    grouped = rows.order_by().values(*keys).annotate(
        **{name: Count("pk", filter=Q(verdict=verdict)) for name, verdict in _COUNTS.items()},
        new=Count("pk", filter=Q(new_until__gt=now)),
        anomalous=Count("pk", filter=~Q(anomaly="")),
        flows=Sum("count"),
    )  # fmt: skip
    return list(grouped[: MAX_ROWS + 1])


def overview(rows: QuerySet[Edge], now: datetime, carried: Mapping[str, str]) -> Map:
    """Namespaces of all clusters, what is outside, and what is the cluster's own. ``rows``: of ``edges``, filtered.

    ``carried``: filters that links keep.
    """
    keys = [f"{side}{part}" for side in SIDES for part in ("__sort", "__cluster", "__namespace", "_shown")]
    nodes: dict[str, Node] = {}
    links: dict[tuple[str, str], Link] = {}
    for row in _added(rows, keys, now):
        pair = tuple(
            _group(nodes, row[f"{s}__sort"], row[f"{s}__cluster"], row[f"{s}__namespace"], row[f"{s}_shown"], carried)
            for s in SIDES
        )
        _add(links, (pair[0], pair[1]), row)
    return _placed(nodes, links, carried, middle="")


def _group(
    nodes: dict[str, Node], sort: str, cluster: str, namespace: str, is_shown: bool, carried: Mapping[str, str]
) -> str:
    own = not is_shown or sort in OUTSIDE or sort == Sort.IDENTITY.value
    if not own and (known := f"{cluster}/{namespace}") in nodes:
        return known
    if not is_shown:
        node = Node("others", "Other teams' workloads", "others")
    elif sort in OUTSIDE:
        node = Node("outside", "Outside", "outside", url=_list({"destination": "outside"} | dict(carried)))
    elif sort == Sort.IDENTITY.value:
        node = Node(f"own:{cluster}", f"{cluster or 'Cluster'}: its own", "own", cluster)
    else:
        url = f"{reverse('network:map')}?{urlencode({**carried, 'cluster': cluster, 'namespace': namespace})}"
        label = namespace or "(no namespace)"
        node = Node(f"{cluster}/{namespace}", label, "namespace", cluster, url if namespace else "")
    nodes.setdefault(node.id, node)
    return node.id


def opened(rows: QuerySet[Edge], cluster: str, namespace: str, now: datetime, carried: Mapping[str, str]) -> Map:
    """The workloads of one namespace, and whom they speak to: others by namespace, outside by name."""
    here = {"cluster": cluster, "namespace": namespace} if cluster else {"namespace": namespace}
    keys = [
        f"{side}{part}" for side in SIDES
        for part in ("_id", "__sort", "__cluster", "__namespace", "__name", "_shown")
    ]  # fmt: skip
    found = _added(rows.filter(about(**here)), keys, now)
    weights: dict[tuple[str, int], int] = defaultdict(int)
    for row in found:
        for side in SIDES:
            weights[_class_of(row, side, here), row[f"{side}_id"]] += row["allowed"] + row["denied"] + row["unknown"]
    kept = _heaviest(weights, "here", MAX_WORKLOADS) | _heaviest(weights, "outside", MAX_OUTSIDE)
    nodes: dict[str, Node] = {}
    links: dict[tuple[str, str], Link] = {}
    for row in found[:MAX_ROWS]:
        pair = tuple(_single(nodes, row, side, here, kept, carried) for side in SIDES)
        _add(links, (pair[0], pair[1]), row)
    made = _placed(nodes, links, carried, middle="workload")
    made.is_cut |= len(found) > MAX_ROWS
    return made


def _class_of(row: Mapping[str, Any], side: str, here: Mapping[str, str]) -> str:
    if not row[f"{side}_shown"]:
        return "others"
    if row[f"{side}__sort"] in OUTSIDE:
        return "outside"
    is_here = row[f"{side}__sort"] == Sort.WORKLOAD.value and all(row[f"{side}__{k}"] == v for k, v in here.items())
    return "here" if is_here else "beside"


def _heaviest(weights: Mapping[tuple[str, int], int], kind: str, most: int) -> set[int]:
    found = sorted(((-n, pk) for (of, pk), n in weights.items() if of == kind))
    return {pk for _, pk in found[:most]}


def _single(
    nodes: dict[str, Node],
    row: Mapping[str, Any],
    side: str,
    here: Mapping[str, str],
    kept: set[int],
    carried: Mapping[str, str],
) -> str:
    kind, pk = _class_of(row, side, here), row[f"{side}_id"]
    if kind == "outside" and pk in kept:
        node = Node(f"peer:{pk}", row[f"{side}__name"], "outside", url=_list({"end": str(pk)}))
    elif kind == "here":
        if pk not in kept:
            node = Node("more", "More workloads", "workload", url=_list({**here}))
        else:
            url = reverse("network:reach", args=[pk])
            node = Node(f"peer:{pk}", row[f"{side}__name"] or "(not named)", "workload", row[f"{side}__cluster"], url)
    else:
        sort, of, namespace = (row[f"{side}__{part}"] for part in ("sort", "cluster", "namespace"))
        return _group(nodes, sort, of, namespace, kind != "others", carried)
    nodes.setdefault(node.id, node)
    return node.id


def _add(links: dict[tuple[str, str], Link], pair: tuple[str, str], row: Mapping[str, Any]) -> None:
    link = links.setdefault(pair, Link(*pair))
    for name in ("allowed", "denied", "unknown", "new", "anomalous", "flows"):
        setattr(link, name, getattr(link, name) + int(row[name] or 0))


def _list(query: Mapping[str, str]) -> str:
    return f"{reverse('network:edges')}?{urlencode(query)}"


def _placed(nodes: dict[str, Node], links: dict[tuple[str, str], Link], carried: Mapping[str, str], middle: str) -> Map:
    said = sorted(links.values(), key=lambda one: (-one.denied, -one.anomalous, -one.new, -one.flows, one.source))
    for link in said[:MAX_LINKS]:
        if link.source != "more" and link.destination != "more":
            link.url = _list({**carried, "source": link.source, "destination": link.destination})
    ordered = sorted(nodes.values(), key=lambda n: (n.cluster, n.sort == "own", n.label, n.id))
    above = [n.id for n in ordered if n.sort in ("outside", "others")]
    if middle:
        inside = [n.id for n in ordered if n.sort == middle]
        places = layout.around(inside, [n.id for n in ordered if n.sort in ("namespace", "own")], above)
    else:
        clusters: dict[str, list[str]] = defaultdict(list)
        for node in ordered:
            if node.id not in above:
                clusters[node.cluster].append(node.id)
        places = layout.by_cluster(clusters, above)
    for node in ordered:
        node.x, node.y = places[node.id]
    return Map(ordered, said[:MAX_LINKS], len(said), len(said) > MAX_LINKS)
