"""FIRST's Exploit Prediction Scoring System: the daily CSV, with or without its first comment, and the API's JSON.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from secguard.advisories.entry import Malformed, moment
from secguard.advisories.naming import is_cve


class Score(NamedTuple):
    name: str
    score: float
    """Probability 0..1 of exploitation within 30 days."""
    percentile: float


_DATE = re.compile(r"score_date:([0-9T:.+Z-]+)")
HEADING = ("cve", "epss", "percentile")


def dated(comment: str) -> datetime | None:
    """The day of the scores, from the CSV's first line ``#model_version:…,score_date:…``."""
    found = _DATE.search(comment)
    return moment(re.sub(r"([+-]\d{2})(\d{2})$", r"\1:\2", found[1])) if found else None


def rows(lines: Iterable[str]) -> Iterator[Score | str]:
    """Each row of the CSV behind its comment, or a text saying why it is none. Raises ``Malformed`` on the heading."""
    numbered = enumerate((line.strip() for line in lines), start=1)
    for number, line in numbered:
        if line and not line.startswith("#"):
            if tuple(line.lower().split(",")[:3]) != HEADING:
                raise Malformed(f"line {number}: the heading is {line[:60]!r}; expected {','.join(HEADING)}")
            break
    for number, line in numbered:
        if line and not line.startswith("#"):
            yield _row(line.split(",")) or f"line {number}: {line[:60]!r} is no CVE with two numbers from 0 to 1"


def is_answer(document: Any) -> bool:
    data = document.get("data") if isinstance(document, Mapping) else None
    return isinstance(data, list) and bool(data) and isinstance(data[0], Mapping) and "epss" in data[0]


def answer_rows(document: Mapping[str, Any]) -> Iterator[Score | str]:
    """The rows of the API's answer (api.first.org/epss)."""
    for number, row in enumerate(document["data"], start=1):
        parts = [row.get(k) for k in HEADING] if isinstance(row, Mapping) else []
        yield _row(parts) or f"entry {number} is no CVE with two numbers from 0 to 1"


def answer_date(document: Mapping[str, Any]) -> datetime | None:
    first = document["data"][0]
    return moment(first.get("date")) if isinstance(first, Mapping) else None


def _row(parts: list[Any]) -> Score | None:
    try:
        name, score, percentile = str(parts[0]).strip(), float(parts[1]), float(parts[2])
    except (IndexError, ValueError, TypeError):
        return None
    right = len(name) <= 30 and is_cve(name) and 0.0 <= score <= 1.0 and 0.0 <= percentile <= 1.0
    return Score(name, score, percentile) if right else None
