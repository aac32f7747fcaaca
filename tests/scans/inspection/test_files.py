"""What is left of layers: replaced, deleted, made opaque; against a slow and plain model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from secguard.scans.inspection.files import LayerFile, squash


def file(path: str, size: int = 1) -> LayerFile:
    return LayerFile(path, "file", 0o644, size)


def folder(path: str) -> LayerFile:
    return LayerFile(path, "directory", 0o755)


def paths(*layers: list[LayerFile]) -> set[str]:
    return set(squash(layers).files)


def test_upper_layers_add_and_replace():
    tree = squash([[file("a", 3), file("b", 5)], [file("a", 7)]])
    assert {p: f.layer for p, f in tree.files.items()} == {"a": 1, "b": 0}
    assert tree.hidden_bytes == 3


def test_a_whiteout_takes_a_file_or_a_whole_folder_away():
    below = [folder("d"), file("d/x", 2), folder("d/e"), file("d/e/y", 3), file("keep")]
    tree = squash([below, [LayerFile(".wh.d", "file")]])
    assert set(tree.files) == {"keep"}
    assert tree.hidden_bytes == 5
    assert paths(below, [LayerFile("d/.wh.x", "file")]) == {"d", "d/e", "d/e/y", "keep"}


def test_an_opaque_folder_hides_what_lay_below_but_not_its_own_layer_s():
    below = [folder("d"), file("d/x"), file("d/y")]
    assert paths(below, [folder("d"), file("d/new"), LayerFile("d/.wh..wh..opq", "file")]) == {"d", "d/new"}


def test_a_file_in_place_of_a_folder_takes_what_was_in_it():
    assert paths([folder("d"), file("d/x")], [file("d")]) == {"d"}


def test_deleted_and_made_again_is_there():
    assert paths([file("a")], [LayerFile(".wh.a", "file")], [file("a")]) == {"a"}


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ENTRIES = st.one_of(
    NAMES.map(file),
    NAMES.map(folder),
    NAMES.map(lambda p: file(_whiteout(p))),
    NAMES.map(lambda p: file(f"{p}/.wh..wh..opq")),
)


def _whiteout(path: str) -> str:
    above, slash, name = path.rpartition("/")
    return f"{above}{slash}.wh.{name}"


def model(layers: list[list[LayerFile]]) -> set[str]:
    """As the specification says it, path by path."""
    tree: dict[str, str] = {}
    for layer in layers:
        for e in layer:
            above, _, name = e.path.rpartition("/")
            if name == ".wh..wh..opq":
                tree = {p: k for p, k in tree.items() if not p.startswith(f"{above}/")}
            elif name.startswith(".wh."):
                gone = f"{above}/{name[4:]}".lstrip("/")
                tree = {p: k for p, k in tree.items() if p != gone and not p.startswith(f"{gone}/")}
        for e in layer:
            if not e.path.rpartition("/")[2].startswith(".wh."):
                if e.kind != "directory" and tree.get(e.path) == "directory":
                    tree = {p: k for p, k in tree.items() if not p.startswith(f"{e.path}/")}
                tree[e.path] = e.kind
    return set(tree)


@given(st.lists(st.lists(ENTRIES, max_size=6, unique_by=lambda e: e.path), max_size=4))
def test_any_layers_give_what_the_specification_says(layers):
    assert paths(*layers) == model(layers)
