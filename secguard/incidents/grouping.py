"""Which events make an incident, and which of them are one. Pure.

Events of one story at one place, of one image and one technique, are one incident while they keep coming.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from secguard.events.record import MAX_TITLE, Line, story_of
from secguard.findings.severity import Severity
from secguard.runtime.event import Event, Kind, Outcome
from secguard.runtime.story import object_of, stable

JOINED_FOR: Final = timedelta(hours=6)
"""An incident is silent for so long before what comes next is another one."""
MAX_STORIES: Final = 200
"""So many stories of one incident are kept; the events of the others are counted together."""

_TECHNIQUE: Final = re.compile(r"T\d{4}(?:\.\d{3})?")
_TACTICS: Final = {
    "TA0043": "reconnaissance",
    "TA0042": "resource-development",
    "TA0001": "initial-access",
    "TA0002": "execution",
    "TA0003": "persistence",
    "TA0004": "privilege-escalation",
    "TA0005": "defense-evasion",
    "TA0006": "credential-access",
    "TA0007": "discovery",
    "TA0008": "lateral-movement",
    "TA0009": "collection",
    "TA0011": "command-and-control",
    "TA0010": "exfiltration",
    "TA0040": "impact",
}
"""MITRE ATT&CK, Enterprise tactics."""


class Key(NamedTuple):
    """What the events of one incident have in common."""

    place: str
    digest: str
    technique: str

    @property
    def text(self) -> str:
        """32 characters that stand for it."""
        return story_of("incident", *self)


def technique_of(event: Event) -> str:
    """The first technique of ATT&CK among the event's tags (``T1059.004``), else its first tactic (``execution``), else
    the kind of the event."""
    for word in event.mitre:
        if _TECHNIQUE.fullmatch(word):
            return word
    for word in event.mitre:
        return _TACTICS.get(word, word)[:64]
    return event.kind.value


def told_of(event: Event, line: Line, image_id: int | None, anomaly: str = "") -> Told:
    """The event as incidents see it. ``anomaly``: why it lies outside of a locked baseline, where it does; that is what
    it is called then, and no less than medium whatever its sensor says."""
    if anomaly:
        line = msgspec.structs.replace(line, title=anomaly[:MAX_TITLE], severity=max(line.severity, Severity.MEDIUM))
    return Told(event, line, image_id)


def place_of(line: Line) -> str:
    """The workload; where an event is tied to none, what its sensor told of the place."""
    if line.workload_id is not None:
        return f"workload:{line.workload_id}"
    return f"{line.cluster}/{line.namespace}/{line.workload or ('' if line.namespace else line.host)}"


def key_of(event: Event, line: Line) -> Key:
    return Key(place_of(line), line.digest, technique_of(event))


def makes_incident(event: Event, line: Line, *, is_anomaly: bool = False) -> bool:
    """Whether somebody must look at it. Malware always, and what lies outside of its image's locked baseline; not the
    API server's own lines that no rule has flagged, and not what was allowed and that nobody rated."""
    if event.kind is Kind.MALWARE or is_anomaly:
        return True
    if line.severity == Severity.UNKNOWN:
        return event.kind is not Kind.API_AUDIT and event.outcome is not Outcome.ALLOWED
    return True


class Matter(NamedTuple):
    """What an event is about, as an expectation names it: the rule, and the program, file, peer or call."""

    rule: str
    object: str


def matter_of(event: Event, line: Line) -> Matter:
    return Matter(line.rule.replace("\0", "")[:200], stable(object_of(event)).replace("\0", ""))


class Expected(NamedTuple):
    """What was decided to be expected: a matter at one place, or in every image of one repository that one
    application runs."""

    matter: Matter
    place: str = ""
    repository_id: int | None = None
    application_id: int | None = None


def covering(
    event: Event, line: Line, repositories: Iterable[int], expected: Callable[[Expected], int | None]
) -> int | None:
    """The id of what covers the event, if anything does. ``repositories``: those in which its image lies."""
    matter = matter_of(event, line)
    if (found := expected(Expected(matter, place_of(line)))) is not None:
        return found
    for repository in repositories:
        if (found := expected(Expected(matter, "", repository, line.application_id))) is not None:
            return found
    return None


@dataclass(slots=True)
class Story:
    """What repeats within an incident."""

    title: str
    matter: Matter
    kind: str
    severity: int
    first_at: datetime
    last_at: datetime
    count: int = 0


@dataclass(slots=True)
class Group:
    """The events of one batch that are of one incident. ``leading``: the most severe of them, the first of those."""

    key: Key
    leading: Line
    image_id: int | None
    first_at: datetime
    last_at: datetime
    count: int = 0
    has_malware: bool = False
    stories: dict[str, Story] = field(default_factory=dict)


class Told(NamedTuple):
    event: Event
    line: Line
    image_id: int | None


def grouped(told: Iterable[Told]) -> dict[str, Group]:
    """By the text of their keys, in the order of those."""
    found: dict[str, Group] = {}
    texts: dict[Key, str] = {}
    for event, line, image_id in told:
        key = key_of(event, line)
        if (text := texts.get(key)) is None:
            text = texts[key] = key.text
        group = found.get(text)
        if group is None:
            group = found[text] = Group(key, line, image_id, line.at, line.at)
        _add(group, event, line, image_id)
    return dict(sorted(found.items()))


def _add(group: Group, event: Event, line: Line, image_id: int | None) -> None:
    group.count += line.count
    group.first_at, group.last_at = min(group.first_at, line.at), max(group.last_at, line.at)
    group.has_malware |= event.kind is Kind.MALWARE
    group.image_id = group.image_id or image_id
    if line.severity > group.leading.severity:
        group.leading = line
    story = group.stories.get(line.story)
    if story is None:
        story = group.stories[line.story] = Story(
            line.title, matter_of(event, line), line.kind.value, line.severity, line.at, line.at
        )
    story.count += line.count
    story.severity = max(story.severity, line.severity)
    story.first_at, story.last_at = min(story.first_at, line.at), max(story.last_at, line.at)


def joins(last_at: datetime, first_at: datetime) -> bool:
    """Whether events from ``first_at`` on still are of an incident whose last one was at ``last_at``."""
    return first_at - last_at < JOINED_FOR


def line_of(technique: str, rule: str) -> str:
    """32 characters: the line of the page that incidents of this technique and rule stand under."""
    return story_of("line", technique, rule)
