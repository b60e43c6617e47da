"""Ideas: propose, list, look at, decide, and begin the use case that one becomes."""

# No `from __future__ import annotations`: the command line reads these types when the group is built.
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from bedplate.errors import Conflict

from .output import fields, line, moment, note, table
from .server import THERE, Server

idea_app = App(name="idea", help="Ideas, before anybody builds: propose, decide, take up.")
Outcome = Literal["taken-up", "declined", "deferred"]


@idea_app.command
def propose(file: Path, *, server: Server = THERE) -> int:
    """Propose the idea in FILE, or propose it anew, changed.

    Says what it is like, and by when who decides.
    """
    from .folder import read_text

    client = server.client()
    told = client.post("/api/ideas", {"name": str(file)[-200:], "text": read_text(file)})
    server.show(told, lambda: proposed(told))
    return 0


@idea_app.command(name="list")
def listed(
    *,
    state: Annotated[
        Literal["", "proposed", "deferred", "taken-up", "declined", "overdue"],
        Parameter(help="Only these; overdue are those whose clock ran out."),
    ] = "",
    server: Server = THERE,
) -> int:
    """List ideas; those that wait longest come first."""
    found = server.client().get("/api/ideas", state=state)["ideas"]

    def text() -> None:
        if not found:
            note("No idea is on record" + (" in this state." if state else ". Propose one: bedplate idea propose FILE"))
            return
        rows = [
            (i["id"], "overdue" if i["overdue"] else i["state"], moment(i["due"]), i["body"], i["domain"], i["title"])
            for i in found
        ]
        table(("idea", "state", "due", "decides", "domain", "title"), rows)

    server.show({"ideas": found}, text)
    return 0


@idea_app.command
def show(idea: str, *, server: Server = THERE) -> int:
    """Show one idea: its score with its parts, what it is like, and what became of it."""
    found = server.client().get(f"/api/ideas/{idea}")

    def text() -> None:
        fields(
            {
                "idea": f"{found['id']}: {found['title']}",
                "domain": found["domain"],
                "state": "overdue" if found["overdue"] else found["state"],
                "decides": f"{found['body']} by {moment(found['due'])}" if found["due"] else "",
                "proposed by": ", ".join(found["proposers"]),
                "decided by": found["decided_by"],
                "reason": found["reason"],
                "comes back if": found["condition"],
                "needs": ", ".join(found["file"]["contracts"]) or "no data contract is named",
                "effort": f"{found['file']['effort_days']} days, {found['file']['cost_cents'] // 100:,} beside them",
            }
        )
        line()
        scored(found["ranked"])
        likened(found["alike"])

    server.show({"idea": found}, text)
    return 0


@idea_app.command
def decide(
    idea: str,
    outcome: Outcome,
    *,
    reason: Annotated[str, Parameter(help="Why.")],
    condition: Annotated[str, Parameter(help="Of a declined idea: when it may come back.")] = "",
    until: Annotated[str, Parameter(help="Of a deferred idea: the day when it is looked at again, 2027-01-31.")] = "",
    server: Server = THERE,
) -> int:
    """Take an idea up, decline it or defer it.

    The bodies that would accept a use case of its tier decide, and never whoever proposed it.
    """
    body = {"outcome": outcome, "reason": reason, "condition": condition, "until": until}
    found = server.client().post(f"/api/ideas/{idea}/decision", body)

    def text() -> None:
        line(f"{idea} is {outcome}: {reason}")
        if outcome == "taken-up":
            note(f"Begin its use case: bedplate idea take-up {idea}")

    server.show({"idea": found}, text)
    return 0


@idea_app.command(name="take-up")
def take_up(
    idea: str,
    *,
    to: Annotated[Path | None, Parameter(help="The use case's folder; otherwise one of the idea's name.")] = None,
    server: Server = THERE,
) -> int:
    """Begin the use case of an idea that was taken up: a first draft of its use-case.yaml."""
    folder = to or Path(idea)
    target = folder / "use-case.yaml"
    if target.exists():
        raise Conflict(f"{target} is there already", hint="name another folder: --to FOLDER")
    text = server.client().text(f"/api/ideas/{idea}/draft")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    server.show({"file": str(target)}, lambda: line(f"{target} is written; go on with: bedplate plan {target}"))
    return 0


def proposed(told: Mapping[str, Any]) -> None:
    """Print what was proposed, who decides, and what it is like."""
    line(f"{told['id']} is proposed; the {told['body']} decides by {moment(told['due'])}")
    likened(told["alike"])


def planned(told: Mapping[str, Any], file: Path) -> None:
    """Print what proposing an idea would come to."""
    word = "new" if told["new"] else "changed" if told["changed"] else "unchanged"
    line(f"{told['id']}: {word}; the {told['body']} would decide by {moment(told['due'])}")
    scored(told["ranked"])
    likened(told["alike"])
    if told["changed"]:
        note(f"Nothing was changed. Go on with: bedplate apply {file}")


def scored(ranked: Mapping[str, Any]) -> None:
    """Print a score with its parts."""
    score = ranked["score"]
    around = f", {score['low']} to {score['high']}" if score["low"] != score["high"] else ""
    line(f"score {score['mid']} of 1000{around}; place {place(ranked)}")
    rows = [(p["part"], span(p["measure"]), span(p["factor"]), p["why"]) for p in ranked["parts"]]
    table(("part", "is", "gives", "because"), rows)


def likened(alike: list[dict[str, Any]]) -> None:
    """Print what an idea is like, and why."""
    for other in alike:
        words = ", ".join(other["shared"])
        line(other["verdict"], f"{other['subject']} ({other['title']}), alike {other['permille'] / 10:g} %: {words}")


def place(ranked: Mapping[str, Any]) -> str:
    """Write a place with the places that it may take."""
    best, worst = ranked["best"], ranked["worst"]
    return f"{ranked['place']}" + (f" ({best} to {worst})" if best != worst else "")


def span(numbers: Mapping[str, int]) -> str:
    """Write per mille, with how low and how high it may be."""
    low, mid, high = (numbers[end] / 10 for end in ("low", "mid", "high"))
    return f"{mid:g} %" + (f" ({low:g} to {high:g})" if low != high else "")
