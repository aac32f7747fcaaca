"""The parts of a canonical package URL (purl-spec, "Rules for each purl component"), without parsing it anew."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote


class Coordinates(NamedTuple):
    type: str
    name: str
    version: str
    package: str
    """The purl without its version."""


def coordinates(purl: str) -> Coordinates:
    """Split a purl that has no qualifiers and no subpath, and is quoted as the specification says.

    There every ``@`` and ``/`` that stands for itself is percent-encoded, so what is left separates.
    """
    package, at, version = purl.rpartition("@")
    if not at:
        package, version = purl, ""
    type_, _, rest = package.removeprefix("pkg:").partition("/")
    return Coordinates(type_, unquote(rest.rpartition("/")[2]), unquote(version), package)
