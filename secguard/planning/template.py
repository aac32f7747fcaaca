"""Templates of security requirements: YAML, read as a whole, every fault with its line and column. Pure.

name: containers
title: An application in containers
description: What it is for.
requirements:
  - id: images-scanned
    stage: build                   # plan, build, register, run, network or log
    title: Scan every image before it runs
    about: What is to be done, and why.
    source: NIST SP 800-190, 4.1.1
    check: images-scanned          # what SecGuard measures by itself; a person answers where it is left out
    answer_days: 365               # how long a person's answer holds
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from secguard.yamlsource import Section, Source, SourceError, did_you_mean, parse

MAX_BYTES: Final = 256 * 1024
MAX_REQUIREMENTS: Final = 200
DEFAULT_DAYS: Final = 365
MOST_DAYS: Final = 730
SHIPPED: Final = "containers"
"""The template that comes with the product; it carries the name of its file."""
_FOLDER: Final = Path(__file__).resolve().parent / "templates"
_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class Stage(StrEnum):
    """The stages of a container's life, in their order."""

    PLAN = "plan"
    BUILD = "build"
    REGISTER = "register"
    RUN = "run"
    NETWORK = "network"
    LOG = "log"


class Requirement(Struct, frozen=True, kw_only=True):
    """One thing that is asked of an application."""

    id: str
    stage: Stage
    title: str
    about: str
    source: str = ""
    check: str = ""
    """The measured check; a person answers where there is none, or where it cannot tell."""
    answer_days: int = DEFAULT_DAYS

    @property
    def digest(self) -> str:
        """Of what is asked: an answer holds as long as its question stays the same."""
        return hashlib.sha256(f"{self.title.strip()}\n{' '.join(self.about.split())}".encode()).hexdigest()[:32]


class Template(Struct, frozen=True, kw_only=True):
    name: str
    title: str
    description: str = ""
    requirements: tuple[Requirement, ...]

    def requirement(self, id_: str) -> Requirement | None:
        return next((r for r in self.requirements if r.id == id_), None)


class TemplateError(SourceError):
    """A template that cannot be used."""

    says = "The template cannot be used"
    kind = "template"


def parse_template(text: str, checks: Collection[str] | None = None) -> Template:
    """The template that ``text`` is. ``checks`` are the names that there are; none are looked at where it is None.

    Raises ``TemplateError`` with every fault.
    """
    source = Source(text)
    node = parse(source, MAX_BYTES)
    template = _read(Section(source, node, "the template"), checks) if node is not None else None
    if source.problems or template is None:
        raise TemplateError(source.problems)
    return template


@lru_cache(maxsize=64)
def kept_template(text: str) -> Template:
    """``parse_template`` of a text that was written down: read once by each process."""
    return parse_template(text)


@lru_cache(maxsize=1)
def shipped() -> str:
    """The text of the template that comes with the product."""
    return (_FOLDER / f"{SHIPPED}.yaml").read_text(encoding="utf-8")


def _read(top: Section, checks: Collection[str] | None) -> Template:
    name = _slug(top, "name", 60)
    title = top.take_text("title", required=True, max_length=120)
    description = top.take_text("description", max_length=2_000)
    found: list[Requirement] = []
    seen: set[str] = set()
    for section in top.take_sections("requirements", "requirement", MAX_REQUIREMENTS):
        one = _requirement(section, checks)
        if one.id and one.id in seen:
            section.fault("id", f"{one.id!r} stands twice; every requirement has an id of its own")
        seen.add(one.id)
        found.append(one)
    top.close()
    return Template(name=name, title=title, description=description.strip(), requirements=tuple(found))


def _requirement(section: Section, checks: Collection[str] | None) -> Requirement:
    id_ = _slug(section, "id", 60)
    stage = section.take_choice("stage", [s.value for s in Stage], required=True)
    title = section.take_text("title", required=True, max_length=160)
    about = section.take_text("about", required=True, max_length=2_000)
    source = section.take_text("source", max_length=300)
    check = section.take_text("check", max_length=60)
    if check and checks is not None and check not in checks:
        hint = did_you_mean(check, checks)
        section.fault("check", f"there is no check {check!r}{hint}. Known: {', '.join(sorted(checks))}")
    days = section.take_count("answer_days", 1, MOST_DAYS)
    section.close()
    return Requirement(
        id=id_,
        stage=Stage(stage) if stage else Stage.PLAN,
        title=title.strip(),
        about=about.strip(),
        source=source.strip(),
        check=check,
        answer_days=DEFAULT_DAYS if days is None else days,
    )


def _slug(section: Section, key: str, most: int) -> str:
    found = section.take_text(key, required=True, max_length=most)
    if found and not _ID.fullmatch(found):
        section.fault(key, f"{key!r} is {found!r}; expected small letters, digits and single '-' between them")
        return ""
    return found
