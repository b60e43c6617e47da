"""`bedplate release` and `bedplate gate`: taking a use case live, on evidence."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bedplate.errors import Conflict, InvalidInput, Unavailable, Unreachable

from .approvals import bare, who
from .output import line, note, short, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.sdk import Client

OUTCOMES = {"live": 0, "waiting": 6, "denied": 5}
POLL_S = 2
CARRIED_OUT_S = 30  # between the last vote and its effect there are seconds at most
RELEASE_S = 1800  # the evals of a large suite, asked one by one of a slow model


def release(
    folder: Path = Path(),
    *,
    source: Annotated[
        list[str] | None,
        Parameter(help="NAME=FOLDER: take the files of a data source from elsewhere. May be repeated."),
    ] = None,
    wait: Annotated[bool, Parameter(help="Wait until the approval is answered.")] = False,
    server: Server = THERE,
) -> int:
    """Build a release, evaluate it, ask for it to go live.

    FOLDER holds use-case.yaml. Its text files are sent, hidden ones left out. The server runs the evals and the gate.
    """
    from .folder import SPEC, read_folder

    files = read_folder(folder, sources_of(source or []))
    name = named(files, str(folder / SPEC))
    client = server.client(timeout_s=RELEASE_S)
    if server.output == "text":
        note(f"{len(files)} files of {name} sent; its evals run now.")
    made = client.release(name, files)
    missing = client.approval(made["approval"]) if made["approval"] else None
    if server.output == "text":
        _shown(made)
        if missing is not None:
            line(f"approval {bare(missing['id'])}; must agree: {'; '.join(who(client, missing))}")
    if wait and missing is not None:
        made["state"] = _waited(client, made["approval"], quiet=server.output == "json")
        if server.output == "text":
            line(made["state"], f"release {made['number']} of {name}")
    server.show(made, lambda: None)
    return OUTCOMES[made["state"]]


def gate(
    use_case: str,
    *,
    release: Annotated[str, Parameter(help="The release's digest, or how it begins. Otherwise the newest.")] = "",
    server: Server = THERE,
) -> int:
    """Evaluate the gate of a release.

    Shows what is proven and what to do about the rest. Exit code 0 if all is proven, 5 if not.
    """
    found = server.client().gate(use_case, release)
    passes = all(x["state"] == "proven" for x in found["gate"])

    def text() -> None:
        line(f"release {found['number']} of {use_case} ({short(found['release'])}, {found['state']})")
        gate_table(found["gate"])

    server.show({**found, "passes": passes}, text)
    return 0 if passes else OUTCOMES["denied"]


def gate_table(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print a gate: each control, its state and what is known; and under it what to do."""
    table(("control", "state", "what is known"), [(x["control"], x["state"], x["summary"]) for x in lines])
    for x in lines:
        if x["state"] != "proven" and x["fix"]:
            line(f"  fix {x['control']}: {x['fix']}", style="yellow")


def _shown(made: Mapping[str, Any]) -> None:
    line(f"release {made['number']} ({short(made['release'])}), answered by {made['answered_by']}")
    line(f"evals: {made['passed']} of {made['total']} pass")
    for failure in made["failures"]:
        line(f"  failed {failure['case']}: {failure['why']}", style="red")
    if made["attack"] is not None:
        line(f"red team: {made['attack']['passed']} of {made['attack']['total']} attacks withstood")
        for failure in made["breaches"]:
            line(f"  failed {failure['case']}: {failure['why']}", style="red")
    gate_table(made["gate"])
    told = {"live": "it answers calls now", "waiting": "for approval", "denied": "by the gate; nothing went live"}
    line(made["state"], told[made["state"]])


def _waited(client: Client, approval: str, *, quiet: bool) -> str:
    """Ask again until the approval is answered; a server that is away for a while does not end the waiting."""
    if not quiet:
        note("Waiting for the answer. Ctrl-C stops waiting, not the request.")
    sys.stdout.flush()  # whoever reads a pipe needs the approval's id while we wait
    granted_since = 0.0
    while True:
        try:
            state = client.approval(approval)["state"]
        except (Unreachable, Unavailable):
            state = "asked"
        if state == "spent":
            return "live"
        if state not in {"asked", "granted"}:
            return "denied"
        granted_since = (granted_since or time.monotonic()) if state == "granted" else 0.0
        if granted_since and time.monotonic() - granted_since > CARRIED_OUT_S:
            raise Conflict("the release was approved, but could not go live", hint="see why: bedplate status USE-CASE")
        time.sleep(POLL_S)


def sources_of(given: list[str]) -> dict[str, Path]:
    """Read `NAME=FOLDER` arguments."""
    found = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder or name.startswith("/") or ".." in Path(name).parts:
            raise InvalidInput(f"{text!r} does not name a source", hint="--source handbook=../handbook")
        found[name] = Path(folder)
    return found


def named(files: Mapping[str, str], name: str) -> str:
    """Return the use case's id; `InvalidInput` where its data is not among the files, with what to add."""
    from bedplate.document import InvalidDocument, parse

    from .folder import SPEC

    document = parse(files[SPEC], name)
    found, data = document.root.get("id"), document.root.get("data")
    if not isinstance(found, str):
        raise InvalidDocument([document.complain(["id"], "required, and missing")])
    for number, source in enumerate(data if isinstance(data, list) else []):
        path = source.get("path") if isinstance(source, dict) else None
        if isinstance(path, str) and not any(file.startswith(f"{path.rstrip('/')}/") for file in files):
            message = f"there are no files under {path}; if they are elsewhere: --source {path}=FOLDER"
            raise InvalidDocument([document.complain(["data", number, "path"], message)])
    return found
