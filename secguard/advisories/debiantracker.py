"""Debian's security tracker as one JSON document (security-tracker.debian.org/tracker/data/json). Pure.

``fixed_version`` 0 says that the release never was affected; ``undetermined`` that nobody knows yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from secguard import packagenames
from secguard.advisories.entry import MAX_SUMMARY, Affected, Entry, Event, flaws_of, tidy_name


def is_package(value: Any) -> bool:
    """True for what stands under a package's name: flaws with their releases."""
    first = next(iter(value.values()), None) if isinstance(value, Mapping) else None
    return isinstance(first, Mapping) and "releases" in first


def read(package: str, flaws: Mapping[str, Any]) -> Iterator[Entry | str]:
    """One entry for each flaw of a source package, or a text saying what could not be taken."""
    for name, told in flaws.items():
        flaw = tidy_name(name)
        releases = told.get("releases") if isinstance(told, Mapping) else None
        if not flaw or not isinstance(releases, Mapping) or len(package) + len(flaw) > 140:
            yield f"{package[:60]}: {name[:60]} has no releases"
            continue
        description = told.get("description")
        yield Entry(
            id=f"{flaw} in {package}",
            flaws=flaws_of(flaw, ()),
            affected=tuple(a for r, s in releases.items() if (a := _affected(package, r, s))),
            summary=description[:MAX_SUMMARY] if isinstance(description, str) else "",
        )


def _affected(package: str, release: str, state: Any) -> Affected | None:
    if not isinstance(state, Mapping):
        return None
    number = packagenames.DEBIAN_SERIES.get(release, release)
    urgency = state.get("urgency")
    word = urgency.rstrip("*")[:20] if isinstance(urgency, str) else ""
    word = "" if word in ("not yet assigned", "end-of-life") else word
    return Affected(f"Debian:{number}", package, _ranges(state), (), word)


def _ranges(state: Mapping[str, Any]) -> tuple[tuple[Event, ...], ...]:
    if state.get("status") == "undetermined":
        return ()
    fixed = state.get("fixed_version")
    begin: Event = ("introduced", "0")
    if state.get("status") == "resolved" and isinstance(fixed, str) and fixed:
        return ((begin, ("fixed", fixed)),)
    return ((begin,),)
