"""CSAF 2.0 documents of the profile VEX (``csaf_vex``). Pure.

Held to what a reader depends on (the numbers are those of CSAF's mandatory tests): product ids are defined, once, and
in no circle (6.1.1 to 6.1.3), groups too (6.1.4, 6.1.5), no product has two statuses (6.1.6), and the profile's own
(6.1.27.5 to .9).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from secguard.decisions.vexin.document import (
    MAX_STATEMENTS,
    MAX_TEXT,
    Document,
    Statement,
    Status,
    contradiction,
    settled,
    unfit,
)
from secguard.decisions.vexin.producttree import Products
from secguard.images.strictjson import Node

_STATUSES: Final = {
    "known_not_affected": Status.NOT_AFFECTED,
    "known_affected": Status.AFFECTED,
    "first_affected": Status.AFFECTED,
    "last_affected": Status.AFFECTED,
    "fixed": Status.FIXED,
    "first_fixed": Status.FIXED,
    "under_investigation": Status.UNDER_INVESTIGATION,
}
"""``recommended`` advises a version and states nothing of it."""


MAX_TEXTS: Final = 10


def is_csaf(members: dict[str, Any]) -> bool:
    document = members.get("document")
    return isinstance(document, dict) and ("csaf_version" in document or "tracking" in document)


def read(root: Node) -> Document:
    """The document. Raises ``Invalid`` with the member at fault."""
    document = root.node("document")
    tracking = document.node("tracking") if document else None
    if document is None or tracking is None:
        raise root.wrong("document", "has no tracking; a CSAF document says its id, version and dates there")
    _check_kind(root, document, tracking)
    publisher = document.node("publisher")
    id_, namespace = tracking.text("id", most=300), publisher.text("namespace", most=300) if publisher else ""
    if not id_ or not namespace:
        where = tracking if not id_ else document
        raise where.wrong("id" if not id_ else "publisher", "is missing or without a namespace; both say whose it is")
    flaws = root.nodes("vulnerabilities", most=MAX_STATEMENTS)
    if not flaws:
        raise unfit(root.what, "it names no vulnerability", "vex-empty", "vulnerabilities")
    products = Products(root)
    at = tracking.instant("current_release_date")
    said = [one for flaw in flaws for one in _statements(flaw, products)]
    return Document(
        format="csaf",
        author=publisher.text("name", most=300).strip() if publisher else "",
        namespace=namespace.strip(),
        id=id_,
        version=tracking.text("version", most=100),
        at=at,
        statements=settled(said, root.what),
    )


def _check_kind(root: Node, document: Node, tracking: Node) -> None:
    category, version = document.text("category", most=200), document.text("csaf_version", most=20)
    status = tracking.text("status", most=40)
    if status == "deleted":
        raise unfit(root.what, "its author has deleted it; there is nothing left to take in", "vex-withdrawn")
    if version != "2.0":
        raise unfit(root.what, f"it is CSAF {version!r}; read is 2.0", "vex-version", "document.csaf_version")
    if category != "csaf_vex":
        raise unfit(
            root.what, f"its category is {category[:60]!r}; VEX is csaf_vex alone", "vex-category", "document.category"
        )
    if status not in ("final", "interim"):
        raise unfit(root.what, f"its status is {status!r}; final or interim counts", "vex-draft", "tracking.status")


def _statements(flaw: Node, products: Products) -> Iterator[Statement]:
    name, aliases = _names(flaw)
    justifications = _justifications(flaw, products)
    impacts = _texts(flaw, "threats", ("impact",), products)
    actions = _texts(flaw, "remediations", (), products)
    statuses = flaw.node("product_status")
    if statuses is None:
        raise flaw.wrong("product_status", "is missing; a VEX document states one for each vulnerability (6.1.27.8)")
    _check_undivided(flaw, statuses, name, products)
    for word, status in _STATUSES.items():
        for id_ in statuses.texts(word, most=MAX_STATEMENTS):
            why, impact = justifications.get(id_, ""), impacts.of(id_)
            if status is Status.NOT_AFFECTED and not why and not impact:
                raise statuses.wrong(word, f"has {id_[:80]!r} with neither a flag nor an impact (6.1.27.9)")
            yield Statement(
                vulnerability=name,
                aliases=aliases,
                product=products.of(id_, statuses),
                status=status,
                justification=why,
                impact=impact,
                action=actions.of(id_),
            )


def _names(flaw: Node) -> tuple[str, tuple[str, ...]]:
    cve = flaw.text("cve", most=100).strip()
    ids = [found.text("text", most=200).strip() for found in flaw.nodes("ids", most=1_000)]
    names = list(dict.fromkeys(name for name in (cve, *ids) if name))
    if not names:
        raise flaw.wrong("cve", "is missing, and so are ids; one names the vulnerability (6.1.27.7)")
    return names[0], tuple(sorted(names[1:]))


def _check_undivided(flaw: Node, statuses: Node, name: str, products: Products) -> None:
    """6.1.6: no product in two groups of statuses that contradict each other. By id: equal names are no fault."""
    found: dict[str, Status] = {}
    listed = 0
    for word, status in _STATUSES.items():
        for id_ in statuses.texts(word, most=MAX_STATEMENTS):
            listed += 1
            if found.setdefault(id_, status) is not status:
                raise contradiction(flaw.what, name, products.of(id_, statuses), found[id_], status)
    if not listed:
        raise flaw.wrong("product_status", "states nothing of any product (6.1.27.8)")


def _justifications(flaw: Node, products: Products) -> dict[str, str]:
    found: dict[str, str] = {}
    for flag in flaw.nodes("flags", most=MAX_STATEMENTS):
        for id_ in products.meant(flag):
            found[id_] = flag.text("label", most=100)
    return found


class _Words:
    """Texts by product; those that name no product are about all."""

    def __init__(self) -> None:
        self.about: dict[str, list[str]] = {}
        self.general: list[str] = []

    def of(self, id_: str) -> str:
        return " ".join(dict.fromkeys([*self.about.get(id_, ()), *self.general]))[:MAX_TEXT]

    def add(self, text: str, about: Iterable[str]) -> None:
        """Of each product the first ``MAX_TEXTS`` are kept."""
        for kept in [self.about.setdefault(id_, []) for id_ in about] or [self.general]:
            if text and len(kept) < MAX_TEXTS:
                kept.append(text)


def _texts(flaw: Node, member: str, categories: Iterable[str], products: Products) -> _Words:
    words, wanted = _Words(), set(categories)
    for node in flaw.nodes(member, most=MAX_STATEMENTS):
        if wanted and node.text("category", most=60) not in wanted:
            continue
        words.add(node.text("details").strip()[:MAX_TEXT], products.meant(node))
    return words
