"""Taint: whence the values in a call are. Kept are keyed hashes of what a run was told and read, never the text.

A text is taken apart into atoms. A value is the user's or a trusted source's own if all its atoms stand in what they
said; it is tainted if one of the others stands in what an outsider said; else nobody knows whence it is.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from .atom import ECHO, NAME, PART, TYPED, VALUE, heard, names_in, normal, rows_of, said, whole, words_in
from .toolcall import Tainted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .charter import Tool

TASK = "task"  # the source of what the user said
NOWHERE = "nowhere"
MAX_CHARS, MAX_ATOMS = 1 << 18, 100_000  # of one text; a longer one taints whatever is not trusted
NAMED, FLOOD = 0x7E, 0x7F  # flags of a whole text
SIZE = 9  # bytes of an atom: kind, and eight of the hash


class Provenance:
    """What one run was told and has read. `key`: so that nobody can tell words from hashes; at most 64 bytes."""

    __slots__ = ("_asked", "_flood", "_key", "_kinds", "_named", "_sources", "_trusted", "_untrusted")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._trusted: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._untrusted: dict[bytes, list[int]] = {}  # the steps that read it
        self._sources: dict[int, str] = {}
        self._kinds: dict[tuple[int, int], set[bytes]] = {}  # what a step read of one kind
        self._named: set[int] = set()  # steps that read what the user named
        self._flood: int | None = None

    # Learning

    def trust(self, text: str, step: int, source: str) -> None:
        """Take note of what the user said (source `task`), or of what a trusted source returned."""
        self.add(self.atoms(text), trusted=True, step=step, source=source)

    def distrust(self, text: str, step: int, source: str, *, named: bool = False) -> None:
        """Take note of a text that an outsider may have written. `named`: the user named the place it was read from."""
        self.add(self.atoms(text, named=named), trusted=False, step=step, source=source)

    def atoms(self, text: str, *, named: bool = False) -> bytes:
        """Return a text's atoms as hashes, to be kept and added again."""
        found = bytearray(bytes([NAMED]) + bytes(8)) if named else bytearray()
        seen: set[tuple[int, str]] = set()
        for kind, atom in heard(text[:MAX_CHARS]):
            if (kind, atom) not in seen:
                seen.add((kind, atom))
                found += self._hash(kind, atom)
            if len(seen) >= MAX_ATOMS:
                break
        if len(text) > MAX_CHARS or len(seen) >= MAX_ATOMS:
            found += bytes([FLOOD]) + bytes(8)
        return bytes(found)

    def values(self, values: Iterable[object]) -> bytes:
        """Return values as hashes, each as a whole: what a trusted field holds says nothing about the words in it."""
        return b"".join({self._hash(VALUE, whole(value)): None for value in values})

    def learned(
        self, tool: Tool, arguments: Mapping[str, Any], result: object, message: str = ""
    ) -> list[tuple[bool, bytes]]:
        """Return what a tool returned as atoms to be kept and added: those that are trusted, and those that are not."""
        if tool.output == "trusted":
            return [(True, self.atoms(_text(result, message)))]
        if isinstance(result, str) and tool.trusted and result[:1] in {"{", "["}:
            with suppress(msgspec.DecodeError):
                result = msgspec.json.decode(result)
        own = [value for path in tool.trusted for _, value, key in _at(result, path) if not key]
        found = [(True, self.values(own))] if own else []
        return [*found, (False, self.atoms(_text(result, message), named=self.names(arguments)))]

    def add(self, atoms: bytes, trusted: bool, step: int, source: str) -> None:  # noqa: FBT001  as it is kept
        """Add a text by its atoms."""
        if len(atoms) % SIZE:
            raise ValueError(f"{len(atoms)} bytes are no atoms")
        records = [atoms[place : place + SIZE] for place in range(0, len(atoms), SIZE)]
        if trusted:
            whole = [one for one in records if one[0] <= NAME]
            self._trusted.update(whole)
            if source == TASK:
                self._asked.update(whole)
            return
        self._sources[step] = source
        for one in records:
            kind = one[0]
            if kind == NAMED:
                self._named.add(step)
            elif kind == FLOOD:
                self._flood = step if self._flood is None else self._flood
            else:
                if kind in TYPED:
                    self._kinds.setdefault((step, kind), set()).add(one)
                bare = bytes([kind & ~PART]) + one[1:]
                self._untrusted.setdefault(bare, []).append(step)

    # Asking

    @property
    def distrusts(self) -> bool:
        """Tell whether the run has read anything that an outsider may have written."""
        return bool(self._untrusted) or self._flood is not None

    def asked(self, phrases: Iterable[str]) -> bool:
        """Tell whether the user said one of these: every word of it."""
        return any(
            words and all(self._hash(*one) in self._asked for one in words)
            for words in ([f for alternatives in said(phrase) for f in alternatives[:1]] for phrase in phrases)
        )

    def names(self, arguments: Mapping[str, Any]) -> bool:
        """Tell whether the user named what is read: every text in these arguments is in the user's own words."""
        texts = [value for _, value, _ in _leaves("", dict(arguments)) if isinstance(value, str) and value.strip()]
        return bool(texts) and all(
            bool(found := said(text)) and all(any(self._hash(*f) in self._asked for f in alts) for alts in found)
            for text in texts
        )

    def tainted(
        self,
        arguments: Mapping[str, Any],
        paths: Sequence[str],
        vouch: bool = False,  # noqa: FBT001, FBT002  mostly left out
        *,
        links: bool = False,
    ) -> list[Tainted]:
        """List values at these paths that are not the user's or a trusted source's own.

        `vouch`: an address, host or number that stands in a place the user named, the only one of its kind there,
        counts as the user's own. `links`: look at addresses, hosts and numbers of accounts and telephones only.
        """
        found: dict[str, Tainted] = {}
        for path in paths:
            for name, value, key in _at(arguments, path):
                one = None if name in found else self._judge(name, value, vouch=vouch, links=links)
                if one is not None and (not key or one.source != NOWHERE):
                    found[name] = one
        return list(found.values())

    def contested(self, arguments: Mapping[str, Any], paths: Sequence[str]) -> bool:
        """Tell whether an outsider names a value at these paths that the user did not, whoever else names it too."""
        for path in paths:
            for _, value, _ in _at(arguments, path):
                atoms = [[self._hash(*one) for one in alternatives] for alternatives in said(value)]
                named = all(any(one in self._untrusted for one in alternatives) for alternatives in atoms)
                asked = all(any(one in self._asked for one in alternatives) for alternatives in atoms)
                if atoms and named and not asked:
                    return True
        return False

    def echoes(self, arguments: Mapping[str, Any], paths: Sequence[str], *, names: bool = False) -> bool:
        """Tell whether a text at these paths repeats six words in a row of what an outsider said.

        `names`: whether it repeats a name of two words or more (words with capitals) that an outsider named and the
        user did not.
        """
        kind, own = (NAME, self._asked) if names else (ECHO, self._trusted)
        for path in paths:
            for _, value, _ in _at(arguments, path):
                if isinstance(value, str):
                    for row in names_in(value) if names else rows_of(words_in(normal(value))):
                        atom = self._hash(kind, row)
                        if atom in self._untrusted and atom not in own:
                            return True
        return False

    def _judge(self, name: str, value: object, *, vouch: bool, links: bool = False) -> Tainted | None:
        steps: list[int] = []
        nowhere = False
        if not links and self._hash(VALUE, whole(value)) in self._trusted:
            return None
        for alternatives in said(value):
            if links and alternatives[0][0] not in TYPED:
                continue
            atoms = [self._hash(kind, atom) for kind, atom in alternatives]
            if any(atom in self._trusted for atom in atoms):
                continue
            where = [step for atom in atoms for step in self._untrusted.get(atom, ())]
            if vouch and any(self._vouched(atom) for atom in atoms):
                continue
            steps += where
            nowhere = nowhere or not where
        if steps:
            return Tainted(name, min(steps), self._sources[min(steps)])
        if nowhere and self._flood is not None:
            return Tainted(name, self._flood, self._sources[self._flood])
        return Tainted(name, 0, NOWHERE) if nowhere else None

    def _vouched(self, atom: bytes) -> bool:
        return any(
            step in self._named and self._kinds.get((step, atom[0])) == {atom} for step in self._untrusted.get(atom, ())
        )

    def _hash(self, kind: int, atom: str) -> bytes:
        told = bytes([kind & ~PART]) + atom.encode("utf-8", "surrogatepass")
        return bytes([kind]) + blake2b(told, digest_size=8, key=self._key).digest()


def _text(result: object, message: str) -> str:
    texts = [str(value) for _, value, key in _leaves("", result) if not key]
    return "\n".join([*texts, message] if message else texts)


# Walking through values


def _leaves(name: str, value: object) -> Iterator[tuple[str, object, bool]]:
    """Yield every value within a value, with its path; keys too, marked as such."""
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{name}.{key}" if name else str(key)
            if name:
                yield f"{path}.(key)", str(key), True
            yield from _leaves(path, inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(f"{name}.{number}" if name else str(number), inner)
    elif value is not None and not isinstance(value, bool):
        yield name, value, False


def _at(arguments: object, path: str) -> Iterator[tuple[str, object, bool]]:
    """Yield every value at or below a path, in which `*` stands for every key or place."""
    if "." not in path and path != "*" and isinstance(arguments, dict):  # as nearly every path is
        if path in arguments:
            yield from _leaves(path, arguments[path])
        return
    here: list[tuple[str, object]] = [("", arguments)]
    for part in path.split("."):
        onward: list[tuple[str, object]] = []
        for name, value in here:
            pairs: Iterable[tuple[Any, object]] = ()
            if isinstance(value, dict):
                pairs = value.items() if part == "*" else [(part, value[part])] if part in value else ()
            elif isinstance(value, list | tuple):
                if part == "*":
                    pairs = enumerate(value)
                elif part.isdecimal() and int(part) < len(value):
                    pairs = [(part, value[int(part)])]
            onward += [(f"{name}.{key}" if name else str(key), inner) for key, inner in pairs]
        here = onward
    for name, value in here:
        yield from _leaves(name, value)
