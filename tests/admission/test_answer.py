"""Modes, grace, what pods ask for, and the words that a person at a terminal reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.admission.answer import (
    DEFAULT_EFFECTS,
    MAX_MESSAGE,
    MAX_WARNING,
    MAX_WARNINGS,
    Knowledge,
    Mode,
    Outcome,
    Rules,
    _passed,
    answer,
    check_effects,
    check_namespaces,
)
from secguard.admission.review import Review, Subject
from secguard.errors import Invalid
from secguard.workloads.podspec import ASKS, Ask, ImageUse

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
IMAGE = f"reg.example/shop/web@{DIGEST}"
SITE = "https://secguard.example"


def finding(kind: str = "vulnerability", due: datetime | None = NOW + timedelta(days=3)) -> dict[str, Any]:
    return {"kind": kind, "due_at": due.isoformat() if due else None, "name": "CVE-2026-1"}


def document(verdict: str, *findings: dict[str, Any], **reason: Any) -> dict[str, Any]:
    effect = {"block": "block", "warn": "warn"}.get(verdict)
    upgrades = [{"name": "openssl", "from": "1.1", "to": "1.2"}]
    remedy = {"upgrades": upgrades, "exception": {"url": f"{SITE}/decisions/new/?risk=1"}}
    made = {
        "rule": "r",
        "effect": effect,
        "message": "1 flaw: CVE-2026-1",
        "findings": list(findings),
        "remedy": remedy,
    }
    return {"verdict": verdict, "reasons": [made | reason] if effect else []}


def known(verdict: str = "pass", *findings: dict[str, Any], **changed: Any) -> Knowledge:
    values = {"digest": DIGEST, "image_digest": DIGEST, "document": document(verdict, *findings)} | changed
    return Knowledge(**values)


def review(*images: str, **subject: Any) -> Review:
    uses = tuple(ImageUse(f"/spec/containers/{n}/image", image, "container") for n, image in enumerate(images))
    return Review(Subject(**{"kind": "Pod", "namespace": "shop", "name": "web-1"} | subject), uses)


def ask(about: Knowledge, image: str = IMAGE, rules: Rules | None = None, **subject: Any) -> Any:
    return answer(review(image, **subject), {image: about}, rules or Rules(), NOW, SITE)


@pytest.mark.parametrize(
    ("mode", "allowed", "outcome", "warned"),
    [
        (Mode.ENFORCE, False, Outcome.DENIED, False),
        (Mode.WARN, True, Outcome.WOULD_DENY, True),
        (Mode.OBSERVE, True, Outcome.WOULD_DENY, False),
    ],
)
@pytest.mark.parametrize("about", [known("block", finding(due=NOW)), Knowledge()])
def test_a_refusal_follows_the_mode(
    mode: Mode, allowed: bool, outcome: Outcome, warned: bool, about: Knowledge
) -> None:
    made = ask(about, rules=Rules(mode))
    assert (made.allowed, made.outcome, bool(made.warnings), bool(made.message)) == (
        allowed,
        outcome,
        warned,
        not allowed,
    )


def test_what_passes_says_nothing() -> None:
    made = ask(known())
    assert (made.allowed, made.outcome, made.message, made.warnings) == (True, Outcome.ALLOWED, "", ())


def test_a_denial_names_the_image_what_blocks_and_the_way_out() -> None:
    made = ask(known("block", finding(due=NOW), ended=("Decision 12 (accept) let it pass until 2026-08-01.",)))
    assert made.message == "\n".join(
        [
            "SecGuard refuses Pod shop/web-1:",
            f"{IMAGE}:",
            "  - 1 flaw: CVE-2026-1.",
            "  - Decision 12 (accept) let it pass until 2026-08-01.",
            "  Way out: Upgrade openssl from 1.1 to 1.2.",
            f"  Way out: Ask for an exception: {SITE}/decisions/new/?risk=1",
            f"  Details: {SITE}/images/{DIGEST}/",
        ]
    )


def test_an_unknown_image_is_told_how_to_become_known() -> None:
    assert f"secguard scan {IMAGE}" in ask(Knowledge()).message


def test_a_tag_is_judged_by_what_it_points_to_and_not_let_in_as_a_tag() -> None:
    tag = "reg.example/shop/web:1"
    made = ask(known(), tag)
    assert not made.allowed
    assert f"reg.example/shop/web@{DIGEST}" in made.message
    assert ask(known(), tag, Rules(requires_digest=False)).allowed


def test_a_registry_that_is_not_preferred() -> None:
    made = ask(known(is_preferred=False))
    assert not made.allowed
    assert "reg.example" in made.message


def test_what_is_no_reference() -> None:
    made = ask(Knowledge(), "Reg.example/Shop/WEB:1")
    assert not made.allowed
    assert "not an image reference" in made.message


def test_warnings_of_the_policy_are_warnings() -> None:
    made = ask(known("warn"))
    assert made.allowed
    assert made.warnings == (f"{IMAGE}: 1 flaw: CVE-2026-1.",)


@pytest.mark.parametrize(
    ("about", "outcome"),
    [
        (known("block", finding(), runs_here=True), Outcome.GRACE),
        (known("block", finding()), Outcome.DENIED),
        (known("block", finding(), finding(due=NOW), runs_here=True), Outcome.DENIED),
        (known("block", finding(due=None), runs_here=True), Outcome.DENIED),
        (known("block", finding("malware"), runs_here=True), Outcome.DENIED),
        (known("block", runs_here=True), Outcome.DENIED),
        (known(runs_here=True, document=document("block", finding(), findings_total=2)), Outcome.DENIED),
        (known("block", finding(), runs_here=True, is_preferred=False), Outcome.DENIED),
        (Knowledge(runs_here=True), Outcome.DENIED),
    ],
)
def test_what_runs_already_may_restart_until_the_first_deadline(about: Knowledge, outcome: Outcome) -> None:
    made = ask(about)
    assert made.outcome is outcome
    if outcome is Outcome.GRACE:
        assert "until 2026-11-27 12:00 UTC" in made.warnings[0]
        assert made.images[0].until == NOW + timedelta(days=3)


def test_an_update_that_leaves_an_image_alone_is_let_through() -> None:
    asked = review(IMAGE, operation="UPDATE")
    standing = Review(asked.subject, asked.images, standing=frozenset({IMAGE}))
    made = answer(standing, {IMAGE: known("block", finding(due=NOW))}, Rules(), NOW, SITE)
    assert (made.allowed, made.outcome) == (True, Outcome.WARNED)


def test_broken_glass_lets_one_image_through_and_no_other() -> None:
    other = IMAGE.replace("web", "api")
    glass = {IMAGE: known("block", finding(due=NOW), break_glass=7)}
    made = answer(review(IMAGE), glass, Rules(), NOW, SITE)
    assert (made.allowed, made.outcome, made.used) == (True, Outcome.BROKEN_GLASS, (7,))
    made = answer(review(IMAGE, other), glass, Rules(), NOW, SITE)
    assert not made.allowed
    assert other in made.message


def test_one_image_in_many_containers_is_one_answer() -> None:
    assert len(answer(review(*[IMAGE] * 20), {IMAGE: known()}, Rules(), NOW, SITE).images) == 1


def test_modes_of_namespaces() -> None:
    rules = Rules(Mode.ENFORCE, check_namespaces({"kube-*": "observe", "kube-system": "warn", "k*": "enforce"}))
    names = ("kube-system", "kube-public", "kitchen", "shop")
    assert [rules.mode_in(n) for n in names] == ["warn", "observe", "enforce", "enforce"]


@pytest.mark.parametrize("namespaces", [[], {"A": "warn"}, {"a": "off"}, {"*a": "warn"}, {"a" * 64: "warn"}])
def test_modes_that_mean_nothing_are_refused(namespaces: Any) -> None:
    with pytest.raises(Invalid, match="xpected"):
        check_namespaces(namespaces)


def test_what_a_pod_asks_for_is_told_or_refused_as_the_cluster_says() -> None:
    asks = (Ask("data-volume", "data"), Ask("privileged", "web"))
    asked = Review(Subject(kind="Pod"), asks=asks)
    made = answer(asked, {}, Rules(), NOW, SITE)
    assert (made.allowed, made.warnings) == (True, ("web runs privileged: as good as root on the node.",))
    rules = Rules(effects=check_effects({"privileged": "block"}))
    made = answer(asked, {}, rules, NOW, SITE)
    assert not made.allowed
    assert "web runs privileged" in made.message
    standing = Review(Subject(kind="Pod"), asks=asks, standing_asks=frozenset(asks))
    assert answer(standing, {}, rules, NOW, SITE).allowed
    assert answer(asked, {}, Rules(effects={"privileged": "off"}), NOW, SITE).warnings == ()
    assert DEFAULT_EFFECTS.keys() == ASKS.keys()
    with pytest.raises(Invalid, match="xpected"):
        check_effects({"privileged": "maybe"})


some_finding = st.builds(
    finding,
    st.sampled_from(["vulnerability", "malware", "hygiene"]),
    st.none() | st.integers(-3, 3).map(lambda days: NOW + timedelta(days=days)),
)
some_knowledge = st.builds(
    lambda verdict, findings, preferred, runs, glass: known(
        verdict, *findings, is_preferred=preferred, runs_here=runs, break_glass=glass
    ),
    st.sampled_from(["pass", "warn", "block"]),
    st.lists(some_finding, max_size=3),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(1, 9),
) | st.just(Knowledge())


@given(st.lists(some_knowledge, min_size=1, max_size=8), st.sampled_from(list(Mode)))
def test_the_laws_of_every_answer(everything: list[Knowledge], mode: Mode) -> None:
    images = [f"reg.example/shop/app{n}@{DIGEST}" for n in range(len(everything))]
    about = dict(zip(images, everything, strict=True))
    asked = review(*images)
    made = answer(asked, about, Rules(mode), NOW, SITE)
    assert made == answer(asked, about, Rules(mode), NOW, SITE)
    assert made.allowed or mode is Mode.ENFORCE
    assert bool(made.message) == (not made.allowed)
    assert len(made.message) <= MAX_MESSAGE
    assert len(made.warnings) <= MAX_WARNINGS
    assert all(len(w) <= MAX_WARNING for w in made.warnings)
    for judged in made.images:
        blocked = judged.known.document is None or judged.known.document["verdict"] == "block"
        if judged.outcome in (Outcome.ALLOWED, Outcome.WARNED):
            assert not blocked
            assert judged.known.is_preferred
        if judged.outcome is Outcome.DENIED:
            assert judged.known.break_glass is None
    # One more image never turns a refusal into a yes.
    if len(images) > 1 and not answer(review(*images[1:]), about, Rules(mode), NOW, SITE).allowed:
        assert not made.allowed


def test_only_what_is_remembered_anyhow_makes_an_answer_be_remembered():
    """Whoever may ask could else fill the memory with names, and with whole verdicts."""
    known = Knowledge(DIGEST, DIGEST, 1, 1, document("pass"))
    before = _passed.cache_info().currsize
    for image, about in ((IMAGE, known), ("x" * 4000, Knowledge())):
        answer(Review(Subject(kind="Pod"), (ImageUse("", image, "container"),)), {image: about}, Rules(), NOW, SITE)
    assert _passed.cache_info().currsize == before
    kept = replace(known, is_remembered=True)
    review = Review(Subject(kind="Pod"), (ImageUse("", IMAGE, "container"),))
    one, again = (answer(review, {IMAGE: kept}, Rules(), NOW, SITE) for _ in range(2))
    assert one.images[0] is again.images[0]
    assert one.images[0].outcome is Outcome.ALLOWED
