"""Which statements of a document speak of which findings, and what is asked for because of them. Pure.

A digest means one image. A ``pkg:oci`` or ``pkg:docker`` purl means the image of its digest, or without any version the
repository of its ``repository_url``; a tag is no identity and means nothing. Any other purl means a component: of one
version, or of every version where it has none. What narrows a statement and cannot be checked here makes it match
nothing, never more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from msgspec import Struct
from packageurl import PackageURL

from secguard.advisories import versions
from secguard.advisories.orders import Unparsable
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.scope import ScopeKind
from secguard.decisions.vexin import ranges
from secguard.decisions.vexin.document import Product, Statement, Status
from secguard.errors import TooLarge
from secguard.images import reference

MAX_PAIRS: Final = 500_000
"""Statements times findings that are held against each other; more are refused."""
KINDS: Final = {Status.NOT_AFFECTED: DecisionKind.NOT_AFFECTED, Status.IGNORED: DecisionKind.ACCEPT}
"""What a status asks for. The others ask for nothing: they are told."""
_DISPUTES: Final = frozenset({Status.AFFECTED, Status.UNDER_INVESTIGATION})
_NOT_ALL: Final = "of the packages that have the risk there it covers some, or the document calls one of them affected"
_IMAGES: Final = ("oci", "docker")
_HARMLESS: Final = frozenset({"arch", "epoch", "upstream", "type", "repository_url"})
"""Qualifiers that a purl without a version may have and still mean every version of the package."""


class Stand(Struct, frozen=True, kw_only=True):
    """One open finding of a vulnerability in an image, where the person who posts may ask for decisions."""

    risk: int
    names: frozenset[str]
    """Of the vulnerability, in capitals."""
    image: int
    digest: str
    repositories: tuple[tuple[int, str], ...] = ()
    """(id, registry/path) of those the image lies in."""
    package: str = ""
    """The component's purl without version or qualifiers."""
    name: str = ""
    version: str = ""


class Ask(Struct, frozen=True, kw_only=True):
    """One decision that a document asks for."""

    statement: int
    """Index of the statement whose words are the reason."""
    risk: int
    kind: DecisionKind
    scope: ScopeKind
    scope_id: int


class Told(Struct, frozen=True, kw_only=True):
    """A statement that asks for nothing, and why."""

    statement: int
    why: str


class Purl(Struct, frozen=True):
    """A purl as far as matching needs it."""

    type: str
    package: str
    version: str
    repository: str
    is_narrower: bool
    """It has qualifiers that cannot be checked here."""


class _Hit(Struct, frozen=True):
    stand: Stand
    scope: ScopeKind
    scope_id: int


def match(
    statements: Sequence[Statement], stands: Sequence[Stand], *, image: int | None
) -> tuple[list[Ask], list[Told]]:
    """What the statements ask for, in their order, and which of them ask for nothing.

    ``image`` is the image that the document was posted to; ``stands`` are then of that image alone, and a statement
    without a product is about it. A risk is asked for in a scope only where statements of one kind cover every finding
    of the risk there, and none says of one that it is affected or looked into: a
    decision would cover all of them. Raises ``TooLarge`` past ``MAX_PAIRS``.
    """
    index = _Index(stands)
    covered: dict[tuple[int, ScopeKind, int], dict[DecisionKind, set[Stand]]] = defaultdict(lambda: defaultdict(set))
    first: dict[tuple[int, ScopeKind, int, DecisionKind], int] = {}
    told: list[Told] = []
    disputed: set[Stand] = set()
    pairs = 0
    for number, one in enumerate(statements):
        why = _no_proposal(one, image)
        hits = list(index.hits(one, image)) if not why or one.status in _DISPUTES else []
        pairs += len(hits) + 1
        if pairs > MAX_PAIRS:
            raise TooLarge(
                f"The document's statements fit more than {MAX_PAIRS:,} findings; post it to one image, or split it.",
                code="document-too-large",
            )
        if why or not hits:
            told.append(Told(statement=number, why=why or index.why_nothing(one)))
        if one.status in _DISPUTES:
            disputed |= {hit.stand for hit in hits}
        for hit in hits if not why else ():
            key = (hit.stand.risk, hit.scope, hit.scope_id)
            kind = KINDS[one.status]
            covered[key][kind].add(hit.stand)
            first.setdefault((*key, kind), number)
    asks: list[Ask] = []
    for (risk, scope, scope_id, kind), number in first.items():
        if covered[risk, scope, scope_id][kind] - disputed >= index.all_in(risk, scope, scope_id):
            asks.append(Ask(statement=number, risk=risk, kind=kind, scope=scope, scope_id=scope_id))
        else:
            told.append(Told(statement=number, why=_NOT_ALL))
    return _once(asks), sorted(set(told), key=lambda t: (t.statement, t.why))


def disputes(
    statements: Sequence[Statement], stands: Sequence[Stand], *, image: int | None
) -> Iterator[tuple[int, Stand]]:
    """(statement, finding) for each finding of which the document says that it is affected or looked into."""
    index = _Index(stands)
    for number, one in enumerate(statements):
        if one.status in _DISPUTES and not (one.product is None and image is None):
            yield from ((number, hit.stand) for hit in index.hits(one, image))


def _once(asks: Iterable[Ask]) -> list[Ask]:
    """One for each risk and scope: the stronger claim, not_affected, before accept. In the document's order."""
    chosen: dict[tuple[int, ScopeKind, int], Ask] = {}
    for ask in asks:
        key = (ask.risk, ask.scope, ask.scope_id)
        if key not in chosen or ask.kind is DecisionKind.NOT_AFFECTED:
            chosen[key] = ask
    return sorted(chosen.values(), key=lambda a: (a.statement, a.risk, a.scope_id))


def _no_proposal(one: Statement, image: int | None) -> str:
    if one.status not in KINDS:
        return f"{one.status.value}: told, and nothing to decide"
    if one.narrowed_by:
        return f"it holds only for {one.narrowed_by}, which is not checked here"
    if one.product is None and image is None:
        return "it names no product: post the document to the image that it is about"
    return ""


class _Index:
    """Findings by vulnerability and by what a product may call the place or the package."""

    def __init__(self, stands: Sequence[Stand]) -> None:
        self.known: set[str] = set()
        self._by: dict[tuple[str, str, str], list[Stand]] = defaultdict(list)
        self._in: dict[tuple[int, ScopeKind, int], set[Stand]] = defaultdict(set)
        for stand in stands:
            self.known |= stand.names
            self._in[stand.risk, ScopeKind.IMAGE, stand.image].add(stand)
            for repository, _ in stand.repositories:
                self._in[stand.risk, ScopeKind.REPOSITORY, repository].add(stand)
            for name in stand.names:
                self._by[name, "", ""].append(stand)
                self._by[name, "digest", stand.digest].append(stand)
                self._by[name, "package", stand.package].append(stand)
                self._by[name, "name", stand.name].append(stand)
                for _, repository_name in stand.repositories:
                    self._by[name, "repository", repository_name].append(stand)

    def all_in(self, risk: int, scope: ScopeKind, scope_id: int) -> set[Stand]:
        return self._in[risk, scope, scope_id]

    def why_nothing(self, one: Statement) -> str:
        if not one.names & self.known:
            return "nobody here has this vulnerability open in an image that you may ask about"
        return "no image, repository or package that you may ask about is the product"

    def hits(self, one: Statement, image: int | None) -> Iterator[_Hit]:
        found: dict[_Hit, None] = {}
        # Only names that somebody has here: an author may give a flaw a hundred, and its product thousands of parts.
        for name in sorted(one.names & self.known):
            found.update(dict.fromkeys(self._of_product(name, one.product)))
        for hit in found:
            yield _Hit(hit.stand, ScopeKind.IMAGE, image) if image is not None else hit

    def _get(self, name: str, by: str, value: str) -> Sequence[Stand]:
        return self._by.get((name, by, value), ())

    def _of_product(self, name: str, product: Product | None) -> Iterator[_Hit]:
        if product is None:
            yield from _in_images(self._get(name, "", ""))
            return
        purls = [p for text in product.purls if (p := parse_purl(text))]
        digests = {*product.digests, *(p.version for p in purls if p.type in _IMAGES and p.version)}
        parts = [parse_purl(text) for text in product.subcomponents]
        if digests:
            for digest in sorted(digests):
                yield from _in_images(_of_parts(self._get(name, "digest", digest), parts))
        elif product.subcomponents or any(p.type in _IMAGES for p in purls):
            for p in purls:
                # Versions that the document lists of a repository are tags, and a part of a package is seen nowhere.
                if p.type in _IMAGES and p.repository and not p.is_narrower and not product.versions:
                    yield from _in_repository(_of_parts(self._get(name, "repository", p.repository), parts), parts, p)
        elif purls:
            for p in purls:
                yield from _of_package(self._get(name, "package", p.package), p, product.versions)
        elif product.name:
            yield from _in_images(s for s in self._get(name, "name", product.name) if _fits(s, "", product.versions))


def _in_images(stands: Iterable[Stand]) -> Iterator[_Hit]:
    return (_Hit(s, ScopeKind.IMAGE, s.image) for s in stands)


def _of_parts(stands: Iterable[Stand], parts: Sequence[Purl | None]) -> Iterator[Stand]:
    """Those whose component is one of the parts; all where no part is named."""
    packages: dict[str, list[Purl]] = defaultdict(list)
    for part in parts:
        if part is not None and not (part.is_narrower and not part.version):
            packages[part.package].append(part)
    for stand in stands:
        if not parts or any(not p.version or _fits(stand, p.version, ()) for p in packages.get(stand.package, ())):
            yield stand


def _in_repository(stands: Iterable[Stand], parts: Sequence[Purl | None], purl: Purl) -> Iterator[_Hit]:
    """The repository, unless a part's version is told: the next image may have another version of it."""
    is_every_version = all(part is not None and not part.version for part in parts)
    for stand in stands:
        ids = [i for i, name in stand.repositories if name == purl.repository]
        for repository in ids if is_every_version else ():
            yield _Hit(stand, ScopeKind.REPOSITORY, repository)
        if not is_every_version:
            yield _Hit(stand, ScopeKind.IMAGE, stand.image)


def _of_package(stands: Iterable[Stand], purl: Purl, listed: tuple[str, ...]) -> Iterator[_Hit]:
    """Images that have the version; for every version, the repositories that have the package."""
    for stand in stands:
        if purl.version or listed:
            if _fits(stand, purl.version, listed):
                yield _Hit(stand, ScopeKind.IMAGE, stand.image)
        elif not purl.is_narrower:
            for repository, _ in stand.repositories:
                yield _Hit(stand, ScopeKind.REPOSITORY, repository)


def _fits(stand: Stand, version: str, listed: tuple[str, ...]) -> bool:
    """Whether the component's version is the purl's own; without one, among those listed, or any where none is."""
    if version:
        return _meets(stand, version)
    return not listed or any(_meets(stand, v) for v in listed)


def _meets(stand: Stand, said: str) -> bool:
    if ranges.is_range(said):
        return ranges.holds(stand.package, stand.version, said)
    return same_version(stand.package, stand.version, said)


def same_version(package: str, one: str, other: str) -> bool:
    """Equal as the package's ecosystem compares versions; a text that it cannot read equals itself alone."""
    if one == other or not one or not other:
        return one == other
    order = versions.order_of(ranges.ORDERS.get(package.removeprefix("pkg:").partition("/")[0], ""))
    try:
        return bool(order) and versions.compare(versions.parse(order, one), versions.parse(order, other)) == 0
    except Unparsable:
        return False


@lru_cache(maxsize=50_000)
def parse_purl(text: str) -> Purl | None:
    """``None`` for what is no purl, and for an image's whose version is a tag: a tag is no identity."""
    try:
        found = PackageURL.from_string(text)
    except ValueError:
        return None
    qualifiers = found.qualifiers if isinstance(found.qualifiers, dict) else {}
    version = unquote(found.version or "")
    if found.type in _IMAGES:
        digest = version if reference.is_digest(version) else ""
        if (version or qualifiers.get("tag")) and not digest:
            return None
        is_narrower = bool(set(qualifiers) - {"repository_url", "tag"})
        return Purl(found.type, "", digest, _repository(found, qualifiers.get("repository_url", "")), is_narrower)
    epoch = str(qualifiers.get("epoch", "0"))
    if version and epoch.isdigit() and epoch != "0" and ":" not in version:
        version = f"{epoch}:{version}"
    package = PackageURL(found.type, found.namespace, found.name).to_string()
    return Purl(found.type, package, version, "", bool(set(qualifiers) - _HARMLESS or found.subpath))


def _repository(found: PackageURL, url: str) -> str:
    """``registry/path`` of ``repository_url``: it ends in the image's name, or is what lies above it (purl-spec)."""
    base = url.removeprefix("https://").removeprefix("http://").strip("/")
    name = "/".join(part for part in (found.namespace, found.name) if part)
    if not base and found.type == "docker":
        base = reference.DEFAULT_HOST
    if not base:
        return ""
    whole = base if base == name or base.endswith(f"/{name}") else f"{base}/{name}"
    parsed = reference.try_parse(whole)
    return parsed.repository if parsed else ""
