"""What a rule of an IPS, a WAF or a sensor did: an observer of controls (``decisions.services.OBSERVERS``).

That a rule blocked shows that it is in force; that it alerted and let pass shows that it is not. A rule that nothing
tries says nothing: a probe of one's own, on a schedule, keeps such a control alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from secguard.accounts.models import Application, User
from secguard.decisions.controls import MAX_HOURS, Says
from secguard.decisions.services import Observed, Observer
from secguard.errors import Invalid
from secguard.events.models import Tally
from secguard.events.record import MAX_RULE
from secguard.runtime.event import Outcome
from secguard.runtime.readers import formats

_FIELDS: Final = frozenset({"source", "rule", "cluster", "hours", "shared"})
_HOURS: Final = 24


def check(watch: Mapping[str, Any], application: Application | None, _actor: User) -> dict[str, Any]:
    """``{"source", "rule"}``; ``hours`` to look back (24), ``cluster`` where only that is meant, and ``shared`` for a
    gateway whose events belong to no workload of the application's own."""
    if unknown := sorted(map(str, set(watch) - _FIELDS)):
        raise Invalid(f"Unknown: {', '.join(unknown)[:200]}. Known are: {', '.join(sorted(_FIELDS))}.", where="watch")
    if watch.get("source") not in formats():
        found = str(watch.get("source"))[:40]
        raise Invalid(f"The source is {found!r}; expected one of {', '.join(formats())}.", where="watch.source")
    rule, cluster = watch.get("rule"), watch.get("cluster", "")
    if not isinstance(rule, str) or not 1 <= len(rule) <= MAX_RULE:
        raise Invalid(
            f"Expected is the rule's name as its events tell it, 1 to {MAX_RULE} characters.", where="watch.rule"
        )
    if not isinstance(cluster, str) or len(cluster) > 100:
        raise Invalid("Expected is the name of a cluster, as text.", where="watch.cluster")
    hours, shared = watch.get("hours", _HOURS), watch.get("shared", False)
    if not isinstance(hours, int) or isinstance(hours, bool) or not 1 <= hours <= MAX_HOURS:
        raise Invalid(f"Expected is a number of hours from 1 to {MAX_HOURS:,}.", where="watch.hours")
    if not isinstance(shared, bool):
        raise Invalid("Expected is true or false.", where="watch.shared")
    kept = {"source": watch["source"], "rule": rule, "hours": hours}
    return kept | ({"cluster": cluster} if cluster else {}) | ({"shared": True} if shared and application else {})


def look(watch: Mapping[str, Any], application: Application | None, now: datetime) -> Observed | None:
    """Whether the rule blocked the last time that it was tried; ``None`` where nothing tried it lately."""
    since = now - timedelta(hours=watch["hours"])
    rows = Tally.objects.filter(source=watch["source"], rule=watch["rule"], last_at__gt=since, last_at__lte=now)
    if application is not None and not watch.get("shared"):
        rows = rows.filter(application_id=application.pk)
    if "cluster" in watch:
        rows = rows.filter(cluster=watch["cluster"])
    last = {told: rows.filter(outcome=told.value).order_by("-last_at").first() for told in Outcome}
    blocked = last.pop(Outcome.BLOCKED)
    passed = max(filter(None, last.values()), key=lambda t: t.last_at, default=None)
    if passed is not None and (blocked is None or passed.last_at >= blocked.last_at):
        return Observed(Says.CONTRADICTS, f"{watch['rule']} was tried, and let pass: {passed.title}")
    return Observed(Says.HOLDS, f"{watch['rule']} blocked what tried it.") if blocked is not None else None


SENSOR_RULE: Final = Observer(
    "sensor-rule",
    "what a rule of an IPS, a WAF or a sensor did the last time that something tried it",
    {"observer": "sensor-rule", "source": "modsecurity", "rule": "SQL Injection Attack Detected", "hours": 24},
    check,
    look,
)
