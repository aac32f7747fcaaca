"""Tests of a policy: given facts, the expected verdict, and the rules that must fire. Pure.

    tests:
      - name: a critical flaw with a fix stops a build
        stage: build
        image: {os: debian, exposed: true}
        findings:
          - {kind: vulnerability, severity: critical, name: openssl, fixed_versions: [1.1.1w]}
          - {kind: vulnerability, severity: high, age_days: 40, decision: accept}
        expect: block
        rules: [critical-with-fix]
        not_rules: [malware]

``image`` and ``findings`` take the words of the vocabulary (docs/policy.md), so a test reads as a condition does. What
is left out has the value that stands there for unknown, with two exceptions: an image was scanned today, for every
kind of finding, unless ``scanned_for`` or ``scan_age_days`` says otherwise; and a finding with ``fixed_versions`` has a
fix. ``decision`` is the kind of one that covers the finding. No clock is read: every test stands at the same instant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct
from yaml.nodes import ScalarNode

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.policies.evaluation import PolicyRef, Verdict, evaluate
from secguard.policies.facts import DecisionFact, Facts, FindingFact, Gate, ImageFact, PlanningFact, ScanFact
from secguard.policies.language import Policy
from secguard.policies.vocabulary import DAY, FINDING, IMAGE, Type
from secguard.yamlsource import Section, Source, SourceError, did_you_mean, parse

MAX_BYTES: Final = 256 * 1024
MAX_TESTS: Final = 200
MAX_FINDINGS: Final = 50
MAX_DAYS: Final = 36_500
NOW: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
DECISIONS: Final = ("fix", "mitigate", "accept", "not_affected")
VERDICTS: Final = ("pass", "warn", "block")
_DERIVED_FINDING: Final = frozenset({"ecosystem", "has_cvss", "has_epss", "severity_rank"})
_DERIVED_IMAGE: Final = frozenset({"has_age", "has_database_age", "has_size"})
FINDING_WORDS: Final = tuple(name for name in FINDING if name not in _DERIVED_FINDING)
IMAGE_WORDS: Final = tuple(name for name in IMAGE if name not in _DERIVED_IMAGE)
"""What a test may say of an image; the rest follows from it."""


class TestsError(SourceError):
    """The tests themselves cannot be read."""

    __test__ = False  # no test class for pytest
    says = "The tests of the policy cannot be read"
    kind = "policy-tests-unreadable"
    part = "tests, "


class PolicyTest(Struct, frozen=True, kw_only=True):
    name: str
    facts: Facts
    expect: str
    rules: tuple[str, ...] = ()
    """Rules that must fire, whatever the verdict is."""
    not_rules: tuple[str, ...] = ()
    line: int = 0


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one test."""

    name: str
    line: int
    passed: bool
    expected: str
    found: str
    missing: tuple[str, ...] = ()
    """Rules that should have fired and did not."""
    unwanted: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """``rule: message`` of all that fired."""

    def __str__(self) -> str:
        faults = [f"expected {self.expected}, found {self.found}"] if self.expected != self.found else []
        faults += [f"rule {rule} did not fire" for rule in self.missing]
        faults += [f"rule {rule} fired" for rule in self.unwanted]
        fired = f" (fired: {'; '.join(self.reasons)})" if self.reasons else " (no rule fired)"
        return f"{self.name}: {', '.join(faults)}{fired}" if faults else f"{self.name}: {self.found}, as expected"


# --- running them ---


def run(policy: Policy, tests: tuple[PolicyTest, ...], *, late: Callable[[], bool] = lambda: False) -> list[Outcome]:
    """What becomes of each test; raises ``Invalid`` where ``late`` says between two of them that it takes too long."""
    outcomes: list[Outcome] = []
    for test in tests:
        if late():
            raise Invalid(
                f"The tests take too long: {len(outcomes)} of {len(tests)} were run. Give them fewer findings, or the "
                "policy conditions that are quicker to answer.",
                code="policy-tests-slow",
                where="tests",
            )
        outcomes.append(_outcome(test, evaluate(policy, test.facts, NOW, policy_ref=PolicyRef(policy.name, 0))))
    return outcomes


def _outcome(test: PolicyTest, verdict: Verdict) -> Outcome:
    fired = dict.fromkeys(reason.rule for reason in verdict.reasons)
    missing = tuple(rule for rule in test.rules if rule not in fired)
    unwanted = tuple(rule for rule in test.not_rules if rule in fired)
    return Outcome(
        name=test.name,
        line=test.line,
        passed=verdict.verdict == test.expect and not missing and not unwanted,
        expected=test.expect,
        found=verdict.verdict,
        missing=missing,
        unwanted=unwanted,
        reasons=tuple(f"{reason.rule}: {reason.message}"[:300] for reason in verdict.reasons[:5]),
    )


# --- reading them ---


def parse_tests(text: str, policy: Policy | None = None) -> tuple[PolicyTest, ...]:
    """The tests that ``text`` holds, none where it is blank; raises ``TestsError`` with every fault found.

    With ``policy`` a rule that is named and is none of its rules is a fault too.
    """
    rules = tuple(rule.id for rule in policy.rules) if policy is not None else None
    return _parsed(text, rules) if text.strip() else ()


@lru_cache(maxsize=64)
def _parsed(text: str, rules: tuple[str, ...] | None) -> tuple[PolicyTest, ...]:
    source = Source(text)
    node = parse(source, MAX_BYTES)
    tests: list[PolicyTest] = []
    if node is not None:
        top = Section(source, node, "the tests' document")
        tests = [_test(section, rules) for section in top.take_sections("tests", "test", MAX_TESTS)]
        top.close()
    if source.problems:
        raise TestsError(source.problems)
    return tuple(tests)


def _test(section: Section, rules: tuple[str, ...] | None) -> PolicyTest:
    name = section.take_text("name", required=True, max_length=200)
    stage = section.take_choice("stage", [g.value for g in Gate], required=True)
    facts = Facts(
        stage=Gate(stage or Gate.BUILD),
        image=ImageFact(digest=""),
        findings=_findings(section),
    )
    head = section.take_section("image", f"'image' of {section.what}")
    facts = _with_image(facts, _words(head, IMAGE_WORDS, IMAGE) if head is not None else {})
    if head is not None:
        head.close()
    test = PolicyTest(
        name=name,
        facts=facts,
        expect=section.take_choice("expect", VERDICTS, required=True),
        rules=_rules(section, "rules", rules),
        not_rules=_rules(section, "not_rules", rules),
        line=section.node.start_mark.line + 1,
    )
    section.close()
    return test


def _rules(section: Section, key: str, known: tuple[str, ...] | None) -> tuple[str, ...]:
    named = section.take_texts(key, 50, max_length=60)
    for rule in named if known is not None else ():
        if rule not in (known or ()) and rule != "recalled":
            section.fault(key, f"the policy has no rule {rule!r}{did_you_mean(rule, known or ())}")
    return named


def _findings(section: Section) -> tuple[FindingFact, ...]:
    if section.node_of("findings") is None:
        return ()
    listed = section.take_sections("findings", f"finding of {section.what},", MAX_FINDINGS)
    return tuple(_finding(n, finding) for n, finding in enumerate(listed, 1))


def _finding(number: int, section: Section) -> FindingFact:
    words = _words(section, FINDING_WORDS, FINDING)
    decision = section.take_choice("decision", DECISIONS)
    section.close()
    overdue, fixed = words.pop("overdue", None), words.get("fixed_versions", ())
    words.setdefault("fix_available", bool(fixed))
    words.setdefault("kind", FindingKind.VULNERABILITY.value)
    return FindingFact(
        id=number,
        risk=number,
        first_seen_at=NOW - words.pop("age_days", 0) * DAY,
        due_at=None if overdue is None else NOW - DAY if overdue else NOW + DAY,
        decision=DecisionFact(id=number, kind=decision) if decision else None,
        **words,
    )


_PLANNING: Final = ("known", "templates", "open", "missing")


def _with_image(facts: Facts, words: dict[str, Any]) -> Facts:
    covers = words.pop("scanned_for", tuple(kind.value for kind in FindingKind))
    scanners = words.pop("scanners", ("scanner",))
    scanned, data = words.pop("scan_age_days", 0), words.pop("database_age_days", None)
    age, size = words.pop("age_days", None), words.pop("size_mb", None)
    scans = tuple(
        ScanFact(
            id=number,
            scanner=scanner,
            finished_at=NOW - scanned * DAY,
            covers=tuple(covers),
            database_updated_at=None if data is None else NOW - data * DAY,
        )
        for number, scanner in enumerate(scanners, 1)
        if covers
    )
    planning = {name: words.pop(f"planning_{name}") for name in _PLANNING if f"planning_{name}" in words}
    planning.setdefault("open", len(planning.get("missing", ())))
    image = ImageFact(
        planning=PlanningFact(**planning),
        digest=words.pop("digest", "sha256:" + "0" * 64),
        created_at=None if age is None else NOW - timedelta(days=age),
        size_bytes=None if size is None else round(size * 1e6),
        **words,
    )
    return Facts(stage=facts.stage, image=image, findings=facts.findings, scans=scans)


def _words(section: Section, names: tuple[str, ...], vocabulary: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the words that the section says, as facts hold them."""
    found = {name: _value(section, name, vocabulary[name].type) for name in names}
    return {name: value for name, value in found.items() if section.node_of(name) is not None and value is not None}


def _value(section: Section, name: str, type_: Type) -> Any:
    if type_.name == "bool":
        return section.take_bool(name)
    if type_.name == "int":
        return section.take_count(name, 0, MAX_DAYS)
    if type_.name == "double":
        return section.take_number(name, type_.least or 0, type_.most if type_.most is not None else 10**9)
    if type_.name == "list":
        return _list(section, name, type_)
    if type_.name == "map":
        return _map(section, name)
    return section.take_choice(name, type_.words) if type_.words else section.take_text(name) or None


def _list(section: Section, name: str, type_: Type) -> tuple[str, ...]:
    words = section.take_texts(name, 100, max_length=500)
    allowed = type_.of.words if type_.of is not None else ()
    for word in words if allowed else ():
        if word not in allowed:
            hint = did_you_mean(word, allowed)
            section.fault(name, f"{word!r} never occurs in {name!r}{hint}; known are {', '.join(allowed)}")
    return words


def _map(section: Section, name: str) -> dict[str, str]:
    inner = section.take_section(name, f"{name!r} of {section.what}")
    found = {}
    for key, _, node in inner.items() if inner is not None else ():
        if not isinstance(node, ScalarNode):
            section.source.fault(node, f"{key!r} of {name!r} is no text; expected one")
        else:
            found[key] = str(node.value)
    return found
