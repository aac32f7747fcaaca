"""docs/report-formats.md names every reader, so that what is read can be looked up."""

from __future__ import annotations

import re
from pathlib import Path

from secguard.scans.readers import formats

PAGE = Path(__file__).parents[2] / "docs" / "report-formats.md"


def test_the_page_lists_exactly_the_formats_that_are_read():
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(formats())
