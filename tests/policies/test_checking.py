from __future__ import annotations

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.policies.checking import check
from secguard.policies.expressions import parse
from secguard.policies.vocabulary import FUNCTIONS, RECORDS

FINDING = ("finding", "image", "counts", "stage")
IMAGE = ("image", "counts", "stage")


def mistakes(text: str, variables: tuple[str, ...] = FINDING) -> list[tuple[int, str]]:
    return [(m.at, m.message) for m in check(parse(text), variables)]


@pytest.mark.parametrize(
    "text",
    [
        'finding.kind == "vulnerability" && finding.severity in ["critical", "high"]',
        'finding.severity_rank >= rank("high")',
        "finding.epss >= 0.1 && finding.has_epss",
        "finding.epss > 0 || finding.cvss_score == 10",
        'finding.sources.exists(s, s == "trivy") && size(finding.sources) > 1',
        'finding.aliases.all(a, a.startsWith("GHSA-"))',
        'finding.title.matches("^[a-z]+ in .*$")',
        'has(image.labels.owner) && image.labels.owner != ""',
        '"owner" in image.labels && image.labels["owner"].contains("@")',
        '"malware" in image.scanned_for',
        'stage == "build" ? finding.age_days > 3 : finding.overdue',
        "counts.critical + counts.high > 10",
        'image.labels.exists(name, name.startsWith("org."))',
        "finding.sources.map(s, size(s)).exists(n, n > 3)",
        "finding.sources.filter(s, s != 'trivy').size() == 0",
        "double(counts.total) > 1.5 && int(finding.epss) == 0 && string(counts.low) == '1'",
        "[].exists(x, x == 1)",
    ],
)
def test_what_is_right(text):
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("findng.severity == 'high'", 0, "unknown name 'findng' (did you mean 'finding'?)"),
        ("severity == 'high'", 0, "did you mean 'finding.severity'?"),
        ("finding.sevrity == 'high'", 8, "finding has no field 'sevrity' (did you mean 'severity'?)"),
        ("image.size > 1.0", 6, "image has no field 'size' (did you mean 'size_mb'?)"),
        ("finding.epss > 'a'", 13, "'>' compares numbers; found a string"),
        ("finding.epss == 'a'", 13, "a double never equals a string"),
        ("finding.severity == 'hihg'", 20, "'hihg' never occurs here (did you mean 'high'?)"),
        ("finding.severity in ['high', 'sever']", 29, "'sever' never occurs here"),
        ("'virus' in image.scanned_for", 0, "'virus' never occurs here"),
        ("image.scanned_for.exists(k, k == 'malwar')", 33, "'malwar' never occurs here (did you mean 'malware'?)"),
        ("stage == 'buld'", 9, "(did you mean 'build'?)"),
        ("finding.severity >= 'high'", 17, 'write finding.severity_rank >= rank("high")'),
        ("finding.version < '2.0'", 16, "versions and severities would sort wrongly"),
        ("finding.sources == 'trivy'", 16, "a list of string never equals a string"),
        ("'x' in finding.title", 4, "write text.contains(part)"),
        ("finding.aliases.contains('x')", 16, "for a list write list.exists(x, x.contains(…))"),
        ("finding.age_days", 8, "a condition must be true or false; this is an int"),
        ("finding", 0, "a condition must be true or false; this is a finding"),
        ("finding == finding", 8, "cannot be compared; compare one of its fields"),
        ("finding.epss == null", 16, "nothing here is ever null"),
        ("has(finding.epss)", 12, "always there"),
        ("has(true)", 4, "asks for a label"),
        ("lenght(finding.name) > 1", 0, "unknown function 'lenght'"),
        ("contains(finding.name)", 0, "write value.contains(…)"),
        ("finding.name.lower() == 'x'", 13, "unknown method 'lower'"),
        ("finding.title.matches('(')", 22, "not a regular expression"),
        ("finding.title.matches(finding.name)", 30, "must be written out in quotes"),
        ("rank('hgih') > 1", 5, "rank() takes a severity in quotes (did you mean 'high'?)"),
        ("size(finding.epss) > 1", 0, "found a double"),
        ("size() > 1", 0, "size() takes 1 argument, not 0"),
        ("finding.epss + 1 > 2", 13, "'+' joins a double and an int"),
        ("counts.total / 0 > 1", 15, "division by zero"),
        ("!finding.name", 9, "what follows '!' is a string"),
        ("finding.name && true", 8, "a side of '&&' is a string; expected a bool"),
        ("true ? 1 : 'x'", 5, "'?:' gives an int or a string"),
        ("[1, 'x'].exists(i, i == 1)", 4, "this list holds an int and a string"),
        ("finding.sources.exists(finding, true)", 23, "already means something"),
        ("finding.sources.exists(s, size(s))", 26, "expected true or false"),
        ("finding.name.exists(s, true)", 13, "goes through a list"),
        (
            "image.tags.all(x, image.tags.all(y, image.tags.all(z, x != y && y != z)))",
            47,
            "goes through too much for a gate",
        ),
        ("{'a': true}.a", 0, "a map written out has no use"),
        ("finding.sources['a'] == 'x'", 16, "the index of a list of string is a string; expected int"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, at, message):
    found = mistakes(text)
    assert [(a, m) for a, m in found if a == at and message in m], found


def test_a_rule_over_the_image_knows_no_finding():
    assert "write 'each: finding'" in mistakes("finding.overdue", IMAGE)[0][1]


def test_all_mistakes_are_told_but_each_once():
    found = mistakes("finding.a == 1 && finding.b > 2 && findin.c.d.e == 'x'")
    assert [at for at, _ in found] == [8, 26, 35]


values = {"bool": True, "int": 3, "double": 0.5, "string": "high"}
parts = st.sampled_from(
    [
        "finding.epss", "finding.age_days", "finding.overdue", "finding.name", "finding.sources", "counts.total",
        "1", "0.5", "'high'", "true", "image.labels", "finding.severity", "[1]", "['x']",
        "rank('high')", "size(finding.sources)",
    ]
)  # fmt: skip
conditions = st.recursive(
    parts,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("&& || == != < >= in + -".split(" ")), inner),  # noqa: SIM905
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("{}.exists(x, x == {})".format, parts, inner),
    ),
    max_leaves=6,
)


def example_of(type_) -> object:
    return {"list": ["high"], "map": {"a": "b"}}.get(type_.name, values.get(type_.name))


@given(conditions)
def test_what_passes_the_check_gives_true_or_false(text):
    """The promise of a static check: no condition that passes fails for a type at the gate."""
    if mistakes(text):
        return
    variables = {name: {f: example_of(w.type) for f, w in fields.items()} for name, fields in RECORDS.items()}
    context = cel.Context(variables={**variables, "stage": "build"}, functions=dict(FUNCTIONS))
    assert isinstance(cel.compile(text).execute(context), bool)
