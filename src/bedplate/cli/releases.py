"""`bedplate release` and `bedplate gate`: taking a use case live, on evidence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bedplate.errors import InvalidInput, Unavailable, Unreachable

from .approvals import bare, who
from .output import line, note, short, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.sdk import Client

OUTCOMES = {"live": 0, "waiting": 6, "denied": 5}
POLL_S = 2
RELEASE_S = 1800  # the evals of a large suite, asked one by one of a slow model


def release(
    folder: Path = Path(),
    *,
    source: Annotated[
        list[str] | None,
        Parameter(help="NAME=FOLDER: take the files of a data source from elsewhere. May be repeated.", negative=()),
    ] = None,
    wait: Annotated[bool, Parameter(help="Wait until the approval is answered.", negative=())] = False,
    server: Server = THERE,
) -> int:
    """Build a release from FOLDER, run its evals and its gate, and ask for it to go live.

    FOLDER holds use-case.yaml. Its text files are sent, hidden ones left out.
    """
    from .folder import SPEC, read_folder

    files = read_folder(folder, _sources(source or []))
    name = _id(files[SPEC], str(folder / SPEC))
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
    """Evaluate the gate of a release: what is proven, and what to do about the rest."""
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
    gate_table(made["gate"])
    told = {"live": "it answers calls now", "waiting": "for approval", "denied": "by the gate; nothing went live"}
    line(made["state"], told[made["state"]])


def _waited(client: Client, approval: str, *, quiet: bool) -> str:
    """Ask again until the approval is answered; a server that is away for a while does not end the waiting."""
    if not quiet:
        note("Waiting for the answer. Ctrl-C stops waiting, not the request.")
    while True:
        try:
            state = client.approval(approval)["state"]
        except (Unreachable, Unavailable):
            state = "asked"
        if state == "spent":
            return "live"
        if state not in {"asked", "granted"}:
            return "denied"
        time.sleep(POLL_S)


def _sources(given: list[str]) -> dict[str, Path]:
    found = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder or name.startswith("/") or ".." in Path(name).parts:
            raise InvalidInput(f"{text!r} does not name a source", hint="--source handbook=../handbook")
        found[name] = Path(folder)
    return found


def _id(text: str, name: str) -> str:
    from bedplate.document import InvalidDocument, parse

    document = parse(text, name)
    found = document.root.get("id")
    if not isinstance(found, str):
        raise InvalidDocument([document.complain(["id"], "required, and missing")])
    return found
