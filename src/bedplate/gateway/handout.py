"""A held answer, handed out once people agreed: to the same key, for exactly the same request, once.

No upstream is asked and nothing is paid again; the new call is on record, and names the one whose answer it got.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Conflict, Denied, Tampered, Unavailable

from .call import headers
from .dialect import Said, json_bytes
from .held import ANEW, CONTROL, sentence, waiting
from .session import Answer, Session
from .upstream import Reply, Spoken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bedplate.kernel.model import TierPlan

    from .call import Request, Trace
    from .held import Held, Kept
    from .parts import Parts
    from .recipe import Recipe
    from .snapshot import Snapshot

UNGUARDED: dict[str, dict[str, str]] = {"input": {}, "output": {}}  # people agreed to it as it is


class Handouts:
    """Hands out held answers."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts

    def of(self, snapshot: Snapshot, trace: Trace) -> Held | None:
        """Return the held answer that this call asks for again; None where nothing was held, or it is a new call."""
        held = snapshot.held.get((trace.key, trace.dialect, trace.request_sha256))
        if held is None or held.subject != trace.subject or held.over(trace.started):
            return None
        standing = snapshot.standings.get(trace.subject)
        live_at = standing.facts.get("releases.live_at", 0) if standing is not None else 0
        return held if held.asked_at >= int(str(live_at)) else None  # of an earlier release: this one may say otherwise

    async def fetched(self, held: Held, recipe: Recipe, trace: Trace) -> Kept | None:
        """Return the kept answer, once people's agreement to it is spent; None if the call is to be made anew.

        `NeedsApproval` if people have to be asked again. `Denied` if what was kept is gone.
        """
        try:
            kept = await self._p.kept(held.call)
            if kept.sha256 != held.facts["answer_sha256"]:
                raise Tampered("what was kept is not what people agreed to")
        except Unavailable:
            raise
        except BedplateError as gone:
            why = f"the answer that people agreed to cannot be handed out: {gone.message}"
            raise Denied(why, hint=ANEW, reasons=((CONTROL, why, ANEW),)) from gone
        if kept.release != recipe.release:  # it was on its way when the release changed
            return None
        try:
            await self._p.give(trace.key, trace.subject, held.facts, trace.id)
        except Conflict as used:
            if used.code != "already-done":
                raise
            return None  # somebody was faster
        return kept

    async def handed(self, kept: Kept, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request) -> Answer:
        """Answer with what was kept."""
        trace.model, trace.passages = kept.model, [*kept.passages]
        session = Handing(self._p, plan, replace(recipe, guardrails=UNGUARDED), trace, request, kept)
        if kept.stream:
            return Answer(200, headers(trace), events=session.streamed(Spoken([kept.content])))
        return Answer(200, headers(trace), await session.whole(Reply(kept.content)))

    async def withheld(self, held: Held, trace: Trace, request: Request, asked: str = "") -> Answer:
        """Answer with what is said instead of a held answer, on record as refused. `asked`: people are, anew."""
        found = str(held.facts["findings"])
        reason = waiting(found, asked) if asked else held.reason(trace.started)
        waits = asked or (held.state == "asked" and trace.started < held.expires)
        trace.verdict, trace.status, trace.reasons = "ask" if waits else "deny", "refused", [reason]
        trace.answer = f"This answer was withheld: it held {found}. {sentence(reason)}"
        await self._p.recorder.record(trace, "call.refused", None)
        said = Said(trace.answer, trace.model, trace.started // 1_000_000, trace.id)
        if request.stream:
            return Answer(200, headers(trace), events=_each(request.dialect.stream(said)))
        return Answer(200, headers(trace), json_bytes(request.dialect.whole(said)))


class Handing(Session):
    """A held answer on its way out: it was bought, and measured, when it was made."""

    def __init__(
        self, parts: Parts, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request, kept: Kept
    ) -> None:
        super().__init__(parts, plan, recipe, trace, request, ())
        self._before = kept

    def _paid(self) -> None:
        self._trace.tokens_in = self._trace.tokens_out = self._trace.cached_in = 0

    def _measured(self) -> None:
        self._trace.unanswered, self._trace.grounded = self._before.unanswered, self._before.grounded


async def _each(events: Sequence[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event
