"""Maturity: what the records bear out, what is worth most to do next, and what a stage would change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from bedplate.errors import Conflict

from .output import fields, line, note, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

maturity_app = App(name="maturity", help="How far the operating model is, by its records, and the next stage.")
HAS_CHANGES = 4


@maturity_app.default
def maturity(*, server: Server = THERE) -> int:
    """Show what is reached per layer, by which records, and what is worth most to do next."""
    told = server.client().get("/api/maturity")
    server.show(told, lambda: _shown(told))
    return 0


@maturity_app.command
def plan(
    file: Path,
    *,
    stage: Annotated[
        Literal["", "first-ten", "at-scale"], Parameter(help="Another stage than the one that the records bear out.")
    ] = "",
    out: Annotated[
        Path | None, Parameter(help="Where to write it. Otherwise beside FILE, named for the stage.")
    ] = None,
    server: Server = THERE,
) -> int:
    """Write what FILE, an operating model, would be at the recommended stage.

    Nothing is applied: read the difference, then bedplate plan and bedplate apply the new file. Exit code 4 if it
    differs, 0 if it does not. A file that is there is never overwritten.
    """
    from .folder import read_text

    told = server.client().post(
        "/api/maturity/plan", {"name": str(file)[-200:], "text": read_text(file), "stage": stage}
    )
    path = out or file.with_name(f"{file.stem}.{told['stage']}{file.suffix}")
    if told["diff"]:
        try:
            with path.open("x", encoding="utf-8") as written:
                written.write(told["text"])
        except FileExistsError:
            raise Conflict(
                f"{path} is there already and is not overwritten", hint="move it, or name another: --out FILE"
            ) from None
    server.show({**told, "file": str(path) if told["diff"] else ""}, lambda: _planned(told, path))
    return HAS_CHANGES if told["diff"] else 0


def _shown(told: Mapping[str, Any]) -> None:
    for layer in told["layers"]:
        line(f"{layer['name']}: {layer['reached']} of {layer['judged']} reached")
        table(
            ("", "point", "records", "first to look at"),
            [(p["state"], p["title"], _counted(p), " ".join(p["missing"][:2])) for p in layer["points"]],
            wraps=1,
        )
        line()
    if told["steps"]:
        line("worth most to do next")
        for number, step in enumerate(told["steps"], 1):
            line(f"  {number}. {step['step']} ({step['title'].lower()}: {_counted(step)})   {step['command']}")
        line()
    _stage(told["stage"])


def _stage(stage: Mapping[str, Any]) -> None:
    criteria = "\n".join(f"{c['name']}: {c['have']} of {c['need']}" for c in stage["criteria"])
    fields({"stage by records": stage["stage"], "stage in the file": stage["declared"], "next": stage["following"]})
    if criteria:
        fields({f"{stage['following']} takes": criteria})
    if stage["ahead"]:
        note("The file is ahead of its records: what it delegates is not yet borne out.")
    elif stage["stage"] != stage["declared"]:
        note("See what the stage would change: bedplate maturity plan operating-model.yaml")


def _planned(told: Mapping[str, Any], path: Path) -> None:
    for change in told["changes"]:
        if change["state"] == "changes":
            before = f"{change['before']} → " if change["before"] else ""
            line(f"~ {change['path']}: {before}{change['after'] or '(dropped)'}", style="yellow")
            line(f"      {change['why']}")
        elif change["state"] != "there already":
            line(f"  {change['path']} {change['state']}")
    if not told["diff"]:
        line(f"it has all that is recommended at {told['stage']}")
        return
    if not told["exact"]:
        note("Its spacing could not be kept everywhere: compare before you apply it.")
    if told["recommended"] != told["stage"]:
        note(f"The records bear out {told['recommended']}; this is {told['stage']} because you named it.")
    line("wrote", path)
    note(f"Nothing was applied. See what it would change: bedplate plan {path}")


def _counted(point: Mapping[str, Any]) -> str:
    return f"{point['good']} of {point['of']}" if point["of"] else "nothing yet"
