"""docs/compliance.md: its framework can be used as it stands, and its bounds are those that hold."""

from __future__ import annotations

import re
from pathlib import Path

from secguard.compliance import framework, pdf, report
from secguard.planning.checks import CHECKS

TEXT = (Path(__file__).parents[2] / "docs" / "compliance.md").read_text()


def test_the_framework_can_be_used() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.M | re.S)
    assert [control.id for control in framework.load(text, CHECKS).controls] == ["1.1", "1.2", "2.1"]


def test_its_numbers_are_those_of_the_code() -> None:
    bounds = f"at most {framework.MAX_SECTIONS} sections, {framework.MAX_CONTROLS} controls and 256 KiB"
    assert f"{bounds}; a control at most {framework.MAX_CHECKS} checks" in TEXT
    assert f"the {report.MAX_MEASURES:,} worst measurements at\nmost, and its PDF prints {pdf.PRINTED} of them" in TEXT
