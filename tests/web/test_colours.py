"""What stands side by side in a chart is told apart, also by readers who see fewer colours.

A deficiency is simulated as Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color
Vision Deficiency" (2009), give it at full severity; differences are Euclidean in OKLab (0 to 1).
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from secguard.dashboards.views import compliance

STATIC = Path(__file__).parent.parent.parent / "static"
CHARTS = (STATIC / "js/charts.js").read_text()
LEAST = 0.06
VISIONS = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
OKLAB = (
    (0.2104542553, 0.793617785, -0.0040720468),
    (1.9779984951, -2.428592205, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.808675766),
)
Triple = tuple[float, ...]


def times(matrix: tuple[Triple, ...], vector: Triple) -> Triple:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def seen(colour: str, vision: str) -> Triple:
    """A colour (``#rrggbb``) as somebody sees it, in OKLab."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = tuple(p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    shown = tuple(min(1.0, max(0.0, part)) for part in times(VISIONS[vision], linear))
    return times(OKLAB, tuple(part ** (1 / 3) for part in times(CONES, shown)))


def tokens() -> dict[str, dict[str, str]]:
    """{theme: {tone: colour}}, as the style sheet has them: the light ones come first."""
    found = re.findall(r"--sg-(\w+): (#[0-9a-f]{6});", (STATIC / "css/secguard.css").read_text())
    light: dict[str, str] = {}
    dark: dict[str, str] = {}
    for name, colour in found:
        (dark if name in light else light)[name] = colour
    return {"light": light, "dark": dark}


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_deadlines_are_told_apart_by_colour_or_by_hatching(theme: str, vision: str) -> None:
    hatched = set(re.findall(r'"(\w+)"', re.search(r"HATCHED = new Set\((.*)\)", CHARTS)[1]))  # type: ignore[index]
    colours = tokens()[theme]
    for one, other in combinations(sorted(compliance.DEADLINE_TONES.values()), 2):
        a, b = (seen(colours[tone], vision) for tone in (one, other))
        apart = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5
        assert apart >= LEAST or (one in hatched) != (other in hatched), f"{one} and {other}: {apart:.3f}"
