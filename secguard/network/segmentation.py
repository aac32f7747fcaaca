"""Who may speak to whom: segments, rules between them, and what the rules say of an edge. Pure.

An end of an edge may belong to several segments. What is denied outright is denied first, whatever else allows it;
then what a rule allows is allowed; what no rule names is left to the segments that it goes to.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from secguard.errors import Invalid
from secguard.network.selectors import Truth

MAX_MEMBERS: Final = 50
MAX_PORTS: Final = 32
MAX_SPAN: Final = 1_024
"""So many ports has one range at most: more of them is every port."""
IMPACTS: Final = ("low", "medium", "high", "very-high")


class Stance(StrEnum):
    """What becomes of traffic to a segment that no rule names."""

    OBSERVE = "observe"
    CLOSED = "closed"
    """No rule allows it, so it breaks the segment."""


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class Standing(StrEnum):
    """What the rules say of an edge."""

    ALLOWED = "allowed"
    DENIED = "denied"
    CLOSED = "not-allowed"
    """No rule allows it, and it goes to a closed segment."""
    UNRULED = "no-rule"
    UNKNOWN = "not-known"
    """A rule names ports, and that of the edge was not told."""


BREAKING: Final = frozenset({Standing.DENIED, Standing.CLOSED})


class Place(NamedTuple):
    """What segments look at of an end. ``None``: it belongs to no application."""

    cluster: str = ""
    namespace: str = ""
    application: str | None = None
    """Its slug."""
    team: int | None = None
    is_production: bool | None = None
    is_exposed: bool | None = None
    impact: str = ""
    is_outside: bool = False


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Ends for which all of this holds. ``*`` in a cluster or namespace stands for any characters."""

    application: str = ""
    cluster: str = ""
    namespace: str = ""
    production: bool | None = None
    exposed: bool | None = None
    impact: str = ""
    """At least this much."""
    outside: bool = False

    def holds(self, place: Place) -> bool:
        if self.outside or place.is_outside:
            return self.outside and place.is_outside
        return (
            (not self.application or self.application == place.application)
            and (not self.cluster or _fits(self.cluster, place.cluster))
            and (not self.namespace or _fits(self.namespace, place.namespace))
            and (self.production is None or self.production == place.is_production)
            and (self.exposed is None or self.exposed == place.is_exposed)
            and (not self.impact or _rank(place.impact) >= _rank(self.impact))
        )

    @property
    def words(self) -> str:
        """``application shop, in production``."""
        if self.outside:
            return "everything outside of clusters"
        said = [f"{name} {value}" for name in ("application", "cluster", "namespace") if (value := getattr(self, name))]
        if self.production is not None:
            said.append("in production" if self.production else "not in production")
        if self.exposed is not None:
            said.append("reachable from outside" if self.exposed else "not reachable from outside")
        if self.impact:
            said.append(f"impact {self.impact.replace('-', ' ')} or more")
        return ", ".join(said)


def _rank(impact: str) -> int:
    return IMPACTS.index(impact) if impact in IMPACTS else -1


@lru_cache(maxsize=1_024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _fits(pattern: str, name: str) -> bool:
    return pattern == name or ("*" in pattern and _pattern(pattern).fullmatch(name) is not None)


def members_of(told: Any) -> tuple[Member, ...]:
    """Members as they are written. Raises ``Invalid``: an unknown word, one that says nothing, too many."""
    try:
        members = msgspec.convert(told, tuple[Member, ...])
    except msgspec.ValidationError as error:
        raise Invalid(f"The members cannot be read: {error}.", where="members") from error
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise Invalid(f"A segment has 1 to {MAX_MEMBERS} members; these are {len(members)}.", where="members")
    for one in members:
        _check(one)
    return members


def _check(one: Member) -> None:
    if one == Member():
        raise Invalid("A member says nothing. Use `namespace: *` where everything is meant.", where="members")
    if one.outside and one != Member(outside=True):
        raise Invalid("What is outside has no application, cluster or namespace.", where="members")
    if one.impact and one.impact not in IMPACTS:
        raise Invalid(f"The impact is {one.impact[:40]!r}; expected one of {', '.join(IMPACTS)}.", where="members")
    for name in ("application", "cluster", "namespace"):
        value = getattr(one, name)
        if len(value) > 100 or not value.isprintable() or value.count("*") > 4:
            raise Invalid(f"The {name} has 100 printable characters at most, and four stars.", where="members")


class Ref(NamedTuple):
    """What a rule is from or to: ``segment`` or ``application``, and its id."""

    kind: str
    id: int


SEGMENT: Final = "segment"
APPLICATION: Final = "application"


class Segment(NamedTuple):
    """``team`` ``None``: of the whole organisation. A team's segment holds what is the team's own, and nothing else."""

    id: int
    members: tuple[Member, ...]
    team: int | None = None
    stance: Stance = Stance.OBSERVE

    def holds(self, place: Place) -> bool:
        if self.team is not None and self.team != place.team:
            return False
        return any(member.holds(place) for member in self.members)


def refs_of(place: Place, application_id: int | None, segments: Iterable[Segment]) -> frozenset[Ref]:
    """Everything that an end can be named by in a rule."""
    found = {Ref(SEGMENT, s.id) for s in segments if s.holds(place)}
    if application_id is not None:
        found.add(Ref(APPLICATION, application_id))
    return frozenset(found)


class Ports(NamedTuple):
    """``first`` to ``last`` of a protocol; ``first`` ``None``: every port; no protocol: every one."""

    protocol: str
    first: int | None = None
    last: int | None = None

    def holds(self, protocol: str, port: int | None) -> Truth:
        if self.protocol and protocol and self.protocol != protocol:
            return Truth.NO
        known = Truth.YES if protocol or not self.protocol else Truth.MAYBE
        if self.first is None:
            return known
        if port is None:
            return Truth.MAYBE
        return known if self.first <= port <= (self.last or self.first) else Truth.NO

    def __str__(self) -> str:
        if self.first is None:
            return self.protocol
        return f"{self.protocol}/{self.first}" + (f"-{self.last}" if self.last not in (None, self.first) else "")


_PORTS: Final = re.compile(r"([a-z]{2,8}[0-9]{0,2})(?:/([0-9]{1,5})(?:-([0-9]{1,5}))?)?")


def ports_of(text: str) -> tuple[Ports, ...]:
    """``tcp/443, udp/53, tcp/8000-8100, icmp``; empty: every port. Raises ``Invalid``."""
    found = []
    for word in filter(None, (part.strip().lower() for part in text[:2_000].split(","))):
        match = _PORTS.fullmatch(word)
        first, last = (int(n) if n else None for n in match.groups()[1:]) if match else (0, 0)
        last = first if last is None else last
        if match is None or (first is not None and not 1 <= first <= (last or 0) <= 65_535):
            raise Invalid(f"{word[:40]!r} is no port; expected tcp/443, udp/53 or tcp/8000-8100.", where="ports")
        if first is not None and (last or 0) - first >= MAX_SPAN:
            raise Invalid(
                f"{word} are more than {MAX_SPAN:,} ports; name fewer, or {match[1]} for every one.", where="ports"
            )
        found.append(Ports(match[1], first, last))
    if len(found) > MAX_PORTS:
        raise Invalid(f"These are {len(found)} ports and ranges; at most {MAX_PORTS}.", where="ports")
    return tuple(sorted(set(found), key=lambda p: (p.protocol, p.first or 0, p.last or 0)))


def in_words(ports: Sequence[Ports]) -> str:
    return ", ".join(map(str, ports)) or "every port"


class Rule(NamedTuple):
    id: int
    source: Ref
    destination: Ref
    effect: Effect
    ports: tuple[Ports, ...] = ()
    """Empty: every one."""

    def holds(self, protocol: str, port: int | None) -> Truth:
        return max((p.holds(protocol, port) for p in self.ports), default=Truth.YES)

    @property
    def order(self) -> tuple[int, int, int]:
        """Of several that say the same, which one is named: that of applications, then that of fewer ports, the oldest
        first."""
        return (-sum(end.kind == APPLICATION for end in (self.source, self.destination)), not self.ports, self.id)


class Judged(NamedTuple):
    standing: Standing
    rule: int | None = None
    """Which one says so."""


class Rules:
    """The rules that are in force, ready to be asked many times."""

    def __init__(self, rules: Iterable[Rule], closed: Iterable[int] = ()) -> None:
        self.closed = frozenset(Ref(SEGMENT, pk) for pk in closed)
        self._between: dict[tuple[Ref, Ref], list[Rule]] = defaultdict(list)
        for rule in sorted(rules, key=lambda r: r.order):
            self._between[rule.source, rule.destination].append(rule)
        self.every = tuple(rule for rules in self._between.values() for rule in rules)
        self._asked: dict[tuple[Any, ...], Judged] = {}

    def judge(
        self, source: frozenset[Ref], destination: frozenset[Ref], protocol: str, port: int | None
    ) -> Judged:  # fmt: skip
        """What the rules say of traffic from one end to another."""
        key = (source, destination, protocol, port)
        found = self._asked.get(key)
        if found is None:
            found = self._asked[key] = self._judged(*key)
        return found

    def _judged(
        self, source: frozenset[Ref], destination: frozenset[Ref], protocol: str, port: int | None
    ) -> Judged:  # fmt: skip
        told: dict[tuple[Effect, Truth], list[Rule]] = defaultdict(list)
        for pair in ((s, d) for s in source for d in destination):
            for rule in self._between.get(pair, ()):
                told[rule.effect, rule.holds(protocol, port)].append(rule)
        for effect, truth, standing in _ORDER:
            if rules := told.get((effect, truth)):
                return Judged(standing, min(rules, key=lambda r: r.order).id)
        return Judged(Standing.CLOSED if destination & self.closed else Standing.UNRULED)


_ORDER: Final = (
    (Effect.DENY, Truth.YES, Standing.DENIED),
    (Effect.DENY, Truth.MAYBE, Standing.UNKNOWN),
    (Effect.ALLOW, Truth.YES, Standing.ALLOWED),
    (Effect.ALLOW, Truth.MAYBE, Standing.UNKNOWN),
)
