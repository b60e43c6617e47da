"""The drill of the kill switch: whether a stop is in force everywhere within a second."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from .output import line, note, short, table
from .server import THERE, Server

FAILED = 1


def drill(
    use_case: str,
    *,
    agent: Annotated[str, Parameter(help="Stop this agent for real; it stays stopped until that is lifted.")] = "",
    reason: Annotated[str, Parameter(help="Kept on record.")] = "a drill",
    server: Server = THERE,
) -> int:
    """Try a stop and say how soon each serving process refused; ends with 1 if it took more than a second.

    Without --agent nobody is held up: what is stopped is an agent that no release has.
    """
    told = server.client().post(f"/api/use-cases/{quote(use_case)}/drill", {"agent": agent, "reason": reason})

    def text() -> None:
        rows = [
            (a["process"], a["point"], "refused" if a["refused"] else "LET THROUGH", a["ms"]) for a in told["answers"]
        ]
        rows += [(process, "", "NO ANSWER", "") for process in told["silent"]]
        table(("process", "door", "what it did", "after ms"), rows)
        line(f"{told['outcome']}: {told['summary']}")
        if told["outcome"] != "in-force":
            note(f"The stop was not in force everywhere within {told['within_ms']} ms.", style="bold red")
        for digest in told["releases"]:
            note(f"It is evidence for stop-drilled about release {short(digest)}.")
        if told["unattached"]:
            note(f"It could not be attached as evidence: {told['unattached']}")
        if agent:
            note(f"{agent} stays stopped: bedplate stop {use_case} --agent {agent} --lift --reason '...'")

    server.show(told, text)
    return 0 if told["outcome"] == "in-force" else FAILED
