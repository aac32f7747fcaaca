"""Files of layers, and what is left of them in the image: pure (OCI image-spec, layer, "Whiteouts")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


class LayerFile(Struct, frozen=True, gc=False, array_like=True):
    """One entry of a layer; ``path`` is normalised and has no leading slash."""

    path: str
    kind: str
    """``file``, ``directory``, ``link`` (symbolic), ``hard-link``, or ``other`` (a device, a pipe)."""
    mode: int = 0
    size: int = 0
    uid: int = 0
    link: str = ""


class PlacedFile(Struct, frozen=True, gc=False):
    """A file as the image shows it, and the layer (0 is the lowest) that put it there."""

    file: LayerFile
    layer: int


class Squashed(Struct, frozen=True):
    """What all layers together show."""

    files: dict[str, PlacedFile]
    hidden_bytes: int
    """Of files that a later layer deleted or replaced: carried by the image, of use to nobody."""


def squash(layers: Sequence[Iterable[LayerFile]]) -> Squashed:
    """The image's tree: upper layers replace and delete what lower ones brought."""
    tree: dict[str, PlacedFile] = {}
    children: dict[str, set[str]] = {}
    hidden = 0
    for number, entries in enumerate(layers):
        added: list[LayerFile] = []
        for entry in entries:
            folder, _, name = entry.path.rpartition("/")
            if name == OPAQUE:
                hidden += _remove_below(folder, tree, children, number)
            elif name.startswith(WHITEOUT):
                hidden += _remove(_join(folder, name.removeprefix(WHITEOUT)), tree, children, number)
            else:
                added.append(entry)
        for entry in added:
            hidden += _replace(entry, number, tree, children)
    return Squashed(tree, hidden)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _replace(entry: LayerFile, number: int, tree: dict[str, PlacedFile], children: dict[str, set[str]]) -> int:
    before = tree.get(entry.path)
    gone = 0
    if before is not None and before.file.kind == "directory" != entry.kind:
        gone = _remove_below(entry.path, tree, children, number + 1)
    elif before is not None and before.file.kind == "file" and before.layer < number:
        gone = before.file.size
    tree[entry.path] = PlacedFile(entry, number)
    _note_parents(entry.path, children)
    return gone


def _note_parents(path: str, children: dict[str, set[str]]) -> None:
    while path:
        folder, _, _ = path.rpartition("/")
        known = children.setdefault(folder, set())
        if path in known:
            return
        known.add(path)
        path = folder


def _remove(path: str, tree: dict[str, PlacedFile], children: dict[str, set[str]], below: int) -> int:
    """Take ``path`` and all under it away, as far as layers under number ``below`` brought it."""
    gone = _remove_below(path, tree, children, below)
    found = tree.get(path)
    if found is not None and found.layer < below:
        del tree[path]
        gone += found.file.size if found.file.kind == "file" else 0
    return gone


def _remove_below(folder: str, tree: dict[str, PlacedFile], children: dict[str, set[str]], below: int) -> int:
    gone, waiting = 0, list(children.get(folder, ()))
    while waiting:
        path = waiting.pop()
        waiting.extend(children.get(path, ()))
        found = tree.get(path)
        if found is not None and found.layer < below:
            del tree[path]
            gone += found.file.size if found.file.kind == "file" else 0
    return gone
