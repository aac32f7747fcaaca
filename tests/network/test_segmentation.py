"""What rules between segments say of traffic: held against the sentences of the documentation, read naively."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.network.segmentation import (
    BREAKING,
    Effect,
    Member,
    Place,
    Ports,
    Ref,
    Rule,
    Rules,
    Segment,
    Standing,
    in_words,
    members_of,
    ports_of,
    refs_of,
)

REFS = (Ref("segment", 1), Ref("segment", 2), Ref("application", 1), Ref("application", 2))
refs = st.sampled_from(REFS)
ends = st.frozensets(refs, max_size=3)
protocols = st.sampled_from(["tcp", "udp", "icmp"])
numbers = st.sampled_from([22, 80, 443, 8443])
ports = st.one_of(
    st.builds(lambda protocol: Ports(protocol), protocols),
    st.builds(lambda protocol, n: Ports(protocol, n, n), st.sampled_from(["tcp", "udp"]), numbers),
    st.builds(lambda a, b: Ports("tcp", min(a, b), max(a, b)), *[st.sampled_from([22, 80, 443])] * 2),
)


@st.composite
def rulebooks(draw: Any) -> list[Rule]:
    made = st.tuples(refs, refs, st.sampled_from(list(Effect)), st.lists(ports, max_size=2).map(tuple))
    return [Rule(n, *one) for n, one in enumerate(draw(st.lists(made, max_size=6)), 1)]


def matching(rules: list[Rule], source: frozenset[Ref], destination: frozenset[Ref], protocol: str, port: int) -> Any:
    for rule in rules:
        hit = not rule.ports or any(
            p.protocol == protocol and (p.first is None or p.first <= port <= (p.last or p.first)) for p in rule.ports
        )
        if hit and rule.source in source and rule.destination in destination:
            yield rule


@given(rulebooks(), ends, ends, protocols, numbers, st.frozensets(st.sampled_from([1, 2])))
def test_denied_first_then_allowed_then_what_the_segment_says(
    rules: list[Rule], source: frozenset[Ref], destination: frozenset[Ref], protocol: str, port: int, closed: Any
) -> None:
    judged = Rules(rules, closed).judge(source, destination, protocol, port)
    hit = {rule.id: rule.effect for rule in matching(rules, source, destination, protocol, port)}
    if Effect.DENY in hit.values():
        assert judged.standing is Standing.DENIED
        assert hit[judged.rule or 0] is Effect.DENY
    elif hit:
        assert judged.standing is Standing.ALLOWED
        assert judged.rule in hit
    else:
        is_closed = any(Ref("segment", pk) in destination for pk in closed)
        assert judged == (Standing.CLOSED if is_closed else Standing.UNRULED, None)


@given(rulebooks(), ends, ends, protocols, numbers, st.randoms())
def test_the_order_of_rules_does_not_count(
    rules: list[Rule], source: frozenset[Ref], destination: frozenset[Ref], protocol: str, port: int, random: Any
) -> None:
    other = list(rules)
    random.shuffle(other)
    asked = (source, destination, protocol, port)
    assert Rules(rules).judge(*asked) == Rules(other).judge(*asked)


@given(rulebooks(), ends, ends, protocols, st.frozensets(st.sampled_from([1, 2])))
def test_what_is_said_without_a_port_holds_at_every_port(
    rules: list[Rule], source: frozenset[Ref], destination: frozenset[Ref], protocol: str, closed: Any
) -> None:
    book = Rules(rules, closed)
    told = book.judge(source, destination, protocol, None).standing
    each = {book.judge(source, destination, protocol, port).standing for port in (1, 22, 80, 443, 8443, 65_535)}
    assert told is Standing.UNKNOWN or each == {told}


@given(rulebooks(), ends, ends, protocols, numbers)
def test_one_more_denial_opens_nothing_and_one_more_permission_stops_nothing(
    rules: list[Rule], source: frozenset[Ref], destination: frozenset[Ref], protocol: str, port: int
) -> None:
    asked = (source, destination, protocol, port)
    before = Rules(rules, [1]).judge(*asked).standing
    for effect in Effect:
        more = [*rules, Rule(99, REFS[0], REFS[1], effect)]
        after = Rules(more, [1]).judge(*asked).standing
        if effect is Effect.DENY and before in BREAKING:
            assert after in BREAKING
        if effect is Effect.ALLOW and before not in BREAKING:
            assert after not in BREAKING


def test_a_teams_segment_holds_nothing_of_another_teams() -> None:
    everything = (Member(namespace="*"), Member(outside=True))
    theirs = Place("prod", "pay", "warehouse", team=2)
    assert not Segment(1, everything, team=1).holds(theirs)
    assert not Segment(1, everything, team=1).holds(Place(is_outside=True))
    assert Segment(1, everything, team=2).holds(theirs)
    assert Segment(1, everything).holds(theirs)
    assert refs_of(theirs, 7, [Segment(1, everything), Segment(2, everything, team=1)]) == {REFS[0], ("application", 7)}


@pytest.mark.parametrize(
    ("member", "held"),
    [
        (Member(application="shop"), {"web"}),
        (Member(cluster="prod-*", namespace="shop"), {"web"}),
        (Member(production=True), {"web"}),
        (Member(production=False), {"test"}),
        (Member(exposed=True), {"web"}),
        (Member(impact="medium"), {"web"}),
        (Member(namespace="*"), {"web", "test", "loose"}),
        (Member(outside=True), {"out"}),
    ],
)
def test_members(member: Member, held: set[str]) -> None:
    places = {
        "web": Place("prod-eu", "shop", "shop", 1, True, True, "high"),
        "test": Place("test", "shop", "till", 1, False, False, "low"),
        "loose": Place("test", "x"),
        "out": Place(is_outside=True),
    }
    assert {name for name, place in places.items() if member.holds(place)} == held
    assert member.words


@given(st.lists(ports, max_size=5))
def test_ports_are_read_as_they_are_written(told: list[Ports]) -> None:
    found = ports_of(", ".join(map(str, told)))
    assert ports_of(in_words(found) if found else "") == found
    for protocol in ("tcp", "udp", "icmp"):
        for port in (22, 80, 443, 444, 8443):
            assert Rule(1, REFS[0], REFS[1], Effect.ALLOW, found).holds(protocol, port) == Rule(
                1, REFS[0], REFS[1], Effect.ALLOW, tuple(told)
            ).holds(protocol, port)


@pytest.mark.parametrize("text", ["tcp/0", "tcp/9-1", "443", "tcp/70000", "tcp/", "tcp/1-60000", "x y", "tcp/1-"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        ports_of(text)


@pytest.mark.parametrize(
    "told",
    [[], [{}], [{"color": "red"}], "x", [{"impact": "huge"}], [{"outside": True, "namespace": "x"}],
     [{"namespace": "*****"}], [{"namespace": "a\0"}], [{"namespace": "x"}] * 51],
)  # fmt: skip
def test_what_is_no_member_is_refused(told: Any) -> None:
    with pytest.raises(Invalid):
        members_of(told)
