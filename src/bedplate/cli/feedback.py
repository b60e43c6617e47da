"""Feedback: say how good an answer was, see what others said, and make eval cases of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from bedplate.errors import InvalidInput

from .approvals import bare
from .output import fields, line, note, table
from .server import THERE, Server

if TYPE_CHECKING:
    from typing import Any

feedback_app = App(name="feedback", help="What people say of answers, and eval cases made from it.")


@feedback_app.command
def give(
    call: str,
    *,
    thumb: Annotated[Literal["up", "down"] | None, Parameter(help="Good or not.")] = None,
    label: Annotated[str, Parameter(help="One word, such as outdated; it stays on record.")] = "",
    correction: Annotated[str, Parameter(help="The right answer.")] = "",
    harm: Annotated[str, Parameter(help="One word for the harm done; opens an incident at once.")] = "",
    comment: Annotated[str, Parameter(help="More words; sealed.")] = "",
    by: Annotated[str, Parameter(help="The end user's pseudonym; sealed.")] = "",
    server: Server = THERE,
) -> int:
    """Say how good the answer of a call was. CALL is its id: bedplate calls."""
    given = {"thumb": thumb or "", "label": label, "correction": correction, "harm": harm}
    named = [(kind, value) for kind, value in given.items() if value]
    if len(named) != 1:
        raise InvalidInput(
            "say one thing at a time", hint="--thumb up|down, --label WORD, --correction TEXT or --harm WORD"
        )
    [(kind, value)] = named
    body = {"call": call, "kind": kind, "value": value, "comment": comment, "by": by}
    told = server.client().post("/api/feedback", body)

    def text() -> None:
        line("on record", told["id"])
        if told["incident"]:
            line("incident", f"{bare(told['incident'])} (bedplate incident show {bare(told['incident'])})")

    server.show({"feedback": told}, text)
    return 0


@feedback_app.command(name="list")
def list_feedback(
    use_case: str = "",
    *,
    call: Annotated[str, Parameter(help="What was said of this call only.")] = "",
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    server: Server = THERE,
) -> int:
    """List what was said of a use case's calls, newest first."""
    listed = server.client().get("/api/feedback", use_case=use_case, call=call, limit=limit)["feedback"]

    def text() -> None:
        if not listed:
            note("Nothing was said yet.")
            return
        rows = [
            (f["id"], f["given"][:19].replace("T", " "), f["feedback"], f["value"], f["call"], f["giver"])
            for f in listed
        ]
        table(("feedback", "at (UTC)", "kind", "value", "call", "from"), rows)

    server.show({"feedback": listed}, text)
    return 0


@feedback_app.command
def show(feedback: str, *, server: Server = THERE) -> int:
    """Show one record of feedback, with what is sealed to those who may read it."""
    found = server.client().get(f"/api/feedback/{quote(feedback)}")
    server.show({"feedback": found}, lambda: _one(found))
    return 0


@feedback_app.command(name="to-evals")
def to_evals(
    feedback: str,
    *,
    contains: Annotated[str, Parameter(help="What the right answer says; put on record as your correction.")] = "",
    unanswered: Annotated[bool, Parameter(help="The right answer is that the sources do not cover it.")] = False,
    server: Server = THERE,
) -> int:
    """Make an eval case of a correction, a thumb down or harm.

    It waits until the team has put it into its own file: bedplate feedback pending.
    """
    made = server.client().to_evals(feedback, contains=contains, unanswered=unanswered)
    server.show(made, lambda: line(made["yaml"].rstrip("\n")))
    return 0


@feedback_app.command
def pending(use_case: str, *, server: Server = THERE) -> int:
    """Print the eval cases that wait, as YAML to be put under `cases:` of the team's file.

    A case waits until an evaluation has one of its id.
    """
    found = server.client().get(f"/api/use-cases/{quote(use_case)}/feedback/pending")

    def text() -> None:
        if found["yaml"]:
            line(found["yaml"].rstrip("\n"))
        else:
            note("No case waits.")
        if found["lost"]:
            note(f"{found['lost']} more cannot be read: what was asked or said was erased.")

    server.show(found, text)
    return 0


def _one(found: dict[str, Any]) -> None:
    said = found["said"] or {}
    fields(
        {
            "feedback": found["id"],
            "call": found["call"],
            "use case": bare(found["use_case"]),
            "at": found["given"],
            "from": found["giver"],
            "said": f"{found['feedback']} {found['value']}".strip(),
            "correction": said.get("correction", ""),
            "comment": said.get("comment", ""),
            "end user": said.get("by", ""),
            "on record": f"{found['shard']}, record {found['seq']}, leaf {found['leaf'][:12]}",
        }
    )
    note(f"Prove it to somebody: bedplate prove {found['id']}")
