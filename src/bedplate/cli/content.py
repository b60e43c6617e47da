"""What was said in calls: erasing it, holding it, rotating its keys."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from .output import line, note
from .server import THERE, Server

content_app = App(name="content", help="What was said in calls: erase it, hold it, rotate its keys.")
Reason = Annotated[str, Parameter(help="Why; it goes on record.")]


@content_app.command
def erase(call_id: str, *, reason: Reason, server: Server = THERE) -> int:
    """Erase what was said in a call, and of it in feedback. Its record, its digests and its proof stay."""
    told = server.client().post(f"/api/calls/{quote(call_id)}/erase", {"reason": reason})

    def text() -> None:
        line(f"erased what was said in {call_id}" if told["erased"] else f"nothing of {call_id} is left to erase")
        note("A backup of the vault still opens it, until: bedplate content rotate --reason REASON")

    server.show(told, text)
    return 0


@content_app.command
def hold(use_case: str, *, reason: Reason, server: Server = THERE) -> int:
    """Keep all that was said in a use case's calls, whatever its age, until the hold is lifted."""
    told = server.client().post("/api/content/hold", {"use_case": use_case, "reason": reason})
    server.show(told, lambda: line(f"nothing that was said in {use_case} is erased from now on"))
    return 0


@content_app.command
def lift(use_case: str, *, reason: Reason, server: Server = THERE) -> int:
    """End a hold."""
    told = server.client().post("/api/content/lift", {"use_case": use_case, "reason": reason})
    server.show(told, lambda: line(f"what was said in {use_case} may be erased again"))
    return 0


@content_app.command
def rotate(*, reason: Reason, server: Server = THERE) -> int:
    """Wrap the keys of all content anew, so that no backup of the vault opens what was erased."""
    told = server.client().post("/api/content/rotate", {"reason": reason})
    server.show(
        told, lambda: line(f"wrapped {told['keys']:,} keys anew; backups of the vault before this open nothing")
    )
    return 0
