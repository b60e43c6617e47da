"""`bedplate path upgrade`: what a path's next version changes comes into a sibling's folder, three ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bedplate.errors import InvalidInput

from .output import line, note
from .paths import path_app, show_owed, write_files
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.paths.upgrade import Merged
    from bedplate.sdk import Client

CHANGES, CONFLICTS = 4, 3


@path_app.command
def upgrade(
    folder: Path = Path(),
    *,
    check: Annotated[bool, Parameter(help="Write nothing; exit code 4 if anything would change.")] = False,
    write_conflicts: Annotated[
        bool, Parameter(help="Where you and the path changed the same, write both between markers.")
    ] = False,
    server: Server = THERE,
) -> int:
    """Bring the newest version of its path into a sibling's folder.

    Compares what the path rendered, your files, and what it renders now. Writes all files or none, and says whether
    it must be approved again, and why. Exit code 3 if you and the path changed the same lines.
    """
    from bedplate.paths.upgrade import merge

    from .folder import read_folder

    files = read_folder(folder, {})
    client = server.client()
    told = _renderings(client, files, folder)
    merged = merge(told["old"], files, told["new"])
    after = {name: text for name, text in {**files, **merged.files}.items() if name not in merged.removed}
    found = client.post("/api/paths/owed", {"files": after}) if merged.clean else None
    if not check:
        if not write_conflicts:
            merged.refuse_conflicts()
        write_files(folder, merged.files)
        for name in merged.removed:
            (folder / name).unlink()
    plain = {
        "path": told["path"],
        "from": told["from"],
        "to": told["to"],
        "changed": sorted(merged.files),
        "removed": list(merged.removed),
        "conflicts": {file: list(lines) for file, lines in merged.conflicts.items()},
        "reapproval": {"needed": bool(found["votes"]), "why": why(found)} if found is not None else None,
        "written": not check and bool(merged.files or merged.removed),
    }
    server.show(plain, lambda: _show(plain, merged, files, found))
    if merged.conflicts:
        return CONFLICTS
    return CHANGES if check and (merged.files or merged.removed) else 0


def why(found: Mapping[str, Any]) -> list[str]:
    """Say why a sibling must be approved again; nothing where it need not be."""
    said = [found["ended"]] if found["ended"] else []
    said += found["deviations"]
    if not said and found["votes"]:
        said = ["the path's approvers could not vote on it: another domain, its owner or its requester"]
    return said


def _renderings(client: Client, files: Mapping[str, str], folder: Path) -> dict[str, Any]:
    from bedplate.document import parse

    from .folder import SPEC

    own = parse(files[SPEC], str(folder / SPEC)).root.get("path")
    if not isinstance(own, dict) or not isinstance(own.get("name"), str):
        raise InvalidInput(f"{folder / SPEC} names no path", hint="only what was made by `bedplate new` follows one")
    return client.post(f"/api/paths/{own['name']}/upgrade", {"name": SPEC, "text": files[SPEC]})


def _show(told: Mapping[str, Any], merged: Merged, files: Mapping[str, str], found: Mapping[str, Any] | None) -> None:
    from difflib import unified_diff

    if not (merged.files or merged.removed):
        line(f"{told['path']}: nothing to change, version {told['to']} is the newest")
    else:
        line(f"{told['path']}: version {told['from']} → {told['to']}")
    for name, text in merged.files.items():
        diff = unified_diff(files.get(name, "").splitlines(), text.splitlines(), name, name, lineterm="", n=1)
        for row in diff:
            colour = {"+": "green", "-": "red"}.get(row[:1], "")
            line(f"  {row}", style=colour)
    for name in merged.removed:
        line(f"  removed: {name}", style="red")
    for file, lines in merged.conflicts.items():
        line(f"  conflict: {file}, line {', '.join(map(str, lines))}", style="red")
    if found is not None:
        line(f"re-approval needed: {'yes' if found['votes'] else 'no'}")
        show_owed(found)
    elif merged.conflicts:
        note("Choose between the versions first; then `bedplate path owed --folder .` says what is owed.")
