"""What the inventory says of an application's workloads: an observer of controls (``controls_watching.OBSERVERS``)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from secguard.accounts.models import Application, User
from secguard.decisions.controls import Says
from secguard.decisions.services.controls_watching import Observed, Observer
from secguard.errors import Invalid
from secguard.workloads.models import Workload
from secguard.workloads.restrictions import RESTRICTIONS

OLD: Final = timedelta(days=7)
"""What no list of pods has told of for longer says nothing of what runs now."""
_FIELDS: Final = frozenset({"cluster", "namespace", "restrictions"})
NAMED: Final = 3


def check(watch: Mapping[str, Any], application: Application | None, _actor: User) -> dict[str, Any]:
    """``{"restrictions"}``, with ``cluster`` and ``namespace`` where only those are meant; for one application."""
    if application is None:
        raise Invalid("Workloads are watched for one application; name it.", where="covers")
    if unknown := sorted(map(str, set(watch) - _FIELDS)):
        raise Invalid(f"Unknown: {', '.join(unknown)[:200]}. Known are: {', '.join(sorted(_FIELDS))}.", where="watch")
    wanted = watch.get("restrictions")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(w, str) and w in RESTRICTIONS for w in wanted):
        raise Invalid(f"Expected is a list of some of: {', '.join(RESTRICTIONS)}.", where="watch.restrictions")
    places = {name: watch[name] for name in ("cluster", "namespace") if name in watch}
    if not all(isinstance(text, str) and 1 <= len(text) <= 100 for text in places.values()):
        raise Invalid("Expected are the names of a cluster and of a namespace, as texts.", where="watch")
    return {**places, "restrictions": sorted(set(wanted))}


def look(watch: Mapping[str, Any], application: Application | None, now: datetime) -> Observed | None:
    """Whether all that runs of the application is kept from that; ``None`` where nothing runs, or none told lately."""
    rows = Workload.objects.running().filter(application=application) if application else Workload.objects.none()
    places = {"cluster": "cluster__name", "namespace": "namespace"}
    rows = rows.filter(**{path: watch[name] for name, path in places.items() if name in watch})
    found = list(rows.order_by("namespace", "name", "pk"))
    if not found:
        return None
    wanted = set(watch["restrictions"])
    lacking = [w for w in found if w.restrictions is not None and wanted - set(w.restrictions)]
    if lacking:
        missing = sorted(set().union(*(wanted - set(w.restrictions or ()) for w in lacking)))
        names = ", ".join(str(w) for w in lacking[:NAMED]) + (" and others" if len(lacking) > NAMED else "")
        return Observed(Says.CONTRADICTS, f"Not {', '.join(missing)}: {names}.")
    if any(w.restrictions is None or w.listed_at is None or w.listed_at < now - OLD for w in found):
        return None
    return Observed(Says.HOLDS, f"Everything that runs is {', '.join(sorted(wanted))}.")


WORKLOADS: Final = Observer(
    "workloads",
    "what an application's workloads are kept from, as the last list of pods told",
    {"observer": "workloads", "cluster": "production", "restrictions": ["read-only-root", "non-root"]},
    check,
    look,
)
