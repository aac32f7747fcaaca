"""CISA's catalogue of known exploited vulnerabilities, as JSON or CSV. Pure.

Fields: cisa.gov/known-exploited-vulnerabilities-catalog.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from msgspec import Struct

from secguard.advisories.entry import MAX_SUMMARY, Malformed, moment, tidy_name
from secguard.advisories.naming import is_cve

MOST = 50_000
"""Entries; the catalogue had 1,400 in 2025."""


class Exploited(Struct, frozen=True, gc=False):
    name: str
    vendor: str = ""
    product: str = ""
    title: str = ""
    required_action: str = ""
    is_ransomware: bool = False
    added_on: date | None = None
    due_on: date | None = None


class Catalogue(Struct, frozen=True):
    entries: tuple[Exploited, ...]
    faults: tuple[str, ...] = ()
    """Why entries were left out; a catalogue with any is not whole, so nothing is taken back by it."""
    released_at: datetime | None = None
    is_counted: bool = False
    """It says how many entries it has. The CSV form does not, so one that was cut off looks whole: it takes nothing
    back."""


def is_catalogue(document: Any) -> bool:
    return isinstance(document, Mapping) and "catalogVersion" in document and "vulnerabilities" in document


def read(document: Mapping[str, Any]) -> Catalogue:
    """The JSON form. Raises ``Malformed`` where there is no list of entries, or an empty one."""
    listed = document.get("vulnerabilities")
    if not isinstance(listed, list) or not listed or len(listed) > MOST:
        raise Malformed(f"expected 1 to {MOST:,} entries under vulnerabilities")
    entries, faults = _entries(listed)
    count = document.get("count")
    if isinstance(count, int) and count != len(listed):
        faults = (*faults, f"says that it has {count:,} entries and has {len(listed):,}")
    return Catalogue(entries, faults, moment(document.get("dateReleased")), isinstance(count, int))


def read_csv(lines: Iterable[str]) -> Catalogue:
    """The CSV form, with its heading. Raises ``Malformed`` where it holds no entry."""
    listed: list[Any] = []
    for row in csv.DictReader(lines):
        listed.append(row)
        if len(listed) > MOST:
            raise Malformed(f"has more than {MOST:,} entries")
    if not listed:
        raise Malformed("has a heading and no entry")
    return Catalogue(*_entries(listed))


def _entries(listed: Iterable[Any]) -> tuple[tuple[Exploited, ...], tuple[str, ...]]:
    found: dict[str, Exploited] = {}
    faults: list[str] = []
    for number, row in enumerate(listed, start=1):
        name = tidy_name(row["cveID"]) if isinstance(row, Mapping) and isinstance(row.get("cveID"), str) else ""
        if not is_cve(name):
            faults.append(f"entry {number}: no CVE under cveID")
            continue
        found[name] = Exploited(
            name,
            _text(row, "vendorProject", 200),
            _text(row, "product", 200),
            _text(row, "vulnerabilityName", MAX_SUMMARY),
            _text(row, "requiredAction", 4000),
            _text(row, "knownRansomwareCampaignUse", 20) == "Known",
            _day(row.get("dateAdded")),
            _day(row.get("dueDate")),
        )
    return tuple(found.values()), tuple(faults)


def _text(row: Mapping[str, Any], key: str, most: int) -> str:
    value = row.get(key)
    return value.strip().replace("\0", "")[:most] if isinstance(value, str) else ""


def _day(value: Any) -> date | None:
    found = moment(value)
    return found.date() if found else None
