from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.findings.identity import FindingKind
from secguard.findings.severity import LABELS
from secguard.policies import language
from secguard.policies.evaluation import (
    HORIZON,
    Effect,
    PolicyRef,
    Verdict,
    decode_verdict,
    encode_verdict,
    evaluate,
)
from secguard.policies.facts import DecisionFact, Facts, FindingFact, Gate, ImageFact, ScanFact, decode, encode
from secguard.policies.language import parse_policy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
REF = PolicyRef("default", 3)
DEFAULT = parse_policy((Path(language.__file__).parent / "defaults.yaml").read_text(encoding="utf-8"))
IMAGE = ImageFact(digest="sha256:" + "a" * 64, reference="registry.example/shop/cart:1.2")
SCAN = ScanFact(id=7, scanner="trivy", finished_at=NOW, covers=("vulnerability", "secret"))
ORDER = {"pass": 0, "warn": 1, "block": 2}


def finding(id: int = 1, **changes) -> FindingFact:
    values = {
        "id": id,
        "risk": id + 100,
        "kind": "vulnerability",
        "severity": "critical",
        "vulnerability": f"CVE-2024-{id:04}",
        "purl": "pkg:deb/debian/openssl@1.1.1n",
        "package": "pkg:deb/debian/openssl",
        "name": "openssl",
        "version": "1.1.1n",
        "fixed_versions": ("1.1.1w",),
        "fix_available": True,
        "first_seen_at": NOW - DAY,
    }
    return FindingFact(**(values | changes))


def decision(id: int = 5, **changes) -> DecisionFact:
    values = {"id": id, "kind": "accept", "scope": "repository shop/cart", "expires_at": NOW + 10 * DAY}
    return DecisionFact(**(values | changes))


def facts(*findings: FindingFact, stage: Gate = Gate.BUILD, scans=(SCAN,), image: ImageFact = IMAGE) -> Facts:
    return Facts(stage=stage, image=image, findings=findings, scans=tuple(scans))


def judge(given: Facts, policy=DEFAULT, now: datetime = NOW) -> Verdict:
    return evaluate(policy, given, now, policy_ref=REF)


def one_rule(when: str, *, each: str = "finding", effect: str = "block", message: str = "m", more: str = ""):
    return parse_policy(
        f"name: p\nrules:\n  - id: r\n    each: {each}\n    when: {when!r}\n    effect: {effect}\n"
        f"    message: '{message}'\n{more}"
    )


# --- what the default policy says ---


def test_a_clean_scanned_image_passes():
    found = judge(facts())
    assert (found.verdict, found.reasons, found.scans, found.policy) == ("pass", (), (7,), REF)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [(Gate.BUILD, "warn"), (Gate.PROMOTE, "block"), (Gate.ADMIT, "block"), (Gate.RUN, "warn")],
)
@pytest.mark.parametrize(
    "scans",
    [
        [],
        [ScanFact(id=1, scanner="trivy", finished_at=NOW, complete=False, covers=("vulnerability",))],
        [ScanFact(id=1, scanner="syft", finished_at=NOW, covers=())],
        [ScanFact(id=1, scanner="dockle", finished_at=NOW, covers=("hygiene",))],
    ],
)
def test_unscanned_is_not_clean(stage, expected, scans):
    found = judge(facts(stage=stage, scans=scans))
    assert found.verdict == expected
    assert "Could not tell" in found.reasons[0].message
    assert "secguard report" in found.reasons[0].remedy.text


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 critical vulnerability with a fix"), (2, "2 critical vulnerabilities with a fix")]
)
def test_a_message_says_one_or_many(count, words):
    (reason,) = judge(facts(*(finding(n) for n in range(1, count + 1)))).reasons
    assert reason.message.startswith(words)


def test_a_critical_with_a_fix_blocks_and_says_how_to_get_past():
    found = judge(facts(finding(1), finding(2, fixed_versions=("1.1.1t",)), finding(3, severity="low")))
    assert found.verdict == "block"
    (reason,) = found.reasons
    assert (reason.rule, reason.effect, reason.findings) == ("critical-with-fix", Effect.BLOCK, (1, 2))
    assert reason.message == "2 critical vulnerabilities with a fix, in openssl 1.1.1n"
    (upgrade,) = reason.remedy.upgrades
    assert (upgrade.name, upgrade.from_, upgrade.to, upgrade.is_complete) == ("openssl", "1.1.1n", "1.1.1w", True)
    assert upgrade.fixes == ("CVE-2024-0001", "CVE-2024-0002")
    assert reason.remedy.exception.risks == (101, 102)
    assert found.counts.open == {**dict.fromkeys(LABELS, 0), "critical": 2, "low": 1, "total": 3}
    assert found.counts.blocking["total"] == 2


@pytest.mark.parametrize(
    ("changes", "build", "admit"),
    [
        ({"kind": "malware", "rule": "EICAR"}, "block", "block"),
        ({"kind": "secret", "rule": "aws-key", "severity": "high"}, "block", "pass"),
        ({"severity": "low", "known_exploited": True}, "block", "pass"),
        ({"severity": "high"}, "warn", "pass"),
        ({"severity": "high", "first_seen_at": NOW - 30 * DAY}, "block", "pass"),
        ({"severity": "high", "fix_available": False, "fixed_versions": ()}, "warn", "pass"),
        ({"severity": "medium", "epss": 0.3, "first_seen_at": NOW - 20 * DAY}, "block", "pass"),
        ({"severity": "medium", "epss": 0.05, "first_seen_at": NOW - 20 * DAY}, "pass", "pass"),
        ({"severity": "medium", "due_at": NOW}, "warn", "block"),
        ({"severity": "medium", "due_at": NOW + DAY}, "pass", "pass"),
    ],
)
def test_what_the_default_says_of_one_finding(changes, build, admit):
    """What is new is stopped at build; what already runs restarts until its deadline (DESIGN rule 8)."""
    assert judge(facts(finding(**changes))).verdict == build
    assert judge(facts(finding(**changes), stage=Gate.ADMIT)).verdict == admit


# --- decisions and time ---


def test_a_decision_lets_a_block_pass_and_is_named():
    found = judge(facts(finding(1, decision=decision()), finding(2, severity="low")))
    assert found.verdict == "pass"
    (used,) = found.decisions
    assert (used.id, used.kind, used.scope, used.findings) == (5, "accept", "repository shop/cart", 1)
    assert [(c.decision, c.rules, c.findings) for c in found.covered] == [(5, ("critical-with-fix",), (1,))]
    assert found.counts.covered["critical"] == 1


def test_a_decision_counts_from_its_start_until_before_its_end():
    ending = facts(finding(decision=decision(starts_at=NOW, expires_at=NOW + 2 * DAY)))
    assert judge(ending, now=NOW - DAY).verdict == "block"
    assert judge(ending, now=NOW).verdict == "pass"
    assert judge(ending, now=NOW + 2 * DAY - timedelta(microseconds=1)).verdict == "pass"
    assert judge(ending, now=NOW + 2 * DAY).verdict == "block"


def test_a_verdict_is_valid_until_its_decision_ends():
    soon = facts(finding(decision=decision(expires_at=NOW + timedelta(hours=3))))
    assert judge(soon).valid_until == NOW + timedelta(hours=3)
    assert judge(facts(finding(decision=decision()))).valid_until == NOW + HORIZON


def test_a_decision_that_begins_later_ends_the_validity():
    later = facts(finding(decision=decision(starts_at=NOW + timedelta(hours=1))))
    assert judge(later).valid_until == NOW + timedelta(hours=1)


def test_grace_warns_until_it_ends():
    policy = one_rule('finding.severity == "critical"', more="    grace_days: 3\n")
    seen = NOW - 3 * DAY + timedelta(hours=2)
    found = judge(facts(finding(1, first_seen_at=seen), finding(2, first_seen_at=NOW - 9 * DAY)), policy)
    assert [(r.effect, r.findings, r.until) for r in found.reasons] == [
        (Effect.BLOCK, (2,), None),
        (Effect.WARN, (1,), NOW + timedelta(hours=2)),
    ]
    alone = judge(facts(finding(1, first_seen_at=seen)), policy)
    assert (alone.verdict, alone.valid_until) == ("warn", NOW + timedelta(hours=2))
    assert judge(facts(finding(1, first_seen_at=seen)), policy, alone.valid_until).verdict == "block"


@pytest.mark.parametrize(
    ("when", "each", "expected"),
    [
        ("image.scan_age_days >= 1", "image", NOW + timedelta(hours=20)),
        ("image.scan_age_days >= 5", "image", NOW + HORIZON),
        ("finding.age_days >= 1", "finding", NOW + timedelta(hours=21)),
        ("finding.overdue", "finding", NOW + timedelta(hours=2)),
    ],
)
def test_a_verdict_ends_when_an_age_or_a_deadline_turns(when, each, expected):
    scan = msgspec.structs.replace(SCAN, finished_at=NOW - timedelta(hours=4))
    one = finding(first_seen_at=NOW - timedelta(hours=3), due_at=NOW + timedelta(hours=2))
    assert judge(facts(one, scans=[scan]), one_rule(when, each=each)).valid_until == expected


# --- failing safe ---


def test_a_condition_that_cannot_be_answered_blocks_and_says_so():
    policy = one_rule("1 / finding.age_days > 5", message="never shown")
    found = judge(facts(finding(1, first_seen_at=NOW), finding(2)), policy)
    assert found.verdict == "block"
    (reason,) = found.reasons
    assert (reason.rule, reason.findings) == ("r", (1,))
    assert "Rule r could not be answered" in reason.message
    assert "division by zero" in reason.error


def test_so_does_one_over_the_image():
    found = judge(facts(), one_rule("image.labels.owner == 'x'", each="image"))
    assert found.verdict == "block"
    assert "owner" in found.reasons[0].error
    assert judge(facts(), one_rule("image.labels.owner == 'x'", each="image", effect="warn")).verdict == "warn"


def test_counts_leave_out_what_is_covered():
    policy = one_rule("counts.critical > 1", each="image")
    assert judge(facts(finding(1), finding(2)), policy).verdict == "block"
    assert judge(facts(finding(1), finding(2, decision=decision())), policy).verdict == "pass"


# --- messages ---


def test_messages_are_filled_worst_first():
    policy = one_rule(
        "true || finding.overdue", message="{count} {worst} {examples} | {packages} | {stage} {reference} {application}"
    )
    many = [finding(i, severity="low", name=f"p{i}") for i in range(2, 7)]
    found = judge(facts(*many, finding(9, severity="low", known_exploited=True, vulnerability="CVE-X")), policy)
    assert found.reasons[0].message == (
        "6 low CVE-X, CVE-2024-0002, CVE-2024-0003 and 3 more | openssl 1.1.1n, p2 1.1.1n, p3 1.1.1n and 3 more | "
        "build registry.example/shop/cart:1.2 "
    )


def test_an_image_without_a_name_is_called_by_its_digest():
    found = judge(
        facts(image=ImageFact(digest="sha256:bb", size_bytes=1_500_000)),
        one_rule("true", each="image", message="{reference} {size_mb}"),
    )
    assert found.reasons[0].message == "sha256:bb 1.5"


def test_an_image_of_several_owners_names_none_of_them_in_words():
    shared = ImageFact(digest="sha256:bb", reference="", application="shop", team="sellers", registry="their.example")
    policy = one_rule('image.team == "sellers"', each="image", message="{reference}|{application}|{team}|{registry}")
    assert judge(facts(image=shared), policy).reasons[0].message == "sha256:bb|||"


def test_text_from_a_report_is_never_read_as_a_placeholder():
    found = judge(facts(finding(name="{stage.__class__}")), one_rule("finding.fix_available", message="{packages}"))
    assert found.reasons[0].message == "{stage.__class__} 1.1.1n"


# --- always ---

instants = st.integers(-40, 40).map(lambda hours: NOW + timedelta(hours=hours))
decisions = st.builds(
    DecisionFact,
    id=st.integers(1, 4),
    kind=st.sampled_from(["fix", "mitigate", "accept", "not_affected"]),
    starts_at=st.none() | instants,
    expires_at=instants,
)
versions = st.builds("1.{}".format, st.integers(0, 5))


def findings_with(decision_strategy):
    return st.builds(
        FindingFact,
        id=st.integers(1, 10_000),
        risk=st.integers(1, 5),
        kind=st.sampled_from([k.value for k in FindingKind]),
        severity=st.sampled_from(LABELS),
        vulnerability=st.sampled_from(["", "CVE-1", "CVE-2"]),
        purl=st.sampled_from(["", "pkg:npm/a@1.0", "pkg:deb/debian/b@1.0", "nonsense"]),
        name=st.sampled_from(["a", "{b}"]),
        version=st.just("1.0"),
        fixed_versions=st.lists(versions, max_size=2).map(tuple),
        fix_available=st.booleans(),
        known_exploited=st.booleans(),
        epss=st.none() | st.floats(0, 1),
        first_seen_at=st.integers(-40, 1).map(lambda days: NOW + days * DAY + timedelta(hours=5)),
        due_at=st.none() | instants,
        decision=decision_strategy,
    )


scans = st.builds(
    ScanFact,
    id=st.integers(1, 9),
    scanner=st.sampled_from(["trivy", "grype"]),
    finished_at=st.integers(-20, 0).map(lambda days: NOW + days * DAY),
    complete=st.booleans(),
    covers=st.sampled_from([(), ("vulnerability",), ("secret", "vulnerability")]),
)
everything = st.builds(
    Facts,
    stage=st.sampled_from(Gate),
    image=st.just(IMAGE),
    findings=st.lists(findings_with(st.none() | decisions), max_size=8, unique_by=lambda f: f.id).map(tuple),
    scans=st.lists(scans, max_size=2).map(tuple),
)
thorough = settings(max_examples=60, deadline=None)


@thorough
@given(everything)
def test_played_again_from_stored_facts_it_gives_the_same_bytes(given_facts):
    first = encode_verdict(judge(given_facts))
    assert encode_verdict(judge(decode(encode(given_facts)))) == first
    assert encode_verdict(decode_verdict(first)) == first


@thorough
@given(everything, st.randoms(use_true_random=False))
def test_the_order_of_facts_does_not_matter(given_facts, random):
    findings, seen = list(given_facts.findings), list(given_facts.scans)
    random.shuffle(findings)
    random.shuffle(seen)
    turned = msgspec.structs.replace(given_facts, findings=tuple(findings), scans=tuple(seen))
    assert encode_verdict(judge(turned)) == encode_verdict(judge(given_facts))


@thorough
@given(everything, findings_with(st.just(decision())).map(lambda f: msgspec.structs.replace(f, id=99_999)))
def test_a_covered_finding_never_changes_the_answer(given_facts, covered):
    more = msgspec.structs.replace(given_facts, findings=(*given_facts.findings, covered))
    before, after = judge(given_facts), judge(more)
    assert (after.verdict, after.reasons) == (before.verdict, before.reasons)


@thorough
@given(everything)
def test_an_ended_decision_never_helps(given_facts):
    def with_decision(made):
        changed = tuple(msgspec.structs.replace(f, decision=made) for f in given_facts.findings)
        return judge(msgspec.structs.replace(given_facts, findings=changed))

    ended, none = with_decision(decision(expires_at=NOW)), with_decision(None)
    assert encode_verdict(ended) == encode_verdict(none)
    assert ORDER[with_decision(decision()).verdict] <= ORDER[none.verdict]


@thorough
@given(everything, st.floats(0, 1, exclude_max=True))
def test_a_verdict_holds_until_it_says(given_facts, part):
    """Until ``valid_until`` the same facts give the same answer, however late they are asked for it."""
    now = judge(given_facts)
    assert NOW < now.valid_until <= NOW + HORIZON
    # A part of very little is rounded to all of it, and at the end itself the answer need not hold any more.
    latest = now.valid_until - timedelta(microseconds=1)
    later = judge(given_facts, now=min(NOW + (now.valid_until - NOW) * part, latest))

    def answer(verdict: Verdict):
        return verdict.verdict, [(r.rule, r.effect, r.findings) for r in verdict.reasons], verdict.covered

    assert answer(later) == answer(now)


@thorough
@given(everything)
def test_the_verdict_is_its_worst_reason(given_facts):
    found = judge(given_facts)
    assert ORDER[found.verdict] == max((ORDER[r.effect.value] for r in found.reasons), default=0)
    covered = {f for c in found.covered for f in c.findings}
    assert not covered & {f for r in found.reasons for f in r.findings}
    assert found.counts.open["total"] == len(given_facts.findings)
