"""Frameworks of controls: YAML, read as a whole, every fault with its line and column. Pure.

name: nist-800-190                 # small letters, digits and single '-' between them
title: NIST SP 800-190, Application Container Security Guide
version: "2017-09"                 # of the source
source: https://doi.org/10.6028/NIST.SP.800-190
description: What it is for.
sections:
  - id: "4.1"
    title: Image countermeasures
    controls:
      - id: "4.1.1"                # once in the framework
        title: Image vulnerabilities
        about: What it asks, in own words, and what to do about it.
        checks: [images-scanned]   # what SecGuard measures (planning.checks); all count, and the worst wins
      - id: "4.1.9"
        title: Something that nothing here can tell
        about: What it asks.
        unmeasured: Why nothing here can tell. The control is "not measured", always.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from yaml.nodes import ScalarNode, SequenceNode

from secguard.yamlsource import Section, Source, SourceError, describe, did_you_mean, parse

MAX_BYTES: Final = 256 * 1024
MAX_SECTIONS: Final = 40
MAX_CONTROLS: Final = 200
"""In the whole framework."""
MAX_CHECKS: Final = 12
"""Of one control."""
MAX_ID: Final = 40
FOLDER: Final = Path(__file__).resolve().parent / "frameworks"
"""The frameworks that come with the product, one a file; each file bears the name of its framework."""
_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_ID: Final = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


class Control(Struct, frozen=True, kw_only=True):
    """One thing that a framework asks for."""

    id: str
    title: str
    about: str
    checks: tuple[str, ...] = ()
    """Names of measured checks; all count, and the worst wins."""
    unmeasured: str = ""
    """Why nothing here can tell, where there are no checks."""


class Part(Struct, frozen=True, kw_only=True):
    """A section of a framework: controls that stand under one heading."""

    id: str
    title: str
    controls: tuple[Control, ...]


class Framework(Struct, frozen=True, kw_only=True):
    name: str
    title: str
    version: str
    """Of the source, in its own words."""
    source: str
    """The https address of what it was written from."""
    description: str
    sections: tuple[Part, ...]

    @property
    def controls(self) -> tuple[Control, ...]:
        """All of them, in their order."""
        return tuple(control for part in self.sections for control in part.controls)

    def control(self, id_: str) -> Control | None:
        return next((control for control in self.controls if control.id == id_), None)

    @property
    def checks(self) -> frozenset[str]:
        """Every check that one of its controls names."""
        return frozenset(name for control in self.controls for name in control.checks)


class FrameworkError(SourceError):
    """A framework that cannot be used."""

    says = "The framework cannot be used"
    kind = "framework"


def load(text: str, checks: Collection[str] | None = None) -> Framework:
    """The framework that ``text`` is. ``checks`` are the names that there are; none are looked at where it is None.

    Raises ``FrameworkError`` with every fault.
    """
    source = Source(text)
    node = parse(source, MAX_BYTES)
    framework = _read(Section(source, node, "the framework"), checks) if node is not None else None
    if source.problems or framework is None:
        raise FrameworkError(source.problems)
    return framework


@lru_cache(maxsize=64)
def kept_framework(text: str) -> Framework:
    """``load`` of a text that was written down: read once by each process."""
    return load(text)


@lru_cache(maxsize=1)
def shipped() -> dict[str, str]:
    """{name: text} of the frameworks that come with the product, in the order of their names."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}


def digest_of(text: str) -> str:
    """What a text is known by: ``sha256:…`` of its bytes."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _read(top: Section, checks: Collection[str] | None) -> Framework:
    name = _word(top, "name", 60, _NAME, "small letters, digits and single '-' between them")
    title = top.take_text("title", required=True, max_length=160).strip()
    version = top.take_text("version", required=True, max_length=40).strip()
    address = _address(top)
    description = top.take_text("description", required=True, max_length=4_000).strip()
    seen: set[str] = set()
    parts: list[Part] = []
    for section in top.take_sections("sections", "section", MAX_SECTIONS):
        parts.append(_part(section, checks, seen, [part.id for part in parts]))
    if len(seen) > MAX_CONTROLS:
        top.fault("sections", f"the framework has {len(seen)} controls; at most {MAX_CONTROLS} are taken")
    top.close()
    return Framework(
        name=name, title=title, version=version, source=address, description=description, sections=tuple(parts)
    )


def _part(section: Section, checks: Collection[str] | None, seen: set[str], earlier: Collection[str]) -> Part:
    id_ = _id(section)
    if id_ in earlier:
        section.fault("id", f"the section {id_!r} stands twice; every section has an id of its own")
    title = section.take_text("title", required=True, max_length=160).strip()
    controls = []
    for one in section.take_sections("controls", "control", MAX_CONTROLS):
        control = _control(one, checks)
        if control.id and control.id in seen:
            one.fault("id", f"the control {control.id!r} stands twice; every control has an id of its own")
        seen.add(control.id)
        controls.append(control)
    section.close()
    return Part(id=id_, title=title, controls=tuple(controls))


def _control(section: Section, checks: Collection[str] | None) -> Control:
    id_ = _id(section)
    title = section.take_text("title", required=True, max_length=200).strip()
    about = section.take_text("about", required=True, max_length=4_000).strip()
    # Asked for before its absence is judged, so that a list that is at fault is not also called missing.
    names = tuple(_checks(section, checks))
    why = section.take_text("unmeasured", max_length=1_000).strip()
    has_checks, has_why = section.node_of("checks") is not None, section.node_of("unmeasured") is not None
    if not has_checks and not has_why:
        section.fault("", f"{section.what} needs 'checks', or 'unmeasured' with why nothing here can tell")
    elif has_checks and has_why:
        section.fault("unmeasured", f"{section.what} has checks; 'unmeasured' is for a control without any")
    section.close()
    return Control(id=id_, title=title, about=about, checks=names, unmeasured=why)


def _checks(section: Section, known: Collection[str] | None) -> Iterator[str]:
    names = section.take_texts("checks", MAX_CHECKS, max_length=60)
    node = section.node_of("checks")
    if node is not None and not names and isinstance(node, SequenceNode):
        section.fault("checks", "'checks' is empty; leave it out, and say under 'unmeasured' why nothing can tell")
    nodes = node.value if isinstance(node, SequenceNode) else [node]
    scalars = [one for one in nodes if isinstance(one, ScalarNode)]
    for index, (name, place) in enumerate(zip(names, scalars, strict=False)):
        if name in names[:index]:
            section.source.fault(place, f"{describe(place)} stands twice in 'checks'")
        elif known is not None and name not in known:
            hint = did_you_mean(name, known)
            section.source.fault(place, f"there is no check {name[:60]!r}{hint}. Known: {', '.join(sorted(known))}")
        yield name


def _id(section: Section) -> str:
    return _word(section, "id", MAX_ID, _ID, "letters and digits with single '.', '-' or '_' between them, in quotes")


def _word(section: Section, key: str, most: int, form: re.Pattern[str], expected: str) -> str:
    found = section.take_text(key, required=True, max_length=most)
    if found and not form.fullmatch(found):
        section.fault(key, f"{key!r} is {found!r}; expected {expected}")
        return ""
    return found


def _address(top: Section) -> str:
    found = top.take_text("source", required=True, max_length=300).strip()
    if not found:
        return ""
    try:
        parts = urlsplit(found)
        is_taken = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_taken = False
    if not is_taken or any(c.isspace() or ord(c) < 0x20 for c in found):
        top.fault("source", f"'source' is {found[:80]!r}; expected an address that begins with https://")
        return ""
    return found
