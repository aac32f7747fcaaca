from __future__ import annotations

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.findings.severity import LABELS
from secguard.policies.expressions import parse
from secguard.policies.reachability import why_never
from secguard.policies.vocabulary import FUNCTIONS, rank

BUILD = ["build", "admit"]


@pytest.mark.parametrize(
    ("text", "at", "path"),
    [
        ('finding.severity == "high" && finding.severity == "low"', 47, "finding.severity"),
        ('finding.severity in ["high"] && finding.severity_rank < rank("high")', 54, "finding.severity"),
        ("finding.epss > 1", 13, "finding.epss"),
        ("finding.epss > 0.5 && finding.epss < 0.5", 35, "finding.epss"),
        ("finding.cvss_score > 9 && finding.cvss_score < 5.0", 45, "finding.cvss_score"),
        ("finding.age_days > 3 && finding.age_days < 4", 41, "finding.age_days"),
        ("finding.age_days == 1.5", 17, "finding.age_days"),
        ("finding.fix_available && !finding.fix_available", 25, "finding.fix_available"),
        ("finding.fix_available == false && finding.fix_available", 42, "finding.fix_available"),
        ('stage == "run"', 6, "stage"),
        ('finding.name == "a" && finding.name != "a"', 36, "finding.name"),
        ('!(finding.kind in ["secret"]) && finding.kind == "secret"', 46, "finding.kind"),
        ("size(finding.aliases) < 0", 22, "size(finding.aliases)"),
        ("finding.severity_rank == 7", 22, "finding.severity"),
        ('finding.title.contains("a") && !finding.title.contains("a")', 31, "finding.title.contains('a')"),
        ("(finding.epss > 0.5 || finding.overdue) && finding.epss < 0.1 && !finding.overdue", 65, "finding.overdue"),
    ],
)
def test_contradictions_are_found_where_they_stand(text, at, path):
    found = why_never(parse(text), BUILD)
    assert found is not None
    assert found[0] == at
    assert f"nothing is left for {path} here" in found[1]


@pytest.mark.parametrize(
    "text", ["false", "!(finding.overdue || true)", "finding.kind in []", "1 > 2", "rank('low') > 3"]
)
def test_what_is_always_false(text):
    found = why_never(parse(text), BUILD)
    assert found is not None
    assert "always false" in found[1]


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "finding.epss >= 0.5 && finding.epss <= 0.5",
        'finding.name == "a" || 1 == 2',
        'stage in ["build", "run"]',
        'image.labels.x == "1" && image.labels.y == "2"',
        'finding.sources.exists(s, s == "a") && finding.sources.exists(s, s == "b")',
        "finding.age_days > 3 ? finding.age_days > 5 : finding.age_days < 1",
    ],
)
def test_what_can_hold_is_let_be(text):
    assert why_never(parse(text), BUILD) is None


def test_what_is_too_much_to_try_counts_as_possible():
    wide = " && ".join(f"(finding.epss == 0.{i} || finding.overdue || finding.name == 'a{i}')" for i in range(10, 30))
    assert why_never(parse(wide), BUILD) is None


operators = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
atoms = st.one_of(
    st.builds("finding.severity == '{}'".format, st.sampled_from(LABELS)),
    st.builds("finding.severity in ['{}', '{}']".format, st.sampled_from(LABELS), st.sampled_from(LABELS)),
    st.builds("finding.severity_rank {} rank('{}')".format, operators, st.sampled_from(LABELS)),
    st.builds("finding.age_days {} {}".format, operators, st.integers(-1, 4)),
    st.builds("{} {} finding.epss".format, st.sampled_from(["0.0", "0.5", "1.0"]), operators),
    st.sampled_from(["finding.overdue", "finding.overdue == false", "finding.name == 'a'", "finding.name != 'a'"]),
    st.sampled_from(["true", "false"]),
)
formulas = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=7,
)
WORLD = [
    {"severity": s, "severity_rank": rank(s), "age_days": a, "epss": e, "overdue": o, "name": n}
    for s in LABELS
    for a in range(6)
    for e in (0.0, 0.25, 0.5, 0.75, 1.0)
    for o in (True, False)
    for n in ("a", "b")
]


@settings(max_examples=60, deadline=None)
@given(formulas)
def test_refused_exactly_when_no_finding_could_make_it_true(text):
    """Against every combination of values that these formulas can tell apart."""
    program = cel.compile(text)
    context = cel.Context(variables={"stage": "build"}, functions=dict(FUNCTIONS))

    def holds(finding) -> bool:
        context.add_variable("finding", finding)
        return program.execute(context) is True

    assert (why_never(parse(text), BUILD) is None) is any(holds(finding) for finding in WORLD)
