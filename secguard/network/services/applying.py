"""What clusters say they apply: kept as told, and held against what was proposed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from secguard import bulk
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Invalid
from secguard.network import policyreading
from secguard.network.models import Applied, Heard, Proposal
from secguard.network.policy import Policy
from secguard.network.policyreading import Read, policies_of

_KEY: Final = ("cluster", "namespace", "name", "form")
_KEPT: Final = ("apiVersion", "kind", "metadata", "spec", "specs")


@dataclass(frozen=True, slots=True)
class Reported:
    applied: int
    gone: int
    refused: tuple[tuple[str, str, str], ...]


@transaction.atomic
def report(cluster: str, document: Any, now: datetime, *, actor: User) -> Reported:
    """Bring what a cluster applies up to date with its list. What is not in it is applied no longer.

    Needs workload:edit in the whole organisation. A broken policy is refused by itself; raises ``Invalid`` where
    the list is none. A fixed number of statements.
    """
    require(actor, Permission.WORKLOAD_EDIT)
    name = cluster.strip()
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise Invalid("A cluster's name has 1 to 100 printable characters.", where="cluster")
    found = policyreading.read(document, name)
    if found.refused and not found.policies:
        where, code, detail = found.refused[0]
        raise Invalid(detail, code=code, where=where)
    gone = _written(name, found, now)
    bulk.merge(
        Heard,
        ("cluster", "since", "last_at", "policies_at"),
        [(name, now, now, now)],
        unique=("cluster",),
        settings="policies_at = excluded.policies_at",
        returning=("id",),
    )
    return Reported(len({(p.namespace, p.name, p.form) for p, _ in found.policies}), gone, found.refused)


def _written(cluster: str, found: Read, now: datetime) -> int:
    rows = {}
    for policy, document in found.policies:
        kept = {k: v for k, v in document.items() if k in _KEPT}
        metadata = kept["metadata"]
        kept["metadata"] = {k: metadata[k] for k in ("name", "namespace", "labels") if k in metadata}
        rows[cluster, policy.namespace, policy.name, policy.form.value] = kept
    bulk.merge(
        Applied,
        (*_KEY, "document", "first_at", "reported_at"),
        [(*key, rows[key], now, now) for key in sorted(rows)],
        unique=_KEY,
        settings="document = excluded.document, reported_at = excluded.reported_at",
        returning=("id",),
    )
    gone, _ = Applied.objects.filter(cluster=cluster, reported_at__lt=now).delete()
    return gone


@dataclass(frozen=True, slots=True)
class Standing:
    """``applied``, ``applied otherwise``, ``missing``, or ``not told`` where the cluster has told of no policies."""

    word: str
    as_name: str = ""
    """Under another name, where it is."""


def standings(proposals: Iterable[Proposal]) -> dict[int, Standing]:
    """How approved proposals stand in their clusters. Two statements."""
    rows = list(proposals)
    clusters = {row.cluster for row in rows}
    told = set(Heard.objects.filter(cluster__in=clusters, policies_at__isnull=False).values_list("cluster", flat=True))
    known: dict[tuple[str, str, str], list[Applied]] = {}
    for one in Applied.objects.filter(cluster__in=clusters, namespace__in={row.namespace for row in rows}):
        known.setdefault((one.cluster, one.namespace, one.form), []).append(one)
    return {row.pk: _standing(row, known, told) for row in rows}


def _standing(row: Proposal, known: Mapping[tuple[str, str, str], list[Applied]], told: set[str]) -> Standing:
    if row.cluster not in told:
        return Standing("not told")
    here = known.get((row.cluster, row.namespace, row.form), [])
    wanted = _rules(row.document, row.cluster)
    same = [one for one in here if _rules(one.document, row.cluster) == wanted]
    if any(one.name == row.name for one in same):
        return Standing("applied")
    if same:
        return Standing("applied", same[0].name)
    return Standing("applied otherwise" if any(one.name == row.name for one in here) else "missing")


def _rules(document: Any, cluster: str) -> list[tuple[Any, ...]]:
    """What a document does, whatever its name and the order it is written in."""
    return [_meaning(policy) for policy in policies_of(document, cluster)]


def _meaning(policy: Policy) -> tuple[Any, ...]:
    sides = (policy.ingress, policy.egress, policy.ingress_deny, policy.egress_deny)
    rules = tuple(None if side is None else frozenset(map(repr, side)) for side in sides)
    return (policy.namespace, policy.form, frozenset(policy.selector.requirements), rules, policy.leaves_open)
