"""The SHA-256 Merkle tree of RFC 9162 and its C2SP tiles: pure functions over hashes, no I/O.

`entry` is the exact stored bytes of a record, `leaf` its 32-byte leaf hash, `size` a number of leaves and `index` a
0-based position. The node `(level, index)` is the complete subtree over the leaves
`index * 2**level ... (index + 1) * 2**level - 1`; level 0 is the leaf itself.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from bedplate.errors import InvalidInput, Tampered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    NodeReader = Callable[[int, int], bytes]

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1  # what an SQLite or PostgreSQL bigint holds
MAX_PROOF = 63  # no tree of MAX_SIZE leaves is deeper (also the limit of C2SP tlog-witness)
MAX_ENTRY = 65_535  # bytes; the length prefix in a C2SP entry bundle is a uint16
TILE_WIDTH = 256
MAX_TILE_LEVEL = 5  # C2SP tlog-tiles
EMPTY_ROOT = sha256(b"").digest()


class Node(NamedTuple):
    """A complete subtree and its 32-byte hash."""

    level: int
    index: int  # type: ignore[assignment]  # the field's name in RFC 9162 and C2SP; tuple.index is not missed here
    hash: bytes


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry's exact stored bytes into a 32-byte leaf (RFC 9162, 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two 32-byte children into their parent (RFC 9162, 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: all that is needed to append and to know the root, at most 63 hashes."""

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []  # roots of the complete subtrees the size is made of, the largest first

    def append(self, leaf: bytes) -> list[Node]:
        """Add a 32-byte leaf; return the subtrees it finished, lowest first (the leaf itself is one)."""
        _must_be_leaf(leaf)
        level, index, digest = 0, self.size, leaf
        finished = [Node(level, index, digest)]
        while index & 1:
            digest = node_hash(self._edge.pop(), digest)
            level, index = level + 1, index >> 1
            finished.append(Node(level, index, digest))
        self._edge.append(digest)
        self.size += 1
        return finished

    def root(self) -> bytes:
        """Return the 32-byte root of the tree so far."""
        return _fold(self._edge)

    def to_bytes(self) -> bytes:
        """Return the edge's hashes one after another, 32 bytes for each 1 bit of `size`."""
        return b"".join(self._edge)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """Read what `to_bytes` wrote at that size; raises Tampered if the two cannot belong together."""
        _must_be_within("frontier size", size, 0, MAX_SIZE)
        if len(data) != HASH_BYTES * size.bit_count():
            raise Tampered(
                f"a frontier of size {size} has {HASH_BYTES * size.bit_count()} bytes, this one has {len(data)}"
            )
        frontier = cls()
        frontier.size = size
        frontier._edge = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
        return frontier

    def copy(self) -> Frontier:
        """Return an independent frontier of the same tree."""
        return Frontier.from_bytes(self.size, self.to_bytes())


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over 32-byte leaves, read once and in O(log n) memory."""
    edge: list[bytes] = []
    for position, leaf in enumerate(leaves):
        _must_be_leaf(leaf)
        index, digest = position, leaf
        while index & 1:
            digest = node_hash(edge.pop(), digest)
            index >>= 1
        edge.append(digest)
    return _fold(edge)


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """Prove leaf `index` in the tree of `size` leaves, sibling first (RFC 9162, 2.1.3.1); O(log n) reads of `node`."""
    if not 0 <= index < size <= MAX_SIZE:
        raise InvalidInput(f"there is no leaf {index} in a tree of {size}")
    start, end = 0, size
    path: list[bytes] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_span(middle, end, node))
            end = middle
        else:
            path.append(_span(start, middle, node))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """Prove that the tree of `new` leaves extends the one of `old` (RFC 9162, 2.1.4.1); empty for 0 and `new`."""
    if not 0 <= old <= new <= MAX_SIZE:
        raise InvalidInput(f"a tree of {new} cannot extend a tree of {old}")
    if old == 0:
        return []
    start, end = 0, new
    path: list[bytes] = []
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_span(middle, end, node))
            end = middle
        else:
            path.append(_span(start, middle, node))
            start = middle
    if start:  # else the last span is the old tree itself, whose root the verifier has
        path.append(_span(start, end, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if `root` over `size` leaves has `leaf` at `index` (RFC 9162, 2.1.3.2); raises Tampered otherwise."""
    _must_be_within("tree size", size, 1, MAX_SIZE)
    _must_be_within("leaf index", index, 0, size - 1)
    _must_be_hashes("leaf", (leaf,))
    _must_be_hashes("root", (root,))
    sides = _sides(index, size - 1)
    _must_be_path("inclusion", proof, len(sides))
    digest = leaf
    for on_left, sibling in zip(sides, proof, strict=True):
        digest = node_hash(sibling, digest) if on_left else node_hash(digest, sibling)
    if digest != root:
        raise Tampered(
            f"leaf {index} is not in the tree of {size} with root {root.hex()}: the proof leads to {digest.hex()}"
        )


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the `new` tree extends the `old` one (RFC 9162, 2.1.4.2); raises Tampered otherwise."""
    _must_be_within("new tree size", new, 0, MAX_SIZE)
    _must_be_within("old tree size", old, 0, new)
    _must_be_hashes("old root", (old_root,))
    _must_be_hashes("new root", (new_root,))
    for size, root in ((old, old_root), (new, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise Tampered(f"the empty tree cannot have the root {root.hex()}")
    if old in (0, new):
        _must_be_path("consistency", proof, 0)
        if old == new and old_root != new_root:
            raise Tampered(
                f"two trees of {new} leaves differ: roots {old_root.hex()} and {new_root.hex()}", code="forked-tree"
            )
        return
    _walk_consistency(old, old_root, new, new_root, proof)


def tile(level: int, index: int, width: int, node: NodeReader) -> bytes:
    """Return a C2SP hash tile: `width` (1 to 256) hashes of tree level `8 * level`, 32 bytes each."""
    if not (0 <= level <= MAX_TILE_LEVEL and 0 <= index <= MAX_SIZE and 1 <= width <= TILE_WIDTH):
        raise InvalidInput(f"there is no tile at level {level}, index {index} with width {width}")
    first = index * TILE_WIDTH
    return b"".join(node(8 * level, at) for at in range(first, first + width))


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Return a C2SP entry bundle: 1 to 256 entries, each after its big-endian uint16 length."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise InvalidInput(f"an entry may have {MAX_ENTRY} bytes, this one has {len(entry)}")
        parts += (len(entry).to_bytes(2, "big"), entry)
    if not 1 <= len(parts) // 2 <= TILE_WIDTH:
        raise InvalidInput(f"an entry bundle holds 1 to {TILE_WIDTH} entries, not {len(parts) // 2}")
    return b"".join(parts)


def _fold(edge: Sequence[bytes]) -> bytes:
    """Join complete subtrees, the largest first, into the root over all of them."""
    if not edge:
        return EMPTY_ROOT
    digest = edge[-1]
    for left in edge[-2::-1]:
        digest = node_hash(left, digest)
    return digest


def _split(width: int) -> int:
    """Return the largest power of two below `width` (RFC 9162's k)."""
    return 1 << ((width - 1).bit_length() - 1)


def _span(start: int, end: int, node: NodeReader) -> bytes:
    """Return the root over leaves `start` to `end - 1`, where `start` is a multiple of the span's first subtree."""
    edge: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        edge.append(node(level, start >> level))
        start += 1 << level
    return _fold(edge)


def _sides(index: int, last: int) -> list[bool]:
    """Say for each level with a sibling, from the leaf up, whether the sibling of `index` stands on its left."""
    sides: list[bool] = []
    while last:
        if index & 1:
            sides.append(True)
        elif index < last:  # else the node has no sibling at this level and moves up as it is
            sides.append(False)
        index, last = index >> 1, last >> 1
    return sides


def _walk_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Rebuild both roots from the last complete subtree the two trees share, for 0 < old < new."""
    shift = (old & -old).bit_length() - 1  # level of the last complete subtree of the old tree
    sides = _sides((old - 1) >> shift, (new - 1) >> shift)
    whole = old == 1 << shift  # the old tree is that subtree: its root is known and not in the proof
    _must_be_path("consistency", proof, len(sides) + (not whole))
    seed, rest = (old_root, proof) if whole else (proof[0], proof[1:])
    before = after = seed
    for on_left, sibling in zip(sides, rest, strict=True):
        if on_left:
            before = node_hash(sibling, before)
            after = node_hash(sibling, after)
        else:
            after = node_hash(after, sibling)
    if before != old_root:
        raise Tampered(f"the proof leads to another tree of {old}: root {before.hex()}, not {old_root.hex()}")
    if after != new_root:
        raise Tampered(
            f"the tree of {new} with root {new_root.hex()} does not extend the tree of {old}: history was changed"
        )


def _must_be_leaf(leaf: bytes) -> None:
    if len(leaf) != HASH_BYTES:  # most likely an entry that was not hashed
        raise InvalidInput(
            f"a leaf is a {HASH_BYTES}-byte hash, this one has {len(leaf)} bytes", hint="pass leaf_hash(entry)"
        )


def _must_be_within(what: str, number: int, low: int, high: int) -> None:
    if not low <= number <= high:
        raise Tampered(f"{what} {number} is not between {low} and {high}")


def _must_be_hashes(what: str, hashes: Sequence[bytes]) -> None:
    for digest in hashes:
        if len(digest) != HASH_BYTES:
            raise Tampered(f"{what} has a hash of {len(digest)} bytes, not {HASH_BYTES}")


def _must_be_path(kind: str, proof: Sequence[bytes], length: int) -> None:
    if len(proof) != length:
        raise Tampered(f"this {kind} proof has {len(proof)} hashes, the tree needs exactly {length}")
    _must_be_hashes(f"{kind} proof", proof)
