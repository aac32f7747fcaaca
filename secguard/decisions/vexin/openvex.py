"""OpenVEX 0.2.0, and 0.0.x, where vulnerabilities and products were plain texts. Pure.

``affected`` without an action_statement is read, though 0.2.0 asks for one: it proposes nothing either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from secguard.decisions.vexin.document import (
    MAX_NAME,
    MAX_PARTS,
    MAX_STATEMENTS,
    MAX_TEXT,
    Document,
    Product,
    Statement,
    Status,
    settled,
    unfit,
)
from secguard.images.strictjson import Node, named

_CONTEXT: Final = re.compile(r"https://openvex\.dev/ns(/v0\.(0\.\d{1,3}|2\.0))?")
_STATUSES: Final = {s.value: s for s in Status if s is not Status.IGNORED}
_JUSTIFICATIONS: Final = frozenset(
    {
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    }
)


def is_openvex(members: dict[str, Any]) -> bool:
    context = members.get("@context")
    return isinstance(context, str) and context.startswith("https://openvex.dev/")


def read(root: Node) -> Document:
    """The document. Raises ``Invalid`` with the member at fault."""
    context = root.text("@context", most=200)
    if not _CONTEXT.fullmatch(context):
        raise unfit(root.what, f"its context is {context[:80]!r}; read are 0.0.x and v0.2.0", "vex-version", "@context")
    author, id_ = root.text("author", most=300).strip(), root.text("@id", most=MAX_NAME).strip()
    if not author or not id_:
        missing = "author" if not author else "@id"
        raise root.wrong(missing, "is missing; an OpenVEX document names its author and itself")
    at = _time(root, "timestamp")
    if at is None:
        raise root.wrong("timestamp", "is missing; an OpenVEX document says when it was made")
    at = _updated(root, at) or at
    said = [one for node in root.nodes("statements", most=MAX_STATEMENTS) for one in _statements(node, at)]
    if not said:
        raise unfit(root.what, "it makes no statement", "vex-empty", "statements")
    return Document(
        format="openvex",
        author=author,
        id=id_,
        version=_version(root),
        at=at,
        statements=settled(said, root.what),
    )


def _version(root: Node) -> str:
    """An integer since 0.2.0; a text before."""
    found = root.members.get("version")
    if found is None:
        return ""
    if isinstance(found, bool) or not isinstance(found, int | str) or len(str(found)) > 40:
        raise root.wrong("version", f"is {named(found)}; expected an integer")
    return str(found)


def _statements(node: Node, made: datetime) -> Iterator[Statement]:
    name, aliases = _vulnerability(node)
    status = _STATUSES.get(node.text("status", most=100))
    if status is None:
        raise node.wrong("status", f"is {node.text('status')[:40]!r}; expected one of {', '.join(_STATUSES)}")
    justification = node.text("justification", most=100)
    if justification and justification not in _JUSTIFICATIONS:
        raise node.wrong("justification", f"is {justification!r}; expected one of {', '.join(sorted(_JUSTIFICATIONS))}")
    impact = node.text("impact_statement").strip()
    if status is Status.NOT_AFFECTED and not justification and not impact:
        raise node.wrong("status", "is not_affected with neither justification nor impact_statement; one is needed")
    at = _updated(node, _time(node, "timestamp")) or made
    about: list[Product | None] = [*_products(node)] or [None]
    for one in about:
        yield Statement(
            vulnerability=name,
            aliases=aliases,
            product=one,
            status=status,
            justification=justification,
            impact=impact[:MAX_TEXT],
            action=node.text("action_statement").strip()[:MAX_TEXT],
            at=at,
        )


def _vulnerability(node: Node) -> tuple[str, tuple[str, ...]]:
    if isinstance(node.members.get("vulnerability"), str):
        name, aliases = node.text("vulnerability", most=200).strip(), node.texts("aliases", most=100)
    else:
        flaw = node.node("vulnerability")
        # "@id" is an IRI that ends in the name in what other tools write without one.
        name = (flaw.text("name", most=200) or flaw.text("@id", most=MAX_NAME).rpartition("/")[2]) if flaw else ""
        name, aliases = name.strip(), flaw.texts("aliases", most=100) if flaw else ()
    if not name or len(name) > 200:
        raise node.wrong("vulnerability", "has no name of at most 200 characters")
    return name, tuple(sorted({a.strip()[:200] for a in aliases if a.strip()} - {name}))


def _products(node: Node) -> list[Product]:
    """Those of 0.2.0 are objects; those of 0.0.x texts, with the subcomponents beside them."""
    values = node.get("products", list, [])
    if len(values) > MAX_STATEMENTS:
        raise node.wrong("products", f"has {len(values):,} entries; at most {MAX_STATEMENTS:,} are read")
    beside = _subcomponents(node)
    found = []
    for i, value in enumerate(values):
        if isinstance(value, str):
            found.append(product(Node({"@id": value}, node.what, f"{node.where}.products[{i}]"), beside))
        else:
            inner = Node(value, node.what, f"{node.where}.products[{i}]")
            found.append(product(inner, _subcomponents(inner) or beside))
    return found


def product(node: Node, subcomponents: tuple[str, ...]) -> Product:
    """A product or subcomponent by its purls, the digests of its hashes, and its name."""
    ids = (node.text("@id", most=MAX_NAME).strip(), _identifiers(node).get("purl", "").strip())
    digests = {d for a, v in node.text_map("hashes", most=20).items() if (d := digest(a, v))}
    return Product(
        purls=tuple(dict.fromkeys(i for i in ids if i.startswith("pkg:"))),
        digests=tuple(sorted(digests)),
        name=next((i for i in ids if i and not i.startswith("pkg:")), ""),
        subcomponents=subcomponents,
    )


def _identifiers(node: Node) -> dict[str, str]:
    found = node.node("identifiers")
    return {name: found.text(name, most=MAX_NAME) for name in ("purl", "cpe22", "cpe23")} if found else {}


def _subcomponents(node: Node) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for i, value in enumerate(node.get("subcomponents", list, [])[: MAX_PARTS + 1]):
        where = f"{node.where}.subcomponents[{i}]"
        inner = Node({"@id": value} if isinstance(value, str) else value, node.what, where)
        one = product(inner, ())
        found.update(dict.fromkeys(one.purls or (one.name or "a part without a name",)))
    if len(node.get("subcomponents", list, [])) > MAX_PARTS:
        raise node.wrong("subcomponents", f"has more than {MAX_PARTS:,} entries; split the statement")
    return tuple(found)


def digest(algorithm: str, value: str) -> str:
    """``sha256:<hex>`` of a hash in the words of IANA's registry (``sha-256``) or others'; ``""`` for other hashes."""
    word, text = algorithm.lower().replace("-", ""), value.lower().removeprefix("sha256:").removeprefix("sha512:")
    length = {"sha256": 64, "sha512": 128}.get(word)
    return f"{word}:{text}" if length and re.fullmatch(f"[0-9a-f]{{{length}}}", text) else ""


def _updated(node: Node, made: datetime | None) -> datetime | None:
    """The later of its two times. Raises ``Invalid`` where it was updated before it was made."""
    updated = _time(node, "last_updated")
    if updated is not None and made is not None and updated < made:
        raise node.wrong("last_updated", f"is {updated:%Y-%m-%d %H:%M}, before its timestamp, {made:%Y-%m-%d %H:%M}")
    return updated or made


def _time(node: Node, name: str) -> datetime | None:
    """Raises ``Invalid`` for a text that is no RFC 3339 time, because later ones win over earlier ones."""
    at = node.instant(name)
    if at is None and node.text(name, most=64):
        raise node.wrong(name, f"is {node.text(name)[:40]!r}; expected a time such as 2026-01-31T12:00:00Z")
    return at
