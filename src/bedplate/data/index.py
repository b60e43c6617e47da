"""The retrieval index of a folder of Markdown files: named by what it holds, checked when opened, then only read."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

import apsw

from bedplate.errors import InvalidInput, NotFound, Tampered, Unavailable
from bedplate.kernel.event import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TABLE = "CREATE VIRTUAL TABLE passage USING fts5(ref UNINDEXED, title, heading, body, tokenize = 'porter unicode61')"
INSERT = "INSERT INTO passage (rowid, ref, title, heading, body) VALUES (?, ?, ?, ?, ?)"
SCHEMA = "SELECT sql FROM sqlite_schema WHERE name = 'passage' AND type = 'table'"
ALL = "SELECT rowid, ref, title, heading, body FROM passage ORDER BY rowid"
# A word in a heading says more about a passage than one in its text; the reference is not searched.
BEST = "SELECT rowid FROM passage WHERE passage MATCH ? ORDER BY bm25(passage, 0, 2, 3, 1), rowid LIMIT ?"

HEADING = re.compile(r"(#{1,6})[ \t]+(.*)")
FENCE = re.compile(r" {0,3}(```|~~~)")
WORD = re.compile(r"[^\W_]+")
VERSION = re.compile(r"[0-9a-f]{64}")
MAX_WORDS = 64  # distinct words of a question that are searched; longer questions are cut there
MAX_WORD = 64  # characters; nothing longer is a word
# "After", "over", "before" and "not" stay: they tell one rule from another.
STOP = frozenset(
    WORD.findall(
        "a about all also am an and any are as at be been but by can could did do does each every for from get had"
        " has have he her his how i if in into is it its ll long m many may me much must my of on or our re s shall"
        " she should so such t than that the their them then there these they this to too up us use ve was we were"
        " what when where which while who whom whose why will with would you your"
    )
)


@dataclass(frozen=True, slots=True)
class Passage:
    """One section of a file. `ref` ("03-annual-leave#overtime") is unique within an index; `text` is Markdown."""

    ref: str
    title: str
    heading: str
    text: str


def chunk(files: Mapping[str, str]) -> list[Passage]:
    """Cut Markdown files (path → text) into one passage per `##` section, files in the order of their names.

    Text before the first `##` is a passage of its own under the file's title. A section without text is left out.
    Raises InvalidInput when there are no files, a file has no text, or two files have one name.
    """
    if not files:
        raise InvalidInput("passages: no files were given", hint="name a folder that holds .md files")
    stems: dict[str, str] = {}
    for path in files:
        stem = PurePosixPath(path.replace("\\", "/")).stem
        if stem in stems:
            raise InvalidInput(
                f"{path}: has the same name as {stems[stem]}; references would not tell them apart",
                hint="rename one of them",
            )
        stems[stem] = path
    return [passage for stem, path in sorted(stems.items()) for passage in _sections(stem, path, files[path])]


def version_of(passages: Sequence[Passage]) -> str:
    """Return the SHA-256 (64 hex digits) of the passages in their order; `InvalidInput` on text that is not Unicode."""
    return hashlib.sha256(canonical([asdict(passage) for passage in passages])).hexdigest()


class Index:
    """A searchable set of passages. What `open` verified is held in memory, so the file may change without effect.

    Searching is safe from several threads.
    """

    def __init__(self, version: str, passages: Sequence[Passage], database: apsw.Connection) -> None:
        self.version = version
        self.passages = tuple(passages)
        self._database = database
        self._lock = threading.Lock()  # one connection; a search takes well under a millisecond

    @classmethod
    def build(cls, folder: Path, passages: Sequence[Passage]) -> Index:
        """Write `<folder>/<version>.db` unless it is there already, and open it.

        The file appears whole and durable or not at all. Raises InvalidInput without passages or with a reference
        used twice, Tampered if a file of this version is there and holds something else.
        """
        if not passages:
            raise InvalidInput("passages: none to index", hint="add a Markdown file with text to the folder")
        if len({passage.ref for passage in passages}) < len(passages):
            raise InvalidInput("passages: a reference is used twice", hint="rename one of the headings or files")
        version = version_of(passages)
        path = folder / f"{version}.db"
        if not path.exists():
            _write(path, passages)
        return cls.open(folder, version)

    @classmethod
    def open(cls, folder: Path, version: str) -> Index:
        """Open what `build` wrote; NotFound if absent, Tampered if what is stored does not hash to `version`."""
        if not VERSION.fullmatch(version):  # it becomes part of a path
            raise NotFound(f"index {version[:80]!r}: not a version", hint="a version is 64 hexadecimal digits")
        path = folder / f"{version}.db"
        try:
            stored = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"index {version}: not in {folder}", hint="build it from its files again") from None
        except OSError as error:
            raise Unavailable(f"index {version}: cannot be read: {error}", hint=f"check {path}") from error
        database, passages = _load(path, stored)
        if version_of(passages) != version:
            raise _tampered(path, "the passages stored are not those it was named after")
        return cls(version, passages, database)

    def search(self, question: str, top: int) -> list[Passage]:
        """Return at most `top` passages that hold any content word of the question, the best (BM25) first.

        Any text is a question; one without a content word finds nothing.
        """
        words = _words(question)
        if not words or top < 1:
            return []
        match = " OR ".join(f'"{word}"' for word in words)
        with self._lock:
            rows = self._database.execute(BEST, (match, min(top, len(self.passages)))).fetchall()
        return [self.passages[cast("int", row[0]) - 1] for row in rows]


def _sections(stem: str, path: str, text: str) -> list[Passage]:
    title, taken = "", dict[str, int]()
    parts: list[tuple[str, str, list[str]]] = [("", "", [])]  # anchor, heading, lines; first what precedes any `##`
    for level, heading, line in _lines(text):
        anchor = _anchor(heading, taken) if level else ""  # a heading of any level takes its anchor, as on GitHub
        if level == 1 and not title:
            title, parts[0] = heading, (anchor, heading, parts[0][2])
        elif level == 2:  # noqa: PLR2004  `##`
            parts.append((anchor, heading, []))
        else:
            parts[-1][2].append(line)
    if not title:
        title, parts[0] = stem, (_anchor(stem, taken), stem, parts[0][2])
    bodies = ((anchor, heading, "\n".join(lines).strip()) for anchor, heading, lines in parts)
    passages = [Passage(f"{stem}#{anchor}", title, heading, body) for anchor, heading, body in bodies if body]
    if not passages:
        raise InvalidInput(f"{path}: holds no text to retrieve", hint="write some under a `##` heading")
    return passages


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (level, heading, line); the level is 0 for what is no heading, as everything in a fenced block is."""
    fence = ""
    for line in text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"):
        mark = FENCE.match(line)
        if mark and fence in {"", mark[1]}:
            fence = "" if fence else mark[1]
        found = None if fence else HEADING.fullmatch(line)
        heading = found[2].strip().rstrip("#").rstrip() if found else ""
        yield (len(found[1]), heading, line) if found and heading else (0, "", line)


def _anchor(heading: str, taken: dict[str, int]) -> str:
    """Return the heading's anchor as GitHub makes it: the second of a name ends in -1, the third in -2."""
    plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    anchor = plain
    while anchor in taken:
        taken[plain] += 1
        anchor = f"{plain}-{taken[plain]}"
    taken[anchor] = 0
    return anchor


def _words(question: str) -> list[str]:
    """Return the distinct content words in their order. They hold letters and digits only, so no FTS5 syntax."""
    words = dict.fromkeys(word for word in WORD.findall(question.lower()) if len(word) <= MAX_WORD)
    return [word for word in words if word not in STOP][:MAX_WORDS]


def _write(path: Path, passages: Sequence[Passage]) -> None:
    """Make the file elsewhere and rename it when it is durable, so that nobody sees half of one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as place:
            temporary = Path(place) / path.name
            with closing(apsw.Connection(str(temporary))) as database, database:
                database.execute(TABLE)
                rows = ((number, p.ref, p.title, p.heading, p.text) for number, p in enumerate(passages, 1))
                database.executemany(INSERT, rows)
            _sync(temporary)
            temporary.replace(path)
        _sync(path.parent)
    except (apsw.Error, OSError) as error:
        raise Unavailable(f"index {path.stem}: cannot be written: {error}", hint=f"check {path.parent}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(path: Path, stored: bytes) -> tuple[apsw.Connection, list[Passage]]:
    """Copy the file into memory, where SQLite can check that its words still belong to its passages."""
    database = apsw.Connection(":memory:")
    try:
        database.deserialize("main", stored)
        if database.execute(SCHEMA).fetchall() != [(TABLE,)]:
            raise _tampered(path, "it is not laid out as an index")
        database.execute("INSERT INTO passage (passage) VALUES ('integrity-check')")
        rows = database.execute(ALL).fetchall()
    except (apsw.Error, UnicodeDecodeError) as error:
        raise _tampered(path, str(error)) from error
    if [row[0] for row in rows] != list(range(1, len(rows) + 1)):
        raise _tampered(path, "its passages are not numbered from 1")
    return database, [Passage(*(str(value) for value in row[1:])) for row in rows]


def _tampered(path: Path, why: str) -> Tampered:
    return Tampered(f"index {path}: {why}", hint="keep the file as evidence and build the index again")
