"""SSVC tables, what is derived for them, and deadlines by them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions import ssvc
from secguard.decisions.appetite import Appetite, AppetiteError, Case, parse_appetite
from secguard.decisions.deadlines import longer_for_worse
from secguard.decisions.ssvc import ASSUMED, PUBLISHED, VALUES, Held, Point, published
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity

REST = "rows:\n  - {name: rest, approvers: {security-reviewer: 1}, max_days: 30, fix_within_days: 45}\n"
CISA_DAYS = '{act: 7, attend: 30, "track*": 90, track: none}'
WORST = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
FLAW = Case(severity=Severity.LOW)


def appetite(section: str) -> Appetite:
    return parse_appetite(f"name: ours\n{REST}ssvc:\n{section}")


def faults(section: str) -> list[str]:
    with pytest.raises(AppetiteError) as caught:
        appetite(section)
    return [str(p) for p in caught.value.problems]


def own(rows: str, days: str = "{act: 7, track: none}") -> str:
    return f"  table: own\n  fix_within_days: {days}\n  rows:\n{rows}"


# --- the published tables ---


@pytest.mark.parametrize(("name", "size"), [("cisa", 36), ("deployer", 72)])
def test_a_published_table_has_a_row_for_every_combination_and_names_its_source(name: str, size: int) -> None:
    table = published(name)
    assert set(table.combinations()) == set(table.cells)
    assert len(table.cells) == size
    assert table.source.startswith("C")
    assert "CERTCC/SSVC" in table.source
    rows = (Path(ssvc.__file__).parent / "ssvc_tables" / f"{name}.csv").read_text().splitlines()
    numbers = [row[0] for row in csv.reader(rows) if row[0].isdigit()]
    assert numbers == [str(n) for n in range(size)]


def test_what_was_published_never_gives_the_worse_more_time() -> None:
    cisa = {"track": None, "track*": 90, "attend": 30, "act": 7}
    deployer = {"defer": None, "scheduled": 90, "out-of-cycle": 30, "immediate": 7}
    assert longer_for_worse(published("cisa"), cisa) == []
    assert longer_for_worse(published("deployer"), deployer) == []


@pytest.mark.parametrize(
    ("name", "combination", "outcome"),
    [
        ("cisa", ("none", "no", "partial", "low"), "track"),
        ("cisa", ("none", "no", "total", "high"), "track*"),
        ("cisa", ("active", "no", "total", "medium"), "attend"),
        ("cisa", ("active", "yes", "total", "high"), "act"),
        ("deployer", ("none", "small", "no", "medium"), "defer"),
        ("deployer", ("poc", "open", "yes", "high"), "out-of-cycle"),
        ("deployer", ("active", "open", "no", "very-high"), "immediate"),
        ("deployer", ("active", "controlled", "no", "medium"), "scheduled"),
    ],
)
def test_what_the_tables_say(name: str, combination: tuple[str, ...], outcome: str) -> None:
    assert published(name).cells[combination].outcome == outcome


# --- what is derived ---


@pytest.mark.parametrize(
    ("held", "value"),
    [
        (Held(known_exploited=True, epss=0.0), "active"),
        (Held(has_exploit=True, epss=0.0), "poc"),
        (Held(epss=0.1), "poc"),
        (Held(epss=0.0999), "none"),
    ],
)
def test_exploitation(held: Held, value: str) -> None:
    found = ssvc.exploitation(held)
    assert found
    assert found[0] == value
    assert ssvc.exploitation(Held()) is None


@pytest.mark.parametrize(
    ("vector", "automatable", "impact"),
    [
        (WORST, "yes", "total"),
        ("CVSS:3.0/AV:L/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N", "no", "total"),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:L/A:N", "no", "total"),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:L/A:H", "no", "partial"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", "no", "partial"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", "yes", "partial"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "yes", "total"),
        ("CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:H/VI:N/VA:H/SC:N/SI:N/SA:N", "no", "partial"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/AU:N", "no", "total"),
        ("(AV:N/AC:L/Au:N/C:C/I:C/A:C)", "yes", "total"),
        ("AV:N/AC:M/Au:S/C:C/I:P/A:C", "no", "partial"),
    ],
)
def test_what_the_vector_says(vector: str, automatable: str, impact: str) -> None:
    held = Held(vector=vector)
    found = ssvc.automatable(held), ssvc.technical_impact(held)
    assert [f and f[0] for f in found] == [automatable, impact]


@given(st.text(max_size=60) | st.sampled_from(["CVSS:3.1/AV:N", "CVSS:9.9/AV:N", "/", "AV:N/AC:L", "CVSS:"]))
def test_no_text_is_too_odd_for_a_vector(text: str) -> None:
    for derive in (ssvc.automatable, ssvc.technical_impact):
        found = derive(Held(vector=text))
        assert found is None or found[0] in ("yes", "no", "partial", "total")


def test_what_nobody_knows_takes_the_worse_and_says_so() -> None:
    found = appetite(f"  table: cisa\n  fix_within_days: {CISA_DAYS}\n").deadline(FLAW, Held())
    assert {i.point: i.value for i in found.inputs} == {p: v for p, v in ASSUMED.items() if p is not Point.EXPOSURE}
    assert all(i.is_assumed for i in found.inputs)
    assert found.words == (
        "cisa row 23: exploitation poc (assumed), automatable yes (assumed), technical impact total (assumed), "
        "mission impact high (assumed); attend, 30 days"
    )


def test_what_is_assumed_may_be_said() -> None:
    section = f"  table: cisa\n  fix_within_days: {CISA_DAYS}\n  assume: {{exploitation: none, automatable: no}}\n"
    found = appetite(section).deadline(FLAW, Held())
    assert [i.value for i in found.inputs] == ["none", "no", "total", "high"]


def test_the_application_decides_exposure_and_impact() -> None:
    section = """\
  table: deployer
  fix_within_days: {immediate: 2, out-of-cycle: 14, scheduled: 60, defer: none}
  impact: low
  applications:
    shop: {impact: very-high}
    batch: {exposure: small}
"""
    ours = appetite(section)
    held = Held(known_exploited=True, vector=WORST, is_exposed=True)
    found = {slug: ours.deadline(FLAW, held._replace(application=slug)) for slug in ("shop", "batch", "other")}
    assert {slug: (d.outcome, d.days) for slug, d in found.items()} == {
        "shop": ("immediate", 2),
        "batch": ("scheduled", 60),
        "other": ("out-of-cycle", 14),
    }
    assert not any(i.is_assumed for d in found.values() for i in d.inputs)
    inside = ours.deadline(FLAW, held._replace(application="other", is_exposed=False))
    assert "exposure controlled" in inside.words
    assert "exposure open (assumed)" in ours.deadline(FLAW, held).words


def test_what_is_no_vulnerability_keeps_its_row() -> None:
    ours = appetite(f"  table: cisa\n  fix_within_days: {CISA_DAYS}\n")
    found = ours.deadline(Case(severity=Severity.LOW, kind=FindingKind.SECRET), Held())
    assert (found.row, found.days, found.words) == ("rest", 45, "row rest: 45 days")


# --- the section of the appetite ---


def test_faults_have_their_place() -> None:
    assert faults("  table: cisa\n  fix_within_days: {act: 7, atend: 30}\n") == [
        "line 6, column 20: 'fix_within_days' of 'ssvc' does not say how long track, track*, attend may stand; "
        "expected a number of days, or none",
        "line 6, column 29: the table cisa has no outcome 'atend' (did you mean 'attend'?); it has track, track*, "
        "attend, act",
    ]
    assert faults("  table: cissa\n  fix_within_days: {}\n")[0].startswith(
        "line 5, column 10: 'table' is 'cissa' (did you mean 'cisa'?)"
    )
    found = faults(f"  table: cisa\n  fix_within_days: {CISA_DAYS}\n  impact: very-high\n")
    assert found == [
        "line 7, column 11: 'impact' is 'very-high' (did you mean 'high'?); expected one of low, medium, high"
    ]
    found = faults(f"  table: cisa\n  fix_within_days: {CISA_DAYS}\n  applications: {{shop: {{impakt: low}}}}\n")
    assert found[0].startswith("line 7, column 25: the application 'shop' has no key 'impakt' (did you mean 'impact'?)")
    found = faults('  table: cisa\n  fix_within_days: {act: 0, attend: soon, "track*": 90, track: none}\n')
    assert [f.partition(":")[0] for f in found] == ["line 6, column 26", "line 6, column 37"]
    assert faults(f"  table: cisa\n  fix_within_days: {CISA_DAYS}\n  rows: [{{name: a, outcome: act}}]\n") == [
        "line 7, column 9: rows stand in a table of one's own; say 'table: own', or leave them out"
    ]


def test_a_table_of_ones_own() -> None:
    rows = """\
    - {name: now, when: {exploitation: active, exposure: [open, controlled]}, outcome: act}
    - {name: automatic, when: {automatable: yes, impact: [high, very-high]}, outcome: act}
    - {name: rest, outcome: track}
"""
    ours = appetite(own(rows))
    assert ours.warnings == ()
    assert ours.deadline(FLAW, Held(known_exploited=True, application="a")).row == "own now"
    assert ours.deadline(FLAW, Held(epss=0.0, vector=WORST, application="a")).row == "own automatic"
    quiet = Held(epss=0.0, vector=WORST.replace("PR:N", "PR:H"), application="a")
    assert (ours.deadline(FLAW, quiet).row, ours.deadline(FLAW, quiet).days) == ("own rest", None)


def test_a_table_of_ones_own_is_complete_and_each_row_is_reached() -> None:
    found = faults(own("    - {name: now, when: {exploitation: active}, outcome: act}\n", "{act: 7}"))
    assert found == [
        "line 8, column 7: 96 of 144 combinations have no row (such as exploitation poc, exposure open, automatable "
        "yes, technical_impact total, impact very-high); end with a row that has no 'when'"
    ]
    rows = "    - {name: all, outcome: act}\n    - {name: late, when: {impact: low}, outcome: track}\n"
    assert faults(own(rows)) == [
        "line 9, column 14: the row 'late' can never be reached: rows before it took all it fits"
    ]
    rows = "    - {name: a, when: {impact: low}, outcome: act}\n    - {name: a, outcome: track}\n"
    assert "row 1 already has the name 'a'" in faults(own(rows))[0]


def test_more_time_for_what_is_worse_is_warned_of() -> None:
    rows = "    - {name: odd, when: {exploitation: active}, outcome: track}\n    - {name: rest, outcome: act}\n"
    warned = appetite(own(rows)).warnings
    assert [str(w) for w in warned] == [
        "line 6, column 20: exploitation active (odd: no deadline) has more time than poc (rest: 7 days), the rest "
        "being the same"
    ]


@given(
    st.builds(
        Held,
        known_exploited=st.booleans(),
        epss=st.none() | st.floats(0, 1),
        has_exploit=st.booleans(),
        vector=st.sampled_from(["", WORST, WORST.replace("UI:N", "UI:R"), WORST.replace("C:H/I:H", "C:L/I:N")]),
        application=st.sampled_from(["", "shop"]),
        is_exposed=st.booleans(),
    ),
    st.sampled_from(PUBLISHED),
)
def test_no_fact_that_comes_to_light_for_the_better_shortens_it(held: Held, name: str) -> None:
    days = {"act": 7, "attend": 30, "track*": 90, "track": "none"}
    if name == "deployer":
        days = {"immediate": 7, "out-of-cycle": 30, "scheduled": 90, "defer": "none"}
    told = ", ".join(f'"{k}": {v}' for k, v in days.items())
    ours = appetite(f"  table: {name}\n  fix_within_days: {{{told}}}\n  impact: high\n")
    worse = held._replace(known_exploited=True)
    assert (ours.deadline(FLAW, worse).days or 9999) <= (ours.deadline(FLAW, held).days or 9999)
    for point in ours.deadline(FLAW, held).inputs:
        assert point.value in VALUES[point.point]
