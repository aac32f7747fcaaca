"""Frameworks as YAML: what is taken, and every fault with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from secguard import cli
from secguard.compliance.framework import FrameworkError, load
from tests.compliance.texts import SMALL


def test_a_framework_is_read_as_it_stands() -> None:
    found = load(SMALL, {"images-scanned", "sbom-known"})
    assert (found.name, found.version) == ("own-rules", "2026-01")
    assert [part.id for part in found.sections] == ["1", "2"]
    assert [control.id for control in found.controls] == ["1.1", "1.2", "2.1"]
    assert found.checks == {"images-scanned", "sbom-known"}
    nothing = found.control("2.1")
    assert nothing is not None
    assert nothing.checks == ()
    assert nothing.unmeasured.startswith("Nobody")


@pytest.mark.parametrize(
    ("before", "after", "place", "words"),
    [
        ("name: own-rules", "name: Own Rules", (1, 7), "small letters"),
        ("https://example.org/rules", "http://example.org/rules", (4, 9), "https://"),
        ("https://example.org/rules", "javascript:alert(1)", (4, 9), "https://"),
        ("https://example.org/rules", "https://a@example.org/", (4, 9), "https://"),
        ("images-scanned, sbom-known", "images-scaned", (14, 18), "did you mean 'images-scanned'"),
        ("images-scanned, sbom-known", "sbom-known, sbom-known", (14, 30), "stands twice"),
        ("checks: [images-scanned, sbom-known]", "chekcs: [images-scanned]", (11, 9), "needs 'checks'"),
        ("checks: [images-scanned, sbom-known]", "checks: []", (14, 17), "is empty"),
        ("checks: [images-scanned, sbom-known]", "checks: [[a]]", (14, 18), "a list of 1"),
        ('id: "1.2"', 'id: "1.1"', (15, 13), "stands twice"),
        ('id: "1.2"', "id: 1.2", (15, 13), "in quotes"),
        ("unmeasured: Nobody", "checks: [sbom-known]\n        unmeasured: Nobody", (26, 21), "without any"),
        ("description: |", "descripton: |", (1, 1), "needs the key 'description'"),
    ],
)
def test_a_fault_is_told_with_its_place(before: str, after: str, place: tuple[int, int], words: str) -> None:
    assert before in SMALL
    with pytest.raises(FrameworkError) as caught:
        load(SMALL.replace(before, after, 1), {"images-scanned", "sbom-known"})
    told = [(p.line, p.column) for p in caught.value.problems if words in p.message]
    assert told == [place], caught.value.problems


def test_all_faults_are_told_at_once() -> None:
    text = SMALL.replace("name: own-rules", "name: A B").replace("https://", "ftp://").replace('id: "2.1"', 'id: "1 1"')
    with pytest.raises(FrameworkError) as caught:
        load(text)
    assert len(caught.value.problems) == 3
    assert caught.value.extra["errors"][0]["line"] == 1


def test_the_command_checks_a_file_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rules.yaml"
    for text, code, words in (
        (SMALL, 0, "own-rules 2026-01: 3 controls, 1 of them not measured, by 2 checks."),
        (SMALL.replace('id: "1.2"', 'id: "1.1"'), 1, "line 15, column 13"),
    ):
        file.write_text(text)
        assert cli.main(["compliance", "check", str(file)]) == code
        assert words in capsys.readouterr().out
    assert cli.main(["compliance", "check", str(tmp_path / "none.yaml")]) == 2
