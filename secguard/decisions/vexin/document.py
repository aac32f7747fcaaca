"""The one form in which every VEX document is read: who says what of which vulnerability in which product. Pure.

A statement here is about one vulnerability and one product; a document that names ten products in one statement gives
ten. Sources: OpenVEX 0.2.0 (github.com/openvex/spec), CSAF 2.0 (OASIS, profile 5 "VEX"), CycloneDX 1.4 to 1.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from secguard.errors import Invalid, TooLarge

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_STATEMENTS: Final = 20_000
MAX_TEXT: Final = 4_000
"""Characters that are kept of a statement's own words."""
MAX_NAME: Final = 2_000
MAX_PARTS: Final = 2_000
"""Subcomponents of one product."""
MAX_PARTS_IN_ALL: Final = 500_000
READ: Final = (
    "Read are OpenVEX, CSAF 2.0 (csaf_vex), CycloneDX 1.4 to 1.6, .trivyignore, .trivyignore.yaml and .grype.yaml"
)


class Status(StrEnum):
    """The four of VEX, and what a scanner's own list of ignored ids says, which claims none of them."""

    NOT_AFFECTED = "not_affected"
    AFFECTED = "affected"
    FIXED = "fixed"
    UNDER_INVESTIGATION = "under_investigation"
    IGNORED = "ignored"


class Product(Struct, frozen=True, kw_only=True):
    """What a statement is about: an image, a repository or a package, as far as the document names it."""

    purls: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """Of the image, as ``sha256:<hex>``."""
    name: str = ""
    """As a person would know it. It identifies nothing, except the package that a scanner's ignore rule means."""
    versions: tuple[str, ...] = ()
    """The only versions that are meant, where the purl or the name does not tell; ``vers:`` ranges among them."""
    subcomponents: tuple[str, ...] = ()
    """Purls of the packages inside the product that are meant; a name where the document has no purl."""

    @property
    def label(self) -> str:
        told = next(iter(self.purls or self.digests), self.name) or "the image"
        return f"{told} ({', '.join(self.subcomponents[:3])})" if self.subcomponents else told


class Statement(Struct, frozen=True, kw_only=True):
    """One vulnerability in one product. ``product`` is ``None`` where the document leaves it to what it lies beside."""

    vulnerability: str
    aliases: tuple[str, ...] = ()
    product: Product | None = None
    status: Status
    justification: str = ""
    impact: str = ""
    action: str = ""
    at: datetime | None = None
    until: datetime | None = None
    """The end that the statement itself has."""
    narrowed_by: str = ""
    """A condition that this instance cannot check, such as a path; the statement proposes nothing then."""

    @property
    def names(self) -> frozenset[str]:
        """Every id of the vulnerability, in capitals: ids are compared without regard to case."""
        return frozenset(name.upper() for name in (self.vulnerability, *self.aliases))


class Document(Struct, frozen=True, kw_only=True):
    """What was read. ``left_out`` tells, one line a kind, what the document holds besides and nobody here decides."""

    format: str
    author: str = ""
    namespace: str = ""
    """Of a CSAF publisher: the URI that identifies it; stronger than its name."""
    id: str = ""
    version: str = ""
    at: datetime | None = None
    statements: tuple[Statement, ...]
    left_out: tuple[str, ...] = ()


def at_version(purl: str, version: str) -> str:
    """The purl with its version, or range of versions: its own, where it has one."""
    base = purl.partition("?")[0].partition("#")[0]
    return purl if "@" in base else f"{base}@{quote(version, safe='')}"


def settled(statements: Iterable[Statement], what: str) -> tuple[Statement, ...]:
    """The statements that stand, in order: of several about the same vulnerability and product the latest.

    Raises ``Invalid`` (code "vex-contradiction") where two with different statuses have the same time, or none, and
    ``TooLarge`` for more than ``MAX_STATEMENTS``, or ``MAX_PARTS_IN_ALL`` subcomponents.
    """
    standing: dict[tuple[str, Product | None], Statement] = {}
    parts = 0
    for count, one in enumerate(statements, 1):
        parts += len(one.product.subcomponents) if one.product else 0
        if count > MAX_STATEMENTS:
            raise TooLarge(
                f"{what} makes more than {MAX_STATEMENTS:,} statements (each product counts); split it.",
                code="document-too-large",
            )
        if parts > MAX_PARTS_IN_ALL:
            raise TooLarge(
                f"{what} names more than {MAX_PARTS_IN_ALL:,} subcomponents in all; split it.",
                code="document-too-large",
            )
        key = (one.vulnerability.upper(), one.product)
        before = standing.get(key)
        if before is not None and before.status != one.status and before.at == one.at:
            raise contradiction(what, one.vulnerability, one.product, before.status, one.status)
        if before is None or before.at is None or (one.at is not None and one.at >= before.at):
            standing[key] = one
    return tuple(standing.values())


def contradiction(what: str, vulnerability: str, product: Product | None, first: str, second: str) -> Invalid:
    label = product.label if product else "the image"
    return Invalid(
        f"{what} contradicts itself: {vulnerability[:80]} in {label[:200]} is both {first} and {second} at the same "
        "time. Ask its author for a corrected version.",
        code="vex-contradiction",
    )


def unfit(what: str, why: str, code: str, where: str = "") -> Invalid:
    """The refusal of a document that is well-formed and still no VEX document that is read here."""
    return Invalid(f"{what} cannot be used: {why}.", code=code, where=where)
