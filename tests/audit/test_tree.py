"""The tree against the vectors that implementations of RFC 6962 share, and against the RFC's own definitions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.audit import tree
from secguard.audit.tree import BrokenProof, Tile

# Of the reference implementation's own tests (certificate-transparency, merkletree/merkle_tree_test.cc; also in
# transparency-dev/merkle, testonly/constants.go).
INPUTS = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
INPUTS.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSIONS = [(0, 8, [A, B, C]), (5, 8, [D, E, ROOTS[4]]), (2, 3, [ROOTS[2]]), (0, 1, [])]
CONSISTENCIES = [(1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[4]]), (2, 5, [B, D]), (1, 1, [])]

LEAVES = [tree.leaf_hash(data) for data in INPUTS]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: Sequence[bytes], b: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if m == len(leaves):
        return [] if b else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, leaves[:k], b), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def some_leaves(count: int) -> list[bytes]:
    return [tree.leaf_hash(number.to_bytes(4)) for number in range(count)]


def grown_in(steps: Sequence[int], leaves: Sequence[bytes]) -> dict[Tile, bytes]:
    """All tiles after ``leaves`` were added in so many at a time."""
    tiles: dict[Tile, bytes] = {}
    at = 0
    for step in [*steps, len(leaves)]:
        at_edge = {tile: tiles[tile] for tile in tree.edge(at) if tile in tiles}
        changed = tree.grown(at_edge, at, leaves[at : at + step])
        assert all(hashes.startswith(tiles.get(tile, b"")) for tile, hashes in changed.items())
        tiles |= changed
        at = min(len(leaves), at + step)
    return tiles


def proven(tiles: dict[Tile, bytes], spans: Sequence[tree.Span]) -> list[bytes]:
    """The hashes of ``spans`` from the tiles that are named for them, and no other."""
    node = tree.reading({tile: tiles[tile] for tile in tree.tiles_for(spans)})
    return [tree.hash_of(span, node) for span in spans]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_shared_vectors(size: int) -> None:
    assert naive_root(LEAVES[:size]).hex() == ROOTS[size]
    assert tree.root_of(LEAVES[:size]).hex() == ROOTS[size]
    tiles = grown_in([], LEAVES[:size])
    assert tree.hash_of((0, size), tree.reading(tiles)).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSIONS)
def test_inclusion_of_the_shared_vectors(index: int, size: int, path: list[str]) -> None:
    found = proven(grown_in([], LEAVES), tree.inclusion(index, size))
    assert [one.hex() for one in found] == path
    assert tree.root_from_inclusion(LEAVES[index], index, size, found).hex() == ROOTS[size]


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCIES)
def test_consistency_of_the_shared_vectors(old: int, new: int, path: list[str]) -> None:
    found = proven(grown_in([], LEAVES), tree.consistency(old, new))
    assert [one.hex() for one in found] == path
    tree.check_consistency(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), found)


sizes = st.integers(1, 700) | st.sampled_from([255, 256, 257, 511, 512, 513, 65_536 // 128])


@given(sizes, st.data())
def test_proofs_from_tiles_are_those_of_the_definition(new: int, data: st.DataObject) -> None:
    leaves = some_leaves(new)
    tiles = grown_in(data.draw(st.lists(st.integers(0, 300), max_size=4)), leaves)
    old = data.draw(st.integers(1, new))
    index = data.draw(st.integers(0, old - 1))
    root = naive_root(leaves[:old])
    assert tree.hash_of((0, old), tree.reading(tiles)) == root
    # A tree that has grown since still proves what the smaller one held.
    path = proven(tiles, tree.inclusion(index, old))
    assert path == naive_path(index, leaves[:old])
    assert tree.root_from_inclusion(leaves[index], index, old, path) == root
    steps = proven(tiles, tree.consistency(old, new))
    assert steps == naive_subproof(old, leaves, True)
    tree.check_consistency(old, new, root, naive_root(leaves), steps)


@given(st.integers(2, 400), st.data())
def test_what_is_changed_in_a_proof_breaks_it(size: int, data: st.DataObject) -> None:
    leaves = some_leaves(size)
    tiles, root = grown_in([], leaves), naive_root(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = proven(tiles, tree.inclusion(index, size))
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index))
    assert _reached(leaves[other], index, size, path) != root
    assert _reached(leaves[index], other, size, path) != root
    place = data.draw(st.integers(0, len(path) - 1))
    assert _reached(leaves[index], index, size, [*path[:place], leaves[index], *path[place + 1 :]]) != root
    assert _reached(leaves[index], index, size, path[:place] + path[place + 1 :]) != root
    assert _reached(leaves[index], index, size, [*path, root]) != root


def _reached(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    try:
        return tree.root_from_inclusion(leaf, index, size, path)
    except BrokenProof:
        return b""


@given(st.integers(2, 400), st.data())
def test_a_forked_log_continues_nothing(new: int, data: st.DataObject) -> None:
    leaves = some_leaves(new)
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    forked = [*leaves[:changed], tree.leaf_hash(b"another"), *leaves[changed + 1 :]]
    steps = proven(grown_in([], forked), tree.consistency(old, new))
    with pytest.raises(BrokenProof):
        tree.check_consistency(old, new, naive_root(leaves[:old]), naive_root(forked), steps)


def test_a_consistency_proof_of_the_wrong_length_is_refused() -> None:
    roots = [bytes.fromhex(root) for root in ROOTS]
    steps = proven(grown_in([], LEAVES), tree.consistency(6, 8))
    for wrong in (steps[:-1], [*steps, roots[1]], []):
        with pytest.raises(BrokenProof, match="proof"):
            tree.check_consistency(6, 8, roots[6], roots[8], wrong)
    with pytest.raises(BrokenProof, match="continues none"):
        tree.check_consistency(8, 6, roots[8], roots[6], steps)
    with pytest.raises(BrokenProof, match="different roots"):
        tree.check_consistency(8, 8, roots[8], roots[7], [])
    with pytest.raises(BrokenProof, match="too many"):
        tree.check_consistency(8, 8, roots[8], roots[8], steps)


def test_nothing_is_continued_by_everything() -> None:
    tree.check_consistency(0, 8, tree.EMPTY_ROOT, bytes.fromhex(ROOTS[8]), [])
    with pytest.raises(BrokenProof, match="SHA-256 of nothing"):
        tree.check_consistency(0, 8, bytes.fromhex(ROOTS[1]), bytes.fromhex(ROOTS[8]), [])


def test_what_no_tree_has_is_refused() -> None:
    for wrong in ((8, 8), (-1, 8)):
        with pytest.raises(ValueError, match="has no leaf"):
            tree.inclusion(*wrong)
    for wrong in ((0, 8), (9, 8)):
        with pytest.raises(ValueError, match="continues none"):
            tree.consistency(*wrong)
    with pytest.raises(BrokenProof, match="not in a tree"):
        tree.root_from_inclusion(LEAVES[0], 8, 8, [])


@pytest.mark.parametrize("size", [10_000_000, 99_999_999, 2**40 - 1])
def test_a_proof_reads_few_tiles_of_a_log_of_any_size(size: int) -> None:
    levels = len(tree.edge(size))
    for index in (0, size // 3, size - 1):
        spans = tree.inclusion(index, size)
        assert len(spans) <= 40
        assert len(tree.tiles_for(spans)) <= 2 * levels
    assert len(tree.tiles_for(tree.consistency(size // 3, size))) <= 2 * levels
    assert len(tree.edge(size)) == levels


def test_a_tile_that_is_not_as_it_was_left_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 96"):
        tree.grown({(0, 0): b"x" * 64}, 3, LEAVES[:1])


def test_what_the_tiles_do_not_hold_is_no_hash() -> None:
    node = tree.reading(grown_in([], LEAVES[:3]))
    with pytest.raises(KeyError):
        node((0, 3))


@given(st.integers(0, 300), st.sets(st.integers(0, 300), max_size=5))
def test_leaves_one_after_the_other_have_the_same_roots(count: int, keep: set[int]) -> None:
    leaves = some_leaves(count)
    peaks = tree.Peaks(keep)
    for leaf in leaves:
        peaks.add(leaf)
    assert (peaks.count, peaks.root) == (count, naive_root(leaves))
    assert peaks.kept == {size: naive_root(leaves[:size]) for size in keep if size <= count}
