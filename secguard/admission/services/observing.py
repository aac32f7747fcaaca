"""What a cluster's admission settings promise, seen by SecGuard itself: an observer of controls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.admission.answer import Effect, Mode
from secguard.admission.models import ClusterGate
from secguard.decisions.controls import Says
from secguard.decisions.services import Observed, Observer
from secguard.errors import Invalid, NotFound
from secguard.workloads.podspec import ASKS, Ask

SILENT: Final = timedelta(days=7)
"""What a cluster that has not asked for longer is set to says nothing of what it does."""
_FIELDS: Final = frozenset({"cluster", "namespace", "refuses"})


def check(watch: Mapping[str, Any], _application: Application | None, actor: User) -> dict[str, Any]:
    """``{"cluster", "namespace", "refuses"}`` as it is kept; for who may read a cluster's settings."""
    require(actor, Permission.CLUSTER_EDIT)
    if unknown := sorted(map(str, set(watch) - _FIELDS)):
        raise Invalid(f"Unknown: {', '.join(unknown)[:200]}. Known are: {', '.join(sorted(_FIELDS))}.", where="watch")
    cluster, namespace, refuses = watch.get("cluster"), watch.get("namespace"), watch.get("refuses", [])
    if not isinstance(cluster, str) or not isinstance(namespace, str) or not 1 <= len(namespace) <= 63:
        raise Invalid("Expected are the names of a cluster and of a namespace, as texts.", where="watch")
    if not isinstance(refuses, list) or not all(isinstance(ask, str) and ask in ASKS for ask in refuses):
        raise Invalid(f"What is refused is a list of some of: {', '.join(ASKS)}.", where="watch.refuses")
    if not ClusterGate.objects.filter(cluster__name=cluster).exists():
        raise NotFound(f"There is no cluster {cluster[:100]} that asks before anything starts.", where="watch.cluster")
    return {"cluster": cluster, "namespace": namespace, "refuses": sorted(set(refuses))}


def look(watch: Mapping[str, Any], _application: Application | None, now: datetime) -> Observed | None:
    """Whether the namespace enforces and refuses all of that; ``None`` where the cluster has not asked for long."""
    cluster, namespace = watch["cluster"], watch["namespace"]
    gate = ClusterGate.objects.filter(cluster__name=cluster).first()
    if gate is None:
        return Observed(Says.CONTRADICTS, f"Cluster {cluster} does not ask before anything starts.")
    mode = gate.rules.mode_in(namespace)
    if mode is not Mode.ENFORCE:
        return Observed(Says.CONTRADICTS, f"Namespace {namespace} of {cluster} is set to {mode.value}.")
    passing = [ask for ask in watch["refuses"] if gate.rules.effect_of(Ask(ask)) is not Effect.BLOCK]
    if passing:
        return Observed(Says.CONTRADICTS, f"Cluster {cluster} lets pass what asks for {', '.join(passing)}.")
    if gate.heard_at is None or gate.heard_at < now - SILENT:
        return None
    refused = f" and refuses {', '.join(watch['refuses'])}" if watch["refuses"] else ""
    return Observed(Says.HOLDS, f"Namespace {namespace} of {cluster} enforces{refused}.")


ADMISSION_SETTINGS: Final = Observer(
    "admission-settings",
    "a cluster's namespace that enforces, and what it refuses",
    {"observer": "admission-settings", "cluster": "production", "namespace": "shop", "refuses": ["privileged"]},
    check,
    look,
)
