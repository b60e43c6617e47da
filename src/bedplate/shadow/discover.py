"""Look through folders for AI in use: what is imported and declared, who is called, which agents are described."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput

from .pattern import Look, data_kind, data_words, group_of, groups
from .score import CREDENTIAL, DATA
from .sighting import MAX_HINTS, MAX_TEXT, Sighting
from .signature import signatures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .sighting import Kind
    from .signature import Provider

MAX_FILE = 1 << 20  # bytes; what is larger is data, or made by a machine
HEAD = 8_192  # bytes in which a zero byte shows a file that is no text
MAX_SERVERS = 20  # of one MCP file
PLACES = 3  # named for each sighting
PROVIDERLESS = ("agents", "ai-sdk")  # ids that stand for several frameworks: what was found is named instead


@dataclass(slots=True)
class Discovery:
    """What a look through folders found, and how much of them it read."""

    sightings: list[Sighting] = field(default_factory=list)
    files: int = 0  # there
    read: int = 0
    too_large: int = 0
    binary: int = 0
    unreadable: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Mark:
    times: int = 0
    places: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    data: Counter[str] = field(default_factory=Counter)


_Key = tuple["Kind", str, str, str]  # kind, what, provider, repository


def discover(paths: Sequence[Path], now: int, *, team: str = "", max_file: int = MAX_FILE) -> Discovery:
    """Look through folders. A repository is the nearest folder with `.git`, or else the one that was named.

    Nothing of a key is kept but its kind and a digest of its last four characters.
    """
    found, marks = Discovery(), dict[_Key, _Mark]()
    began = time.monotonic()
    for path in paths:
        if not path.is_dir():
            raise InvalidInput(f"{path} is not a folder", hint="name folders with sources: bedplate discover ~/src")
        for file, relative, repository in _walk(path.resolve()):
            found.files += 1
            _look(found, marks, file, relative, repository, max_file)
    found.seconds = time.monotonic() - began
    found.sightings = [_sighting(key, mark, now, team) for key, mark in marks.items()]
    return found


def _walk(top: Path) -> Iterator[tuple[os.DirEntry[str], str, str]]:
    """Yield files with their path within their repository, and the repository's name; links are not followed."""
    waiting = [(str(top), "", top.name)]
    skipped = signatures().skip_folders
    while waiting:
        folder, within, repository = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue  # whoever looks may not: the counts show less, and nothing is claimed of it
        if within and any(entry.name == ".git" for entry in entries):
            within, repository = "", Path(folder).name
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_symlink():
                continue
            inside = f"{within}/{entry.name}" if within else entry.name
            if entry.is_dir():
                if entry.name not in skipped:
                    waiting.append((entry.path, inside, repository))
            else:
                yield entry, inside, repository


def _look(
    found: Discovery, marks: dict[_Key, _Mark], file: os.DirEntry[str], relative: str, repository: str, max_file: int
) -> None:
    known = signatures()
    if manifest := _manifest(relative, file.name):
        _note(marks, ("manifest", manifest, "", repository), relative, 1)
    group = group_of(file.name)
    mcp = file.name in known.mcp_files
    content = _read(found, file.path, max_file) if group or mcp else None
    if content is None:
        return
    if mcp:
        for server in _servers(content):
            _note(marks, ("mcp", f"MCP: {server}"[:MAX_TEXT], "", repository), relative, 1)
    if not group:
        return
    looks = groups()[group].found(content)
    touched = [mark for look in looks for mark in _matches(marks, look, content, group, relative, repository)]
    if touched:
        words = {data_kind(match.group(1).decode()) for match in data_words().finditer(content)}
        for mark in touched:
            mark.data.update(words)


def _read(found: Discovery, path: str, most: int) -> bytes | None:
    """Read a file's text, and count it as what it is."""
    try:
        content = _content(path, most)
    except OSError:
        found.unreadable += 1
        return None
    if content is None:
        found.too_large += 1
    elif b"\0" in content[:HEAD]:
        found.binary += 1
        return None
    else:
        found.read += 1
    return content


def _matches(
    marks: dict[_Key, _Mark], look: Look, content: bytes, group: str, relative: str, repository: str
) -> Iterator[_Mark]:
    for match in look.expression.finditer(content):
        text = match.group(1).decode("latin-1")
        provider = look.names(text)
        if provider is None or (look.strict and _aside(content, match.start(1), group)):
            continue
        line = content.count(b"\n", 0, match.start(1)) + 1
        place = f"{relative}:{line}"
        mark = _note(marks, (look.kind, _what(look, text, provider), provider.name, repository), place, 1)
        if look.kind == "model":
            mark.said = list(dict.fromkeys((*mark.said, f"model {text}")))[:MAX_HINTS]
        if look.kind == "key":
            mark.said = [f"{CREDENTIAL}{provider.name} key in {place}", *mark.said][:1]
        yield mark


def _what(look: Look, text: str, provider: Provider) -> str:
    match look.kind:
        case "endpoint":
            return text.lower()
        case "model":
            return f"{provider.name} models"
        case "key":
            return f"{provider.name} key …{hashlib.sha256(text[-4:].encode()).hexdigest()[:6]}"
        case _:
            return text.lower() if provider.id in PROVIDERLESS else provider.id


def _aside(content: bytes, start: int, group: str) -> bool:
    """Tell whether a place is in a comment, a docstring or a list of keywords, where things are spoken of."""
    begins = content.rfind(b"\n", 0, start) + 1
    before = content[begins:start].lstrip()
    if group in {"js", "java", "go", "csharp", "rust"}:
        return before.startswith((b"//", b"*", b"/*"))
    if before.startswith(b"#") or (group == "pyproject" and before.startswith(b"keywords")):
        return True
    if group != "python":
        return False
    return any(content.count(quotes, 0, begins) % 2 == 1 for quotes in (b'"""', b"'''"))


def _note(marks: dict[_Key, _Mark], key: _Key, place: str, times: int) -> _Mark:
    mark = marks.setdefault(key, _Mark())
    mark.times += times
    if len(mark.places) < PLACES:
        mark.places.append(place)
    return mark


def _manifest(relative: str, name: str) -> str:
    known = signatures().manifests
    if name in known:
        return known[name]
    if "/" not in relative:
        return ""
    if "/.claude/agents/" in f"/{relative}" and name.endswith(".md"):
        return "Claude Code agents"
    return next((what for end, what in known.items() if "/" in end and f"/{relative}".endswith(f"/{end}")), "")


def _servers(content: bytes) -> list[str]:
    """Return the names of the servers in an MCP file; one that cannot be read is named as such."""
    try:
        body: Any = json.loads(content)
        named: Any = next((body[key] for key in signatures().mcp_keys if isinstance(body.get(key), dict)), {})
    except (ValueError, AttributeError, RecursionError):
        return ["a file that cannot be read"]
    return [str(name) for name in named if str(name).isprintable()][:MAX_SERVERS]


def _content(path: str, most: int) -> bytes | None:
    """Read a file; None if it is larger. What is no plain file is not opened: a pipe would be waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(path)
        if told.st_size > most:
            return None
        return os.read(handle, most + 1)
    finally:
        os.close(handle)


def _sighting(key: _Key, mark: _Mark, now: int, team: str) -> Sighting:
    kind, what, provider, repository = key
    said = [f"{DATA}{word}" for word, _ in mark.data.most_common()]
    places = [f"at {place}" for place in mark.places]
    hints = tuple(h for h in (*mark.said, *said, *places) if h.isprintable())
    where = "".join(c if c.isprintable() else "?" for c in repository)[:MAX_TEXT] or "/"
    return Sighting(kind, what, where, "code", provider, team, mark.times, now, now, hints=hints)
