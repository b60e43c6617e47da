"""Golden paths: starting a use case from a proven one, and making a path of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from bedplate.errors import Conflict, Tampered

from .output import fields, line, moment, note, short, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

path_app = App(name="path", help="Golden paths: publish one, list them.")

BY_HAND = (  # what a path cannot know about the new use case
    ("use-case.yaml", "purpose, value, data: what this use case is for, and what it stands on"),
    ("evals.yaml", "cases about its own subject; the inherited ones only ask what it must not answer"),
    ("prompts/", "read the prompt once: it speaks of the use case it came from"),
)


def new(
    name: str,
    *,
    path: Annotated[str, Parameter(name="--from", help="The path to start from: bedplate path list.")],
    title: Annotated[str, Parameter(help="What people call it. Otherwise made from NAME.")] = "",
    folder: Annotated[Path | None, Parameter(help="Where to write it. Otherwise ./NAME.")] = None,
    server: Server = THERE,
) -> int:
    """Start a use case from a golden path.

    Writes its files into a folder of its own, and says what is inherited and what is left to write.
    """
    target = folder if folder is not None else Path(name)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise Conflict(f"{target} is there already and is not overwritten", hint="name another: --folder FOLDER")
    made = server.client().start_from(path, name, title or name.replace("-", " ").capitalize())
    files: Mapping[str, str] = made["files"]
    _write(target, files)
    lines = {file: len([x for x in text.splitlines() if x.strip()]) for file, text in files.items()}
    left = [
        {"file": file, "what": what} for file, what in BY_HAND if any(f == file or f.startswith(file) for f in files)
    ]

    def text() -> None:
        line(f"{target}: from the path {made['path']}, version {made['version']}")
        line(f"inherited: {sum(lines.values())} lines")
        table(("  file", "lines"), [(f"  {file}", count) for file, count in sorted(lines.items())], wraps=0)
        line("left to write")
        fields({f"  {x['file']}": x["what"] for x in left})
        note(f"Then: bedplate plan {target / 'use-case.yaml'}")

    told = {
        "path": made["path"],
        "version": made["version"],
        "folder": str(target),
        "inherited": lines,
        "by_hand": left,
    }
    server.show(told, text)
    return 0


@path_app.command
def publish(use_case: str, *, server: Server = THERE) -> int:
    """Make a golden path of a use case's live release."""
    told = server.client().publish_path(use_case)
    server.show(
        told, lambda: line(f"published {told['path']}, version {told['version']}, from {short(told['release'])}")
    )
    if server.output == "text":
        note(f"Start from it with: bedplate new NAME --from {told['path']}")
    return 0


@path_app.command(name="list")
def list_paths(*, server: Server = THERE) -> int:
    """List the golden paths."""
    listed = server.client().get("/api/paths")["paths"]

    def text() -> None:
        if not listed:
            note("There is no path yet. Publish one: bedplate path publish USE-CASE")
            return
        rows = [
            (p["name"], p["version"], short(p["release"]), p["published_by"], moment(p["published_at"])) for p in listed
        ]
        table(("path", "version", "release", "published by", "at"), rows, wraps=0)

    server.show({"paths": listed}, text)
    return 0


def _write(target: Path, files: Mapping[str, str]) -> None:
    root = target.resolve()
    for file in files:
        if root not in (root / file).resolve().parents:  # a server must not write elsewhere on this computer
            raise Tampered(f"the path holds a file outside its folder: {file!r}", hint="do not use this server")
    for file, text in files.items():
        place = root / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
