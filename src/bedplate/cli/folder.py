"""A use case's folder, read: every text file in it, and a clear word about what is not text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = "use-case.yaml"
MAX_FILE = 1 << 20  # characters, as the server accepts them
MAX_FILES = 500
MAX_ALL = 16 << 20
HIDDEN_KEPT = ".github"  # the pipeline belongs to the use case
LEFT_OUT = {"__pycache__", "node_modules"}


def read_text(path: Path) -> str:
    """Return a text file's content; `NotFound` or `InvalidInput` says what is wrong with it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as wrong:
        raise InvalidInput(f"{path} cannot be read: {wrong.strerror}") from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not text (UTF-8)", hint="only text files are part of a release") from None
    if "\0" in text:
        raise InvalidInput(f"{path} is a binary file", hint="only text files are part of a release")
    if len(text) > MAX_FILE:
        raise InvalidInput(f"{path} holds {len(text)} characters; a file may hold {MAX_FILE}")
    return text


def read_folder(folder: Path, sources: dict[str, Path]) -> dict[str, str]:
    """Return a folder's files by relative name, hidden ones left out, with those of `sources` under their names."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}")
    if not (folder / SPEC).is_file():
        raise NotFound(f"there is no {SPEC} in {folder}", hint="name the use case's folder")
    files: dict[str, str] = {}
    for prefix, root in {"": folder, **sources}.items():
        if not root.is_dir():
            raise NotFound(f"there is no folder {root}")
        for path in _walk(root):
            name = (Path(prefix) / path.relative_to(root)).as_posix()
            files[name] = read_text(path)
            if len(files) > MAX_FILES:
                raise InvalidInput(f"{root} holds more than {MAX_FILES} files", hint="name the use case's own folder")
    size = sum(map(len, files.values()))
    if size > MAX_ALL:
        raise InvalidInput(f"the files hold {size} characters; a release may hold {MAX_ALL}")
    return files


def _walk(root: Path) -> Iterator[Path]:
    """Yield regular files, sorted. A link is refused: what it points to could be anybody's."""
    for here, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if _kept(f))
        for name in sorted(n for n in [*folders, *names] if _kept(n)):
            path = Path(here, name)
            if path.is_symlink():
                raise InvalidInput(f"{path} is a link", hint="put the file itself there, or name its folder: --source")
            if path.is_file():
                yield path


def _kept(name: str) -> bool:
    return (not name.startswith(".") or name == HIDDEN_KEPT) and name not in LEFT_OUT
