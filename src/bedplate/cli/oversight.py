"""Oversight: what waits for you, how well people look at what agents ask, and whose answers count."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from .approvals import bare
from .output import line, moment, note, table
from .server import THERE, Server

oversight_app = App(name="oversight", help="How well people look at what agents ask.")
SAID = {
    1: "to answer",
    2: "to answer, reminded",
    3: "to answer, as others did not",
    4: "to know: nobody answered",
}


@oversight_app.default
def oversight(*, days: Annotated[int, Parameter(help="Answers of so many days.")] = 90, server: Server = THERE) -> int:
    """Say how people answered: how long they looked, how often they overruled, what trials showed."""
    told = server.client().get("/api/oversight", days=str(days))

    def text() -> None:
        if not told["reviewers"]:
            note(f"Nobody answered an action in {days} days.")
            return
        rows = [
            (
                r["person"],
                r["answers"],
                _share(r["overrides"]),
                "-" if r["median_us"] < 0 else f"{r['median_us'] / 1_000_000:.0f} s",
                _share(r["stamp_share"]),
                _share(r["agreement"]),
                f"{r['missed']} of {r['tests']}",
                r["lowered"] or "counts",
            )
            for r in told["reviewers"]
        ]
        hasty = f"under {told['hasty_s']} s"
        table(("who", "answers", "overruled", "looked", hasty, "as others", "trials missed", "standing"), rows, wraps=7)

    server.show(told, text)
    return 0


@oversight_app.command
def inbox(*, server: Server = THERE) -> int:
    """List the actions that you were told of and that still wait."""
    told = server.client().get("/api/inbox")

    def text() -> None:
        if not told["actions"]:
            note("Nothing waits that you were told of.")
            return
        rows = [
            (bare(a["approval"]), a["agent"], a["tool"], bare(a["subject"]), SAID[a["step"]], moment(a["expires"]))
            for a in told["actions"]
        ]
        table(("approval", "agent", "tool", "use case", "for you", "expires"), rows)

    server.show(told, text)
    return 0


@oversight_app.command
def restore(
    person: str,
    *,
    reason: Annotated[str, Parameter(help="How they were trained.")],
    server: Server = THERE,
) -> int:
    """Have somebody's answers about actions count again, after they were trained anew."""
    told = server.client().post(f"/api/people/{quote(person)}/restore", {"reason": reason})
    server.show(told, lambda: line(f"{person}'s answers about actions count again"))
    return 0


def _share(permille: int) -> str:
    return "-" if permille < 0 else f"{permille / 10:.0f} %"
