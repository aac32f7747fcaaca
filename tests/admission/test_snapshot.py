"""The snapshot's document: written part by part, read strictly, and every field of what answers need travels along."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.admission import snapshot as module
from secguard.admission.answer import Effect, Knowledge, Mode, Rules, grace_of
from secguard.admission.snapshot import (
    MAX_BYTES,
    Entry,
    Head,
    Snapshot,
    Writer,
    condensed,
    decode,
    holder_of,
)
from secguard.errors import Invalid, TooLarge
from secguard.signing import dsse
from tests.fixtures_reports import digest

NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
WEB = "reg.example/shop/web"
PASSES: dict[str, Any] = {"verdict": "pass", "reasons": []}
EVERY = Rules(Mode.WARN, {"team-*": "observe"}, {"root": Effect.BLOCK}, False, "production", ("release", "base"))
"""A value of its own in each field."""


def head(**changed: Any) -> Head:
    return replace(Head(7, "prod", "holder", NOW, "https://x.example", Rules(), {}, ("reg.example",)), **changed)


def known(number: int = 1, **changed: Any) -> Knowledge:
    name = digest(number)
    return replace(Knowledge(name, name, number, 100 + number, PASSES, is_preferred=False), **changed)


def entry(found: Knowledge | None = None, **changed: Any) -> Entry:
    return replace(Entry(found or known(), {}, NOW + timedelta(hours=9)), **changed)


def written(*entries: tuple[str, Entry], tags: Any = (), about: Head | None = None, of: int = 0) -> bytes:
    writer = Writer(about or head())
    assert all(writer.entry(name, made) for name, made in entries)
    return bytes(writer.finish(tags, of or len(entries)))


def ask(found: Snapshot, image: str, namespace: str = "shop", at: datetime = NOW) -> Knowledge:
    return found.knowledge(image, namespace, at, NOW + timedelta(days=1))


def test_the_head_comes_back_with_every_rule() -> None:
    assert all(getattr(EVERY, f.name) != getattr(Rules(), f.name) for f in fields(Rules)), "a new field: tell it here"
    about = head(rules=EVERY, paths={"x.io/Job": ["spec.image"]}, made_at=NOW.astimezone(timezone(timedelta(hours=2))))
    assert decode(written(about=about)).head == about


def test_every_field_of_what_is_known_comes_back() -> None:
    every = known(
        digest=digest(5), ended=("Decision 7 let it pass.",), promoted_to=("production",), signed_by=("release",),
        runs_here=True, break_glass=9,
    )  # fmt: skip
    told = {f.name for f in fields(Knowledge) if getattr(every, f.name) != getattr(Knowledge(), f.name)}
    of_the_process = {"is_remembered"}
    assert told == {f.name for f in fields(Knowledge)} - of_the_process, "a new field: tell it here"
    found = ask(decode(written((digest(5), entry(every)))), f"other.example/x@{digest(5)}")
    assert found == replace(every, runs_here=False, break_glass=None), "those two are never in it"


def test_a_field_of_tomorrow_travels_along(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, slots=True)
    class Tomorrow(Knowledge):
        licenses: tuple[str, ...] = ()

    monkeypatch.setattr(module, "_DEFAULTS", Tomorrow())
    raw = written((digest(1), entry(Tomorrow(digest(1), document=PASSES, licenses=("MIT",)))))
    with pytest.raises(Invalid, match="licenses, which this agent does not know: bring it to the server's release"):
        decode(raw)
    monkeypatch.setattr(module, "Knowledge", Tomorrow)
    found: Any = ask(decode(raw), f"{WEB}@{digest(1)}")
    assert found.licenses == ("MIT",)


def test_what_differs_by_repository_is_told_by_repository() -> None:
    there = {WEB: known(signed_by=("release",), is_preferred=True), "reg.example/other": known(is_preferred=True)}
    raw = written((digest(1), entry(known(), places=there)))
    assert list(json.loads(raw)["entries"][digest(1)]["places"]) == [WEB]
    found = decode(raw)
    assert ask(found, f"{WEB}@{digest(1)}").signed_by == ("release",)
    assert ask(found, f"reg.example/other@{digest(1)}").signed_by == ()
    assert ask(found, f"elsewhere.example/web@{digest(1)}") == known()


def test_preferred_is_asked_of_the_host_that_is_named() -> None:
    found = decode(written((digest(1), entry())))
    assert ask(found, f"reg.example/any@{digest(1)}").is_preferred
    assert not ask(found, f"reg.example:5000/any@{digest(1)}").is_preferred


def test_tags_name_digests_and_latest_is_meant_without_one() -> None:
    tags = [("reg.example/a", "1", digest(1)), ("reg.example/a", "latest", digest(2)), (WEB, "1", digest(2))]
    found = decode(written((digest(1), entry()), (digest(2), entry(known(2))), tags=tags))
    assert [ask(found, name).digest for name in ("reg.example/a:1", "reg.example/a", f"{WEB}:1", f"{WEB}:2")] == [
        digest(1), digest(2), digest(2), "",
    ]  # fmt: skip


def test_what_is_no_reference_is_known_as_nothing() -> None:
    assert ask(decode(written()), "%") == Knowledge()


def test_the_bound_leaves_out_and_says_how_much() -> None:
    writer = Writer(head(), most=900)
    kept = [writer.entry(digest(n), entry(known(n))) for n in range(1, 20)]
    assert True in kept
    assert False in kept
    found = decode(bytes(writer.finish([], 19)))
    assert (found.held, found.known) == (kept.count(True), 19)
    said = ask(found, f"{WEB}@{digest(19)}").document
    assert said
    assert f"has {found.held} of the 19 images" in said["reasons"][0]["message"]


def test_tags_are_bounded_too() -> None:
    writer = Writer(head(), most=1000)
    raw = writer.finish([(f"reg.example/a{n}", "1", digest(n)) for n in range(100)], 0)
    assert len(raw) < 1400
    assert 0 < len(decode(bytes(raw)).tags) < 100


def test_an_envelope_of_the_largest_one_is_read() -> None:
    assert (MAX_BYTES + MAX_BYTES // 4) * 4 // 3 < dsse.MAX_BYTES


# --- verdicts, condensed ---

MOMENTS = st.datetimes(datetime(2026, 11, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
FINDINGS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["vulnerability", "misconfiguration", "hygiene", "malware", "secret"]),
        "due_at": st.one_of(st.none(), MOMENTS.map(datetime.isoformat)),
        "risk": st.integers(1, 9),
        "title": st.text(max_size=5),
    }
)
REASONS = st.fixed_dictionaries(
    {
        "rule": st.just("r"),
        "effect": st.sampled_from(["block", "warn"]),
        "message": st.just("Something."),
        "findings": st.lists(FINDINGS, max_size=6),
        "findings_total": st.integers(0, 8),
        "remedy": st.just({"upgrades": [], "exception": {"risks": [1], "url": "https://x"}}),
    }
)


@settings(max_examples=200, deadline=None)
@given(st.lists(REASONS, max_size=4), MOMENTS)
def test_a_condensed_verdict_gives_the_same_grace(reasons: list[Any], now: datetime) -> None:
    for reason in reasons:
        reason["findings_total"] = max(reason["findings_total"], len(reason["findings"]))
    document = {"verdict": "block", "reasons": reasons}
    assert grace_of(condensed(document), now) == grace_of(document, now)


def test_a_condensed_verdict_keeps_its_words_and_ways_and_no_list_of_findings() -> None:
    finding = {"kind": "vulnerability", "due_at": "2026-12-01T00:00:00+00:00", "title": "t", "purl": "pkg:x"}
    upgrade = {"package": "p", "name": "openssl", "from": "1", "to": "2", "fixes": ["CVE-1"] * 500, "is_complete": True}
    no_way = upgrade | {"to": ""}
    reason = {
        "rule": "overdue", "effect": "block", "message": "500 findings", "findings": [finding] * 500,
        "findings_total": 500, "error": "", "until": None,
        "remedy": {"upgrades": [upgrade, no_way], "text": "Rebuild.", "exception": {"url": "https://x", "risks": [1]}},
    }  # fmt: skip
    document = {
        "image": digest(1), "verdict": "block", "valid_until": "2026-11-28T00:00:00+00:00", "reasons": [reason],
        "counts": {"open": {}}, "decisions": [1], "scans": [1], "scanned_at": "2026-11-27T00:00:00+00:00",
    }  # fmt: skip
    assert condensed(document) == {
        "image": digest(1), "verdict": "block", "valid_until": "2026-11-28T00:00:00+00:00",
        "scanned_at": "2026-11-27T00:00:00+00:00",
        "reasons": [
            {"rule": "overdue", "effect": "block", "message": "500 findings",
             "findings": [{"kind": "vulnerability", "due_at": "2026-12-01T00:00:00+00:00"}],
             "remedy": {"upgrades": [{"name": "openssl", "from": "1", "to": "2"}], "text": "Rebuild.",
                        "exception": {"url": "https://x"}}}
        ],
    }  # fmt: skip


# --- read strictly ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d | {"version": 2}, "it is of version 2, and this agent reads version 1"),
        (lambda d: d | {"more": 1}, "more"),
        (lambda d: {k: v for k, v in d.items() if k != "site"}, "site"),
        (lambda d: d | {"made_at": "2026-11-27T18:00:00"}, "without its zone"),
        (lambda d: d | {"made_at": "yesterday"}, "made_at"),
        (lambda d: d | {"rules": {"mode": "off"}}, "off"),
        (lambda d: d | {"rules": {"quota": 7}}, "quota, which this agent does not know"),
        (lambda d: d | {"entries": {"latest": {}}}, "'latest' is no digest"),
        (lambda d: d | {"entries": {digest(1): {"known": {"digest": 5}}}}, "digest"),
        (lambda d: d | {"entries": {digest(1): {"known": {"recalled": True}}}}, "recalled, which this agent"),
        (lambda d: d | {"entries": {digest(1): {"places": {WEB: {"recalled": True}}}}}, "recalled, which this agent"),
        (lambda d: d | {"entries": {digest(1): {"known": {"document": PASSES}}}}, "has no end"),
        (lambda d: d | {"entries": {digest(1): {"valid_until": "2026-11-27T18:00:00"}}}, "without its zone"),
        (lambda d: d | {"entries": {digest(1): 7}}, "object"),
        (lambda d: d | {"tags": {WEB: {"1": 5}}}, "tags"),
        (lambda d: d | {"images": {"known": "many", "held": 1}}, "known"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_with_its_place(change: Any, words: str) -> None:
    raw = written((digest(1), entry()), tags=[(WEB, "1", digest(1))])
    with pytest.raises(Invalid) as refused:
        decode(json.dumps(change(json.loads(raw))).encode())
    assert refused.value.code == "bad-snapshot"
    assert words in refused.value.detail


def test_a_larger_one_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        decode(b" " * (MAX_BYTES * 2))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_noise_is_refused_and_breaks_nothing(noise: bytes, at: int) -> None:
    raw = written((digest(1), entry()))
    for broken in (noise, raw[:at] + noise + raw[at + len(noise) :]):
        try:
            decode(broken)
        except Invalid:
            continue


def test_whose_it_is_tells_nothing_of_the_token() -> None:
    assert holder_of("") == ""
    assert len({holder_of("a"), holder_of("b"), "a", "b"}) == 4
