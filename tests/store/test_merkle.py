"""The tree against its definition, against known vectors, and against a tree that we did not write."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree, InvalidProof
from pymerkle import verify_consistency as oracle_consistency
from pymerkle import verify_inclusion as oracle_inclusion

from bedplate.errors import InvalidInput, Tampered
from bedplate.store.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    Node,
    consistency_proof,
    entry_bundle,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    tile,
    verify_consistency,
    verify_inclusion,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = 34  # past two powers of two; every pair below is tried
LEAVES = [leaf_hash(b"%d" % position) for position in range(SIZES)]

# The eight test entries of the Certificate Transparency reference implementation and the roots over the first n.
KNOWN_ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
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

sizes = st.integers(1, SIZES)


def definition(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(definition(leaves[:split]), definition(leaves[split:]))


def reader(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    """Store what append reports, and nothing else; a read of an unfinished subtree is a KeyError."""
    frontier = Frontier()
    nodes: dict[tuple[int, int], bytes] = {}
    for leaf in leaves:
        for node in frontier.append(leaf):
            assert (node.level, node.index) not in nodes
            nodes[node.level, node.index] = node.hash
    return lambda level, index: nodes[level, index]


@pytest.mark.parametrize("count", range(len(KNOWN_ROOTS)))
def test_known_vectors(count: int) -> None:
    leaves = [leaf_hash(entry) for entry in KNOWN_ENTRIES[:count]]
    assert root_of(leaves).hex() == definition(leaves).hex() == KNOWN_ROOTS[count]


def test_frontier_is_the_definition_at_every_size() -> None:
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, start=1):
        finished = frontier.append(leaf)
        assert finished[0] == Node(0, size - 1, leaf)
        for level, index, digest in finished:
            assert digest == definition(LEAVES[index << level : (index + 1) << level])
        assert frontier.size == size
        assert frontier.root() == root_of(iter(LEAVES[:size])) == definition(LEAVES[:size])
        assert Frontier.from_bytes(size, frontier.to_bytes()).root() == frontier.root()


def test_copy_is_independent() -> None:
    frontier = Frontier()
    frontier.append(LEAVES[0])
    other = frontier.copy()
    other.append(LEAVES[1])
    assert (frontier.size, frontier.root()) == (1, LEAVES[0])
    assert (other.size, other.root()) == (2, node_hash(LEAVES[0], LEAVES[1]))


@pytest.mark.parametrize(("size", "length"), [(0, 32), (1, 0), (3, 32), (3, 65), (-1, 0), (MAX_SIZE + 1, 32)])
def test_a_frontier_that_does_not_hold_together_is_refused(size: int, length: int) -> None:
    with pytest.raises(Tampered, match=r"frontier"):
        Frontier.from_bytes(size, bytes(length))


def test_an_entry_is_not_a_leaf() -> None:
    with pytest.raises(InvalidInput, match=r"pass leaf_hash"):
        Frontier().append(b"entry")
    with pytest.raises(InvalidInput, match=r"32-byte hash, this one has 5"):
        root_of([b"entry"])


def test_every_inclusion_at_every_size() -> None:
    node = reader(LEAVES)
    for size in range(1, SIZES + 1):
        root = definition(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            verify_inclusion(LEAVES[index], index, size, proof, root)


def test_every_consistency_of_every_two_sizes() -> None:
    node = reader(LEAVES)
    for new in range(SIZES + 1):
        for old in range(new + 1):
            proof = consistency_proof(old, new, node)
            verify_consistency(old, definition(LEAVES[:old]), new, definition(LEAVES[:new]), proof)


def test_proofs_need_few_reads_in_a_large_tree() -> None:
    size, reads = 2**40 + 2**20 + 3, 0

    def node(level: int, index: int) -> bytes:
        nonlocal reads
        reads += 1
        assert (index + 1) << level <= size
        return leaf_hash(b"%d/%d" % (level, index))

    inclusion_proof(2**39 + 5, size, node)
    consistency_proof(2**39 + 5, size, node)
    assert reads < 3 * size.bit_length()


def subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """RFC 9162, 2.1.4.1, word for word."""
    if old == len(leaves):
        return [] if whole else [definition(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if old <= split:
        return [*subproof(old, leaves[:split], whole=whole), definition(leaves[split:])]
    return [*subproof(old - split, leaves[split:], whole=False), definition(leaves[:split])]


def test_consistency_proofs_are_those_of_the_rfc() -> None:
    node = reader(LEAVES)
    for new in range(1, SIZES + 1):
        for old in range(1, new + 1):
            assert consistency_proof(old, new, node) == subproof(old, LEAVES[:new], whole=True)


def test_inclusion_proofs_are_those_of_pymerkle() -> None:
    tree = InmemoryTree(algorithm="sha256")
    node = reader(LEAVES)
    for size in range(1, SIZES + 1):
        tree.append_entry(b"%d" % (size - 1))
        assert tree.get_root() == root_of(LEAVES[:size])
        for index in range(size):
            theirs = tree.prove_inclusion(index + 1, size)
            assert theirs.path == [LEAVES[index], *inclusion_proof(index, size, node)]


@given(new=st.integers(2, SIZES), fork=st.integers(0, SIZES - 1), data=st.data())
def test_pymerkle_accepts_the_same_histories(new: int, fork: int, data: st.DataObject) -> None:
    """Their consistency path is not the RFC's, so the statements are compared: which tree extends which."""
    old = data.draw(st.integers(1, new - 1))
    forked = [leaf_hash(b"%d%s" % (at, b"!" * (at == fork))) for at in range(new)]
    tree = InmemoryTree(algorithm="sha256")
    tree.append_entries([b"%d%s" % (at, b"!" * (at == fork)) for at in range(new)])
    theirs, ours = tree.prove_consistency(old, new), consistency_proof(old, new, reader(forked))
    for old_root in (root_of(LEAVES[:old]), root_of(forked[:old])):
        if old_root == tree.get_root(old):
            oracle_consistency(old_root, tree.get_root(), theirs)
            verify_consistency(old, old_root, new, root_of(forked), ours)
        else:
            with pytest.raises(InvalidProof):
                oracle_consistency(old_root, tree.get_root(), theirs)
            with pytest.raises(Tampered):
                verify_consistency(old, old_root, new, root_of(forked), ours)


@given(size=sizes, at=st.integers(0, SIZES), flip=st.integers(0, 2**20), data=st.data())
def test_a_changed_inclusion_proof_is_refused_by_both(size: int, at: int, flip: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    tree = InmemoryTree(algorithm="sha256")
    for position in range(size):
        tree.append_entry(b"%d" % position)
    theirs = tree.prove_inclusion(index + 1, size)
    at %= len(theirs.path)
    changed = bytearray(theirs.path[at])
    changed[flip % 32] ^= 1 << (flip // 32 % 8)
    theirs.path[at] = bytes(changed)
    root = tree.get_root()
    with pytest.raises(InvalidProof):
        oracle_inclusion(theirs.path[0], root, theirs)
    with pytest.raises(Tampered, match=r"is not in the tree"):
        verify_inclusion(theirs.path[0], index, size, theirs.path[1:], root)


@given(new=st.integers(2, SIZES), at=st.integers(0, 2**20), data=st.data())
def test_a_changed_consistency_proof_is_refused(new: int, at: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_proof(old, new, reader(LEAVES))
    row, column, bit = at % len(proof), at // 64 % 32, at // 2048 % 8
    changed = bytearray(proof[row])
    changed[column] ^= 1 << bit
    proof[row] = bytes(changed)
    with pytest.raises(Tampered):
        verify_consistency(old, root_of(LEAVES[:old]), new, root_of(LEAVES[:new]), proof)


@given(size=sizes, data=st.data())
def test_an_inclusion_proof_fits_one_place_only(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    claimed_index = data.draw(st.integers(-1, SIZES))
    claimed_size = data.draw(st.integers(-1, SIZES))
    proof = inclusion_proof(index, size, reader(LEAVES))
    root = root_of(LEAVES[:size])
    if claimed_size != size and shape(claimed_index, claimed_size) == shape(index, size):
        return  # a path of the same turns: what binds the size is the signature over it, not the proof
    if (claimed_index, claimed_size) == (index, size):
        return
    with pytest.raises(Tampered):
        verify_inclusion(LEAVES[index], claimed_index, claimed_size, proof, root)


def shape(index: int, size: int) -> list[bool] | None:
    """On which sides the siblings stand, by the recursive definition of the audit path."""
    if not 0 <= index < size:
        return None
    sides: list[bool] = []
    start, end = 0, size
    while end - start > 1:
        split = 1
        while split * 2 < end - start:
            split *= 2
        sides.append(index >= start + split)
        start, end = (start + split, end) if sides[-1] else (start, start + split)
    return sides


@given(size=sizes, extra=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3), data=st.data())
def test_surplus_or_missing_hashes_are_refused(size: int, extra: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = root_of(LEAVES[:size])
    proof = inclusion_proof(index, size, reader(LEAVES))
    for wrong in (proof + extra, extra + proof, *([proof[:-1], proof[1:]] if proof else [])):
        with pytest.raises(Tampered, match=r"needs exactly"):
            verify_inclusion(LEAVES[index], index, size, wrong, root)
    old = data.draw(st.integers(0, size))
    proof = consistency_proof(old, size, reader(LEAVES))
    for wrong in (proof + extra, extra + proof, *([proof[:-1], proof[1:]] if proof else [])):
        with pytest.raises(Tampered, match=r"needs exactly"):
            verify_consistency(old, root_of(LEAVES[:old]), size, root, wrong)


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (-1, 1), (1, 1), (5, 3), (0, -1), (0, MAX_SIZE + 1), (MAX_SIZE, MAX_SIZE)]
)
def test_numbers_out_of_range_are_refused(index: int, size: int) -> None:
    with pytest.raises(Tampered, match=r"is not between"):
        verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    with pytest.raises(InvalidInput, match=r"there is no leaf"):
        inclusion_proof(index, size, reader([]))


@pytest.mark.parametrize(("old", "new"), [(-1, 0), (2, 1), (0, -1), (0, MAX_SIZE + 1)])
def test_trees_out_of_order_are_refused(old: int, new: int) -> None:
    with pytest.raises(Tampered, match=r"is not between"):
        verify_consistency(old, LEAVES[0], new, LEAVES[0], [])
    with pytest.raises(InvalidInput, match=r"cannot extend"):
        consistency_proof(old, new, reader([]))


def test_hashes_of_another_length_are_refused() -> None:
    root = root_of(LEAVES[:2])
    for leaf, path, top in (
        (b"", [LEAVES[1]], root),
        (LEAVES[0], [LEAVES[1] + b"x"], root),
        (LEAVES[0], [LEAVES[1]], b""),
    ):
        with pytest.raises(Tampered, match=r"bytes, not 32"):
            verify_inclusion(leaf, 0, 2, path, top)
    with pytest.raises(Tampered, match=r"old root has a hash of 0 bytes"):
        verify_consistency(1, b"", 2, root, [LEAVES[1]])
    with pytest.raises(Tampered, match=r"new root has a hash of 0 bytes"):
        verify_consistency(1, LEAVES[0], 2, b"", [LEAVES[1]])


def test_the_empty_tree_has_one_root() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    for old_root, new, new_root in ((LEAVES[0], 1, LEAVES[0]), (EMPTY_ROOT, 0, LEAVES[0])):
        with pytest.raises(Tampered, match=r"the empty tree cannot have"):
            verify_consistency(0, old_root, new, new_root, [])


def test_two_trees_of_one_size_are_a_fork() -> None:
    with pytest.raises(Tampered, match=r"two trees of 3 leaves differ") as caught:
        verify_consistency(3, root_of(LEAVES[:3]), 3, root_of(LEAVES[1:4]), [])
    assert caught.value.code == "forked-tree"


def test_the_message_says_which_root_is_wrong() -> None:
    node, old_root, new_root = reader(LEAVES), root_of(LEAVES[:3]), root_of(LEAVES[:7])
    proof = consistency_proof(3, 7, node)
    with pytest.raises(Tampered, match=r"leads to another tree of 3"):
        verify_consistency(3, LEAVES[0], 7, new_root, proof)
    with pytest.raises(Tampered, match=r"the tree of 7 .* does not extend the tree of 3"):
        verify_consistency(3, old_root, 7, LEAVES[0], proof)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=6), st.integers(-2, 70), st.integers(-2, 70))
def test_arbitrary_proofs_are_never_accepted(proof: list[bytes], first: int, second: int) -> None:
    root = root_of(LEAVES[:9])
    with pytest.raises(Tampered):
        verify_inclusion(leaf_hash(b"never appended"), first, second, proof, root)
    with pytest.raises(Tampered):
        verify_consistency(max(first, 1), leaf_hash(b"another root"), second, root, proof)


def test_tiles_hold_every_eighth_level() -> None:
    leaves = [leaf_hash(b"%d" % position) for position in range(2 * 256 + 3)]
    node = reader(leaves)
    assert tile(0, 0, 256, node) == b"".join(leaves[:256])
    assert tile(0, 2, 3, node) == b"".join(leaves[512:515])
    assert tile(1, 0, 2, node) == root_of(leaves[:256]) + root_of(leaves[256:512])


@pytest.mark.parametrize("wrong", [(-1, 0, 1), (6, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_tiles_out_of_range_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidInput, match=r"there is no tile"):
        tile(*wrong, reader([]))


def test_entry_bundles_are_length_prefixed() -> None:
    assert entry_bundle([b"", b"abc"]) == b"\x00\x00\x00\x03abc"
    assert entry_bundle([bytes(65_535)])[:2] == b"\xff\xff"
    for wrong in ([], [b""] * 257, [bytes(65_536)]):
        with pytest.raises(InvalidInput):
            entry_bundle(wrong)


def test_importing_the_tree_is_cheap() -> None:
    script = """
import sys
sys.path[:] = sys.argv[1:]
before = set(sys.modules)
import bedplate.store.merkle
print(*set(sys.modules) - before)
"""
    loaded = subprocess.run([sys.executable, "-c", script, *sys.path], check=True, capture_output=True, text=True)
    assert not {"cryptography", "dataclasses", "json", "sqlalchemy"} & set(loaded.stdout.split())
