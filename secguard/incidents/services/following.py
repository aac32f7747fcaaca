"""Events become incidents: each batch of what sensors saw, inside the transaction that records it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.models import Max

from secguard import bulk
from secguard.events.record import fitted
from secguard.findings.severity import Severity
from secguard.incidents import grouping
from secguard.incidents.grouping import Group
from secguard.incidents.lifecycle import Act, Status, after
from secguard.incidents.models import Incident, IncidentEntry, IncidentStory
from secguard.incidents.services import telling
from secguard.incidents.services.expecting import unexpected
from secguard.incidents.services.knowing import Known, known_of
from secguard.runtime.baseline import Judgement, Verdict
from secguard.runtime.services.intake import Seen

_NEW: Final = (
    "key", "line", "status", "severity", "score", "reasons", "workload_id", "image_id", "application_id", "digest",
    "cluster", "namespace", "workload_name", "workload_kind", "host", "place", "kind", "technique", "rule", "title",
    "has_malware", "count", "stories_count", "more_count", "first_at", "last_at", "created_at", "assigned_to_id",
    "decision", "reason", "returned", "before_id",
)  # fmt: skip
_CHANGED: Final = (
    "line", "severity", "score", "reasons", "image_id", "kind", "rule", "title", "has_malware", "count",
    "stories_count", "more_count", "first_at", "last_at",
)  # fmt: skip
_STORY: Final = ("incident_id", "story", "title", "rule", "object", "kind", "severity", "count", "first_at", "last_at")
_LATER: Final = (
    "CASE WHEN excluded.{0} > incidents_incidentstory.{0} THEN excluded.{0} ELSE incidents_incidentstory.{0} END"
)
_ADDED: Final = f"""
    count = incidents_incidentstory.count + excluded.count,
    severity = {_LATER.format("severity")},
    last_at = {_LATER.format("last_at")},
    first_at = {_LATER.replace(">", "<").format("first_at")}
"""


def follow(seen: Sequence[Seen], judged: Sequence[Judgement], now: datetime) -> None:
    """Make incidents of what nobody expects, or let it join those that go on. A fixed number of statements.

    ``judged``: what the baseline of its image says of each, in the same order.
    """
    told = []
    for one, judgement in zip(seen, judged, strict=True):
        anomaly = judgement.reason if judgement.verdict is Verdict.ANOMALY else ""
        if grouping.makes_incident(one.event, one.line, is_anomaly=bool(anomaly)):
            told.append(grouping.told_of(one.event, one.line, one.tie.image_id, anomaly))
    told = unexpected(told, now)
    if not told:
        return
    groups = grouping.grouped(told)
    known = known_of(groups.values())
    standing = _locked(groups)
    before = {key: found.severity for key, found in standing.items()}
    silent = {k: i for k, i in standing.items() if i.status != Status.ATTACK and _is_silent(i, groups[k])}
    missing = groups.keys() - standing.keys() | silent.keys()
    if missing:
        former = _former(missing)
        _end(silent.values(), now)
        bulk.insert_missing(Incident, _NEW, [_new(k, groups[k], former.get(k), known, now) for k in sorted(missing)])
        standing = _locked(groups)
    _add(groups, standing, known)
    fresh = [i for k, i in standing.items() if k in missing or before.get(k, 0) < Severity.HIGH]
    telling.tell_new([i for i in fresh if i.severity >= Severity.HIGH], now=now)


def _locked(keys: Iterable[str]) -> dict[str, Incident]:
    rows = Incident.objects.live().filter(key__in=bulk.among(sorted(keys)))
    return {i.key: i for i in rows.order_by("key").select_for_update(of=("self",), no_key=True)}


def _is_silent(incident: Incident, group: Group) -> bool:
    return not grouping.joins(incident.last_at, group.first_at)


def _former(keys: Iterable[str]) -> dict[str, Incident]:
    """The last incident of each key, whatever came of it."""
    last = Incident.objects.filter(key__in=bulk.among(sorted(keys))).order_by().values("key").annotate(last=Max("pk"))
    return {i.key: i for i in Incident.objects.filter(pk__in=last.values("last"))}


def _end(silent: Iterable[Incident], now: datetime) -> None:
    """Close those whose story went on after a long silence: what comes now is looked at by itself."""
    rows = list(silent)
    words = "It was silent for hours, then its story went on in an incident of its own."
    bulk.update(Incident, ("status", "reason"), [(i.pk, after(i.status, Act.CONTINUE).value, words) for i in rows])
    entries = [(i.pk, now, None, "closed: it goes on in another incident", "") for i in rows]
    bulk.insert(IncidentEntry, ("incident_id", "at", "person_id", "what", "text"), entries)


# --- new ones ---

_RETURNED: Final = {
    Status.CONTAINED: "it came again after it had been contained",
    Status.EXPECTED: "it goes on past what was decided to be expected",
}


def _new(key: str, group: Group, former: Incident | None, known: Known, now: datetime) -> tuple[Any, ...]:
    """A row without its events: those are added to what stands, by whoever made it."""
    line, of = group.leading, group.key
    returned = _RETURNED.get(Status(former.status), "") if former else ""
    return (
        key, grouping.line_of(of.technique, line.rule[:200]), Status.OPEN.value, line.severity, 0, [],
        line.workload_id, group.image_id, line.application_id, line.digest[:135], fitted(line.cluster, 100),
        fitted(line.namespace, 253), fitted(line.workload, 253), known.kinds.get(line.workload_id or 0, ""),
        fitted(line.host, 253), fitted(of.place, 700), line.kind.value, of.technique, fitted(line.rule, 200),
        fitted(line.title, 300), group.has_malware, 0, 0, 0, group.first_at, group.last_at, now,
        former.assigned_to_id if former else None, "", "", returned, former.pk if former else None,
    )  # fmt: skip


# --- adding to what stands ---


def _add(groups: Mapping[str, Group], standing: Mapping[str, Incident], known: Known) -> None:
    fresh = _fresh_stories(groups, standing)
    rows = []
    for key, incident in standing.items():
        group = groups[key]
        _join(incident, group, fresh[key])
        incident.score, incident.reasons = known.rank(
            incident.workload_id,
            incident.image_id,
            severity=incident.severity,
            stories=incident.stories_count,
            has_malware=incident.has_malware,
            is_new=incident.before_id is None,
            returned=incident.returned,
        )
        rows.append((incident.pk, *(getattr(incident, column) for column in _CHANGED)))
    bulk.update(Incident, _CHANGED, rows)
    kept = [row for key, incident in standing.items() for row in _stories(incident, groups[key], fresh[key])]
    bulk.merge(IncidentStory, _STORY, sorted(kept), unique=("incident_id", "story"), settings=_ADDED, returning=("id",))


class _Fresh(NamedTuple):
    """The stories of one group, as the incident knows them: kept before, kept from now on, and past the bound."""

    standing: frozenset[str]
    new: tuple[str, ...]

    @property
    def kept(self) -> frozenset[str]:
        return self.standing | set(self.new)


def _fresh_stories(groups: Mapping[str, Group], standing: Mapping[str, Incident]) -> dict[str, _Fresh]:
    ids = {i.pk: key for key, i in standing.items()}
    named = {story for group in groups.values() for story in group.stories}
    rows = IncidentStory.objects.filter(
        incident_id__in=bulk.among(sorted(ids)), story__in=bulk.among(sorted(named))
    ).order_by()
    had: dict[str, set[str]] = {}
    for pk, story in rows.values_list("incident_id", "story"):
        had.setdefault(ids[pk], set()).add(story)
    return {key: _room(groups[key], frozenset(had.get(key, ())), i.stories_count) for key, i in standing.items()}


def _room(group: Group, had: frozenset[str], kept: int) -> _Fresh:
    """What is severe is kept before what is not, as far as there is room."""
    new = sorted(group.stories.keys() - had, key=lambda s: (-group.stories[s].severity, s))
    return _Fresh(had, tuple(new[: max(0, grouping.MAX_STORIES - kept)]))


def _join(incident: Incident, group: Group, fresh: _Fresh) -> None:
    line = group.leading
    if not incident.count or line.severity > incident.severity:
        incident.severity, incident.kind = line.severity, line.kind.value
        incident.rule, incident.title = fitted(line.rule, 200), fitted(line.title, 300)
        incident.line = grouping.line_of(incident.technique, line.rule[:200])
    incident.image_id = incident.image_id or group.image_id
    incident.has_malware |= group.has_malware
    incident.count += group.count
    incident.stories_count += len(fresh.new)
    incident.more_count += sum(s.count for name, s in group.stories.items() if name not in fresh.kept)
    incident.first_at = min(incident.first_at, group.first_at)
    incident.last_at = max(incident.last_at, group.last_at)


def _stories(incident: Incident, group: Group, fresh: _Fresh) -> Iterable[tuple[Any, ...]]:
    for name in fresh.kept:
        story = group.stories[name]
        yield (
            incident.pk, name, fitted(story.title, 300), fitted(story.matter.rule, 200),
            fitted(story.matter.object, 200), story.kind, story.severity, story.count, story.first_at, story.last_at,
        )  # fmt: skip
