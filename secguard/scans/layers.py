"""What an image holds, from what each of its layers holds: one inventory, and which layer brought what. Pure.

OCI image-spec 1.1, layer.md: a layer's file stands before a lower layer's of the same path, a whiteout takes a path
away, an opaque whiteout a folder's content. A package is there where the file that tells of it is: a package database
is one such file, and the topmost one says everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from secguard.scans import owners
from secguard.scans.inspection.files import OPAQUE, WHITEOUT, LayerFile
from secguard.scans.report import ReportedComponent


class Role(StrEnum):
    PACKAGE = "package"
    DISTRIBUTION = "distribution"
    """Of a distribution's own database, and so the better word on the files that it owns."""
    JAVA = "java"
    """A Java installation: better than what a program in it tells; yields to a distribution's package."""
    BINARY = "binary"
    """Guessed from a program's own bytes; yields to whatever package owns that program."""


class LayerPackage(Struct, frozen=True, gc=False, array_like=True):
    """A package that a file of one layer tells of, as if there were no other layer."""

    purl: str
    name: str
    version: str
    path: str
    """Of the file that tells of it, relative to the root: ``var/lib/dpkg/status``."""
    role: Role = Role.PACKAGE
    licenses: tuple[str, ...] = ()
    owns: tuple[str, ...] = ()
    """Paths of the files that it owns, relative to the root, as far as this layer tells."""
    group: str = ""
    """Of ``BINARY`` and ``JAVA``: where several files tell of one and the same, all have this word."""
    vendor: str = ""
    """Of ``DISTRIBUTION``: who built it, as the database says; empty where it does not."""
    altered: tuple[str, ...] = ()
    """Of ``owns``, those that tell of a language's package and have another content in this layer than the package
    brought."""


class LayerPackages(Struct, frozen=True):
    """All that one layer tells of packages: kept by diff id, so its order is always the same."""

    packages: tuple[LayerPackage, ...] = ()


class Layer(Struct, frozen=True):
    """One layer of an image."""

    diff_id: str
    packages: Sequence[LayerPackage]
    files: Iterable[LayerFile]
    """Everything in it, whiteouts too."""


def merge(layers: Sequence[Layer]) -> list[ReportedComponent]:
    """The packages of the image with these layers (lowest first), one a purl, in the order of purls.

    ``layer`` of each is the diff id of the layer that brought it: the lowest one that has it at this version without
    a break up to the file that is visible now. ``paths`` are of the visible files that tell of it. ``owner`` is of a
    language's package that a distribution's package brought, wherever it lies.
    """
    shadows = _Shadows((layer.files for layer in layers), {p.path for layer in layers for p in layer.packages})
    told = [{(p.path, p.purl): p for p in layer.packages} for layer in layers]
    found = [
        _Found(package, _chain(told, shadows, number, package))
        for number, layer in enumerate(layers)
        for package in layer.packages
        if shadows.is_visible(package.path, number)
    ]
    by_purl: dict[str, list[_Found]] = {}
    for one in _without_guesses(found):
        by_purl.setdefault(one.package.purl, []).append(one)
    owned = _Owned(found)
    return [_component(by_purl[purl], layers, owned) for purl in sorted(by_purl)]


def visible_texts(layers: Sequence[tuple[Iterable[LayerFile], Mapping[str, str]]]) -> dict[str, str]:
    """Of the texts that were kept of layers (by path; lowest layer first), those that the image shows."""
    paths = {path for _, texts in layers for path in texts}
    shadows = _Shadows((files for files, _ in layers), paths)
    found: dict[str, str] = {}
    for number, (_, texts) in enumerate(layers):
        found |= {path: text for path, text in texts.items() if shadows.is_visible(path, number)}
    return found


class _Found(Struct, frozen=True):
    package: LayerPackage
    chain: Sequence[tuple[int, LayerPackage]]
    """The layers that tell of it at this path without a break, uppermost first."""

    @property
    def brought_by(self) -> int:
        return self.chain[-1][0]

    @property
    def licenses(self) -> tuple[str, ...]:
        """A later layer repeats a database whole, but not the texts beside it that name the licences."""
        return next((p.licenses for _, p in self.chain if p.licenses), ())

    @property
    def owns(self) -> tuple[str, ...]:
        return next((p.owns for _, p in self.chain if p.owns), ())


def _chain(
    told: Sequence[Mapping[tuple[str, str], LayerPackage]], shadows: _Shadows, number: int, package: LayerPackage
) -> list[tuple[int, LayerPackage]]:
    chain = [(number, package)]
    for below in range(number - 1, -1, -1):
        before = told[below].get((package.path, package.purl))
        if before is not None:
            chain.append((below, before))
        elif shadows.is_hidden(package.path, below):
            break  # deleted, or written without this package
    return chain


def _component(found: Sequence[_Found], layers: Sequence[Layer], owned: _Owned) -> ReportedComponent:
    first = found[0].package
    owning = [owned.by(one) for one in found]
    return ReportedComponent(
        purl=first.purl,
        name=first.name,
        version=first.version,
        licenses=tuple(sorted({name for one in found for name in one.licenses})),
        layer=layers[min(one.brought_by for one in found)].diff_id,
        paths=tuple(sorted({one.package.path for one in found})),
        owner=owning[0] if all(owning) else "",
    )


# --- what hides what ---


class _Shadows:
    """Up to which layer the lower ones' files are hidden, for the paths that matter."""

    def __init__(self, layers: Iterable[Iterable[LayerFile]], paths: Iterable[str]) -> None:
        concerned = {place for path in paths for place in upwards(path)}
        self._hides: list[set[str]] = []
        self._empties: list[set[str]] = []
        for files in layers:
            hides, empties = _hidden_by(files, concerned)
            self._hides.append(hides)
            self._empties.append(empties)
        self._top: dict[str, int] = {}

    def is_hidden(self, path: str, by: int) -> bool:
        """Whether layer ``by`` replaces or deletes what lower layers have at ``path``."""
        hides, empties = self._hides[by], self._empties[by]
        return path in hides or any(place in hides or place in empties for place in upwards(path) if place != path)

    def is_visible(self, path: str, number: int) -> bool:
        """Whether what layer ``number`` has at ``path`` is hidden by none above it."""
        top = self._top.get(path)
        if top is None:
            numbers = range(len(self._hides) - 1, -1, -1)
            top = self._top[path] = next((n for n in numbers if self.is_hidden(path, n)), -1)
        return number >= top


def upwards(path: str) -> Iterator[str]:
    """The path, the folder it is in, and so on; the root ("") at last."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""


def _hidden_by(files: Iterable[LayerFile], concerned: set[str]) -> tuple[set[str], set[str]]:
    """Which of the paths ``concerned`` a layer's files replace or delete, and the content of which folders."""
    hides: set[str] = set()
    empties: set[str] = set()
    for file in files:
        folder, _, name = file.path.rpartition("/")
        if name == OPAQUE:
            empties.add(folder)
        elif name.startswith(WHITEOUT):
            hidden = name[len(WHITEOUT) :]
            hides.add(f"{folder}/{hidden}" if folder else hidden)
        elif file.kind != "directory" and file.path in concerned:
            hides.add(file.path)
    return hides & concerned, empties & concerned


# --- the better word ---


def _without_guesses(found: Sequence[_Found]) -> list[_Found]:
    """Without what a program's bytes tell where a package owns that program (syft's own rule, over all layers)."""
    distribution = _owned(found, Role.DISTRIBUTION)
    java = distribution | _owned(found, Role.JAVA)
    better = {Role.BINARY: java, Role.JAVA: distribution}
    yielding = {
        one.package.group
        for one in found
        if one.package.role in better and one.package.path in better[one.package.role]
    }
    return [one for one in found if not one.package.group or one.package.group not in yielding]


def _owned(found: Sequence[_Found], role: Role) -> set[str]:
    return {place for one in found if one.package.role is role for path in one.owns for place in places(path)}


# --- the owner's word ---


class _Owned:
    """Which distribution's packages brought the files that tell of languages' packages."""

    def __init__(self, found: Sequence[_Found]) -> None:
        self._owners: dict[str, list[_Found]] = {}
        wanted = {one.package.path for one in found if one.package.role is Role.PACKAGE}
        for one in found if wanted else ():
            if one.package.role is Role.DISTRIBUTION:
                for path in _still_owned(one, wanted):
                    if owners.speaks_for(one.package.purl, one.package.vendor, path):
                        self._owners.setdefault(path, []).append(one)

    def by(self, one: _Found) -> str:
        """The purl of the package that brought the file; empty where none did, or another version came over it.

        The owner came in the layer that the file is of, or in a later one: since then nobody changed it but to the
        same version (a new mode, a new date).
        """
        if one.package.role is not Role.PACKAGE:
            return ""
        owning = self._owners.get(one.package.path, ())
        return min((o.package.purl for o in owning if one.brought_by <= o.brought_by), default="")


def _still_owned(one: _Found, wanted: set[str]) -> set[str]:
    """Of the ``wanted`` paths those that the package owns by each of the layers that list its files, unaltered."""
    lists = [{place for path in p.owns for place in places(path)} & wanted for _, p in one.chain if p.owns]
    altered = {place for _, p in one.chain for path in p.altered for place in places(path)}
    return set.intersection(*lists) - altered if lists else set()


_MERGED = ("bin/", "sbin/", "lib/", "lib32/", "lib64/", "libx32/")


def places(path: str) -> tuple[str, ...]:
    """Where a file lies that a package calls ``path``: /bin links to /usr/bin, and older packages still say /bin."""
    return (path, f"usr/{path}") if path.startswith(_MERGED) else (path,)
