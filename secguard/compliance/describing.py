"""The shipped frameworks in Markdown: what measures each control, and why nothing measures the others. Pure.

``python -m secguard.compliance.describing`` writes what docs/compliance-frameworks.md ends with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from secguard.compliance.framework import Control, Framework, kept_framework, shipped


def describe(frameworks: Iterable[Framework]) -> str:
    """A heading, a count and a table for each framework."""
    return "\n".join(_framework(one) for one in frameworks)


def _framework(one: Framework) -> str:
    measured = sum(bool(control.checks) for control in one.controls)
    lines = [
        f"## {one.title}",
        "",
        f"`{one.name}`, version {one.version} of [its source]({one.source}): {len(one.controls)} controls, {measured} "
        f"of them measured.",
        "",
        "| control | what it asks for | measured by | not measured, because |",
        "|---|---|---|---|",
        *(_row(control) for control in one.controls),
        "",
    ]
    return "\n".join(lines)


def _row(control: Control) -> str:
    checks = ", ".join(f"`{name}`" for name in control.checks)
    cells = (control.id, control.title, checks, " ".join(control.unmeasured.split()))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(describe(kept_framework(text) for text in shipped().values()))
