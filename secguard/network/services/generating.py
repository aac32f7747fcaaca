"""Policies for clusters from the rules in force; and what they, or anybody's, would do to what was recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from secguard.accounts.models import Application, User
from secguard.errors import Invalid, NotFound
from secguard.network import netpol, policyreading, segmentation
from secguard.network.edges import Edge, Peer, Sort
from secguard.network.flow import Verdict
from secguard.network.models import Peer as PeerRow
from secguard.network.netpol import Generated
from secguard.network.policy import Form
from secguard.network.policyreading import policies_of
from secguard.network.queries import known
from secguard.network.segmentation import Effect, Ref, Rule, Standing
from secguard.network.services.judging import Book
from secguard.network.services.proposing import require_seen
from secguard.network.simulating import Simulated, simulate

MAX_MADE: Final = 50_000
"""Connections that one application's rules stand for."""
EVERYWHERE: Final = (Peer(Sort.NETWORK, "0.0.0.0/0"), Peer(Sort.NETWORK, "::/0"))
"""What the rules call outside, in a policy's words."""


@dataclass(slots=True)
class InCluster:
    """What was generated for one cluster, and what it would do there."""

    cluster: str
    made: list[Generated]
    simulated: Simulated
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(subject, why) of what the policies have no words for."""

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [one.document for one in self.made]

    @property
    def text(self) -> str:
        return netpol.as_yaml(self.documents)


def from_rules(slug: str, form: Form, now: datetime, *, actor: User) -> list[InCluster]:
    """For each workload of an application a policy that lets through what the rules allow, and nothing else.

    By cluster. Raises ``NotFound``, and ``Invalid`` where the application has no workload that flows told of.
    """
    application = Application.objects.visible_to(actor).filter(slug=slug).first()
    if application is None:
        raise NotFound(f"There is no application {slug[:80]!r} that you may see.", where="application")
    rows = PeerRow.objects.filter(workload__application=application, sort=Sort.WORKLOAD.value).exclude(name="")
    by_cluster: dict[str, list[PeerRow]] = defaultdict(list)
    for row in rows.exclude(kind="Service").order_by("cluster", "namespace", "name", "kind"):
        by_cluster[row.cluster].append(row)
    if not by_cluster:
        raise Invalid(
            f"No flow told of a workload of {application} yet, so there is nothing that a policy could select.",
            code="no-workload",
            where="application",
        )
    book = Book.load(now)
    return [_in_cluster(cluster, subjects, form, book, actor) for cluster, subjects in by_cluster.items()]


def _in_cluster(cluster: str, subjects: Sequence[PeerRow], form: Form, book: Book, actor: User) -> InCluster:
    ends = known.ends_of(cluster)
    edges, left_out = _Connections(ends, book).of([row.pk for row in subjects])
    made = []
    for row in subjects:
        try:
            same = [p for p in known.workloads(ends) if p.namespace == row.namespace and p.cluster == cluster]
            one = netpol.for_workload(row.end, edges, ends.known, form=form, namesakes=same, suffix="allowed")
        except Invalid as error:
            left_out.append((str(row.end), error.detail))
            continue
        require_seen(one, ends, actor)
        left_out += [(out.subject, out.why) for out in one.left_out]
        made.append(one)
    policies = [policy for one in made for policy in policies_of(one.document, cluster)]
    simulated = _tried(cluster, policies, ends, known.recorded(ends, cluster=cluster))
    return InCluster(cluster, made, simulated, sorted(set(left_out)))


_Named = tuple[Peer, frozenset[Ref]]
"""An end, and what it can be named by in a rule."""


class _Connections:
    """What rules allow, one end at a time, as edges that policies are generated from."""

    def __init__(self, ends: known.Ends, book: Book) -> None:
        self.ends = {pk: end for pk, end in ends.by_id.items() if not end.is_outside}
        self.book = book
        self.refs = book.place(PeerRow.objects.filter(cluster__in={row.cluster for row in ends.rows.values()}))
        self.outside = segmentation.refs_of(segmentation.Place(is_outside=True), None, book.segments)
        self.holding: dict[Ref, list[int]] = defaultdict(list)
        for pk in self.ends:
            for ref in self.refs.get(pk, ()):
                self.holding[ref].append(pk)
        self.made: set[Edge] = set()
        self.left_out: list[tuple[str, str]] = []

    def of(self, subjects: Iterable[int]) -> tuple[set[Edge], list[tuple[str, str]]]:
        """Edges from and to ``subjects``, and what could not be told."""
        mine = set(subjects)
        for rule in self.book.rules.every:
            if rule.effect is Effect.ALLOW:
                self._take(rule, mine)
        return self.made, self.left_out

    def _take(self, rule: Rule, mine: set[int]) -> None:
        sources, destinations = self.holding[rule.source], self.holding[rule.destination]
        for source in sources:
            for destination in destinations if source in mine else mine.intersection(destinations):
                if source != destination:
                    self._add(
                        rule, self.ends[source], self.refs[source], self.ends[destination], self.refs[destination]
                    )
        for world in EVERYWHERE:
            if rule.source in self.outside:
                for pk in mine.intersection(destinations):
                    self._add(rule, world, self.outside, self.ends[pk], self.refs[pk])
            if rule.destination in self.outside:
                for pk in mine.intersection(sources):
                    self._add(rule, self.ends[pk], self.refs[pk], world, self.outside)

    def _add(self, rule: Rule, source: Peer, of: frozenset[Ref], destination: Peer, to: frozenset[Ref]) -> None:
        for protocol, port in _each(rule):
            standing = self.book.rules.judge(of, to, protocol, port).standing
            if standing is Standing.ALLOWED:
                self.made.add(Edge(source, destination, protocol, port, Verdict.FORWARDED))
            elif standing is Standing.UNKNOWN:
                why = f"rule {rule.id} allows every port, and another denies some: a policy has no words for the rest"
                self.left_out.append((f"{source} to {destination}", why))
            if len(self.made) > MAX_MADE:
                raise Invalid(
                    f"The rules stand for more than {MAX_MADE:,} connections of this application. Name fewer ports, or "
                    "smaller segments.",
                    code="too-many",
                )


def _each(rule: Rule) -> Iterable[tuple[str, int | None]]:
    for ports in rule.ports or (segmentation.Ports(""),):
        if ports.first is None:
            yield ports.protocol, None
        else:
            for port in range(ports.first, (ports.last or ports.first) + 1):
                yield ports.protocol, port


def _tried(cluster: str, policies: Sequence[Any], ends: known.Ends, told: Sequence[Any]) -> Simulated:
    """With what the cluster applies already, of which those of the same names are replaced."""
    now = known.applied(cluster)
    named = {(p.form, p.namespace, p.name) for p in policies}
    rest = [p for p in now if (p.form, p.namespace, p.name) not in named]
    return simulate(told, before=now, after=[*rest, *policies], known=ends.known)


@dataclass(frozen=True, slots=True)
class Trial:
    policies: int
    simulated: Simulated
    refused: tuple[tuple[str, str, str], ...]


def try_documents(cluster: str, document: Any, *, actor: User) -> Trial:
    """What policies that somebody wrote would do to what was recorded, where the person may know both ends.

    Raises ``NotFound`` for a cluster of which they may see nothing, ``Invalid`` where no policy can be read.
    """
    rows = known.ends_of(cluster).rows.values()
    seen = set(PeerRow.objects.visible_to(actor).filter(cluster=cluster).values_list("pk", flat=True))
    if not seen:
        raise NotFound(f"There is no cluster {cluster[:80]!r} of which you may see a workload.", where="cluster")
    found = policyreading.read(document, cluster)
    if found.refused and not found.policies:
        where, code, detail = found.refused[0]
        raise Invalid(detail, code=code, where=where)
    ends = known.Ends(row for row in rows if row.pk in seen or row.sort != Sort.WORKLOAD.value)
    told = known.recorded(ends, cluster=cluster)
    policies = [policy for policy, _ in found.policies]
    return Trial(len(policies), _tried(cluster, policies, ends, told), found.refused)
