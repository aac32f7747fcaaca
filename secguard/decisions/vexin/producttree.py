"""A CSAF document's products: branches, relationships and groups, resolved to what each product id means. Pure.

A relationship "A as a component of B" is B with the subcomponent A; what identifies A alone never stands for A
outside of B.
"""

from __future__ import annotations

from typing import Final

from secguard.decisions.vexin.document import MAX_NAME, Product, at_version
from secguard.decisions.vexin.openvex import digest
from secguard.errors import Invalid
from secguard.images.strictjson import Node

MAX_PRODUCTS: Final = 50_000
MAX_MEANT: Final = 500_000
"""Products that groups stand for, over all places that name a group."""
MAX_STEPS: Final = 20
"""Relationships that stand on each other."""


class Products:
    """The products of a document by their ids. Raises ``Invalid`` for what CSAF's mandatory tests refuse."""

    def __init__(self, root: Node) -> None:
        self._named: dict[str, Product] = {}
        self._relations: dict[str, tuple[str, str, Node]] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._resolved: dict[str, Product] = {}
        self._meant = 0
        tree = root.node("product_tree")
        if tree is None:
            raise root.wrong("product_tree", "is missing; a VEX document names its products there (6.1.27.5)")
        for node in tree.nodes("full_product_names", most=MAX_PRODUCTS):
            self._add(node, None)
        self._walk(tree)
        for relation in tree.nodes("relationships", most=MAX_PRODUCTS):
            self._relate(relation)
        for id_ in self._relations:
            self._resolve(id_)
        for group in tree.nodes("product_groups", most=MAX_PRODUCTS):
            name = group.text("group_id", most=MAX_NAME)
            if name in self._groups:
                raise group.wrong("group_id", f"is {name[:80]!r}, which stands twice (6.1.5)")
            self._groups[name] = group.texts("product_ids", most=MAX_PRODUCTS)
            for id_ in self._groups[name]:
                self.of(id_, group)

    def of(self, id_: str, used_by: Node) -> Product:
        found = self._named.get(id_) or self._resolved.get(id_)
        if found is None:
            raise used_by.wrong("product_ids", f"names the product {id_[:80]!r}, which is not defined (6.1.1)")
        return found

    def meant(self, node: Node) -> tuple[str, ...]:
        """The ids that a flag, threat or remediation names, by itself or by its groups."""
        ids = list(node.texts("product_ids", most=MAX_PRODUCTS))
        for id_ in ids:
            self.of(id_, node)
        for group in node.texts("group_ids", most=MAX_PRODUCTS):
            if group not in self._groups:
                raise node.wrong("group_ids", f"names the group {group[:80]!r}, which is not defined (6.1.4)")
            ids += self._groups[group]
            self._meant += len(self._groups[group])
            if self._meant > MAX_MEANT:
                raise node.wrong("group_ids", f"name more than {MAX_MEANT:,} products in all")
        return tuple(dict.fromkeys(ids))

    def _walk(self, tree: Node) -> None:
        """Branches may lie as deep as the document: bounded by its reader."""
        rest = tree.nodes("branches", most=MAX_PRODUCTS)
        while rest:
            branch = rest.pop()
            if product := branch.node("product"):
                told = branch.text("category") in ("product_version", "product_version_range")
                self._add(product, branch.text("name", most=300) if told else "")
            rest += branch.nodes("branches", most=MAX_PRODUCTS)

    def _add(self, node: Node, version_range: str | None) -> None:
        helper = node.node("product_identification_helper")
        purl = helper.text("purl", most=MAX_NAME).strip() if helper else ""
        found = Product(
            purls=(purl,) if purl.startswith("pkg:") else (),
            digests=_digests(helper) if helper else (),
            name=node.text("name", most=MAX_NAME),
            versions=(version_range,) if version_range else (),
        )
        # Large vendors list one platform in several branches. What says the same twice misleads nobody.
        before = self._named.get(node.text("product_id", most=MAX_NAME))
        if before is None or _identity(before) != _identity(found):
            self._named[self._new_id(node)] = found

    def _relate(self, relation: Node) -> None:
        whole = relation.node("full_product_name")
        if whole is None:
            raise relation.wrong("full_product_name", "is missing")
        part, base = relation.text("product_reference"), relation.text("relates_to_product_reference")
        self._relations[self._new_id(whole)] = (part, base, relation)

    def _new_id(self, node: Node) -> str:
        id_ = node.text("product_id", most=MAX_NAME)
        if not id_ or id_ in self._named or id_ in self._relations:
            raise node.wrong("product_id", f"is {id_[:80]!r}; expected an id that no other product has (6.1.2)")
        if len(self._named) + len(self._relations) >= MAX_PRODUCTS:
            raise node.wrong("product_id", f"is one of more than {MAX_PRODUCTS:,}; at most that many are read")
        return id_

    def _resolve(self, id_: str, below: tuple[str, ...] = ()) -> Product:
        found = self._named.get(id_) or self._resolved.get(id_)
        if found is not None:
            return found
        part, base, relation = self._relations[id_]
        if id_ in below or len(below) >= MAX_STEPS:
            raise _circular(relation, id_)
        inner, outer = (self._step(ref, id_, below, relation) for ref in (part, base))
        parts = inner.purls or (inner.name or "a part without a name",)
        # A part of some versions is no part of every version.
        subcomponents = tuple(at_version(p, v) for p in parts for v in inner.versions) or parts
        found = Product(
            purls=outer.purls,
            digests=outer.digests,
            name=outer.name,
            versions=outer.versions,
            # What lies in a part of the product is as narrow as the innermost part.
            subcomponents=inner.subcomponents or subcomponents,
        )
        self._resolved[id_] = found
        return found

    def _step(self, ref: str, id_: str, below: tuple[str, ...], relation: Node) -> Product:
        if ref in self._named:
            return self._named[ref]
        if ref in self._relations:
            return self._resolve(ref, (*below, id_))
        raise relation.wrong("product_reference", f"names the product {ref[:80]!r}, which is not defined (6.1.1)")


def _identity(product: Product) -> tuple[tuple[str, ...], ...]:
    return (product.purls, product.digests, product.versions)


def _circular(relation: Node, id_: str) -> Invalid:
    return relation.wrong(
        "product_reference", f"leads from {id_[:80]!r} back to itself, or over {MAX_STEPS} steps (6.1.3)"
    )


def _digests(helper: Node) -> tuple[str, ...]:
    """Whatever is hashed: the hash of a file is no image's digest, so it finds none."""
    found: set[str] = set()
    for entry in helper.nodes("hashes", most=100):
        for one in entry.nodes("file_hashes", most=100):
            found.add(digest(one.text("algorithm", most=40), one.text("value", most=200)))
    return tuple(sorted(found - {""}))
