"""How an action is refused: on the timeline of its run, on record, and counted against who asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .entrance import Entrance

if TYPE_CHECKING:
    from .judge import Judged
    from .toolcall import Ruling, Told

HELD = "held"  # in place of the digest of a call that a breaker held back


class Refusals(Entrance):
    """The door as far as it says no."""

    async def denied(self, judged: Judged, reasons: list[Told], *, state: str = "denied") -> Ruling:
        """Refuse what was judged: on the timeline and on record, and counted."""
        act, call = judged.act, judged.call
        act.verdict, act.status, act.reasons = "deny", "denied", reasons
        step = judged.step("deny", "denied", reasons)
        if any(control == "breaker-closed" for control, _, _ in reasons):
            step = replace(step, digest=HELD)  # while one is open, whatever is asked of a tool is one refusal
        with self._p.store.writing():
            act.step = self._p.store.step(judged.run.id, step)
            trips = self._p.watch.refused(judged.run, act)
            known = self._p.store.step_at(judged.run.id, act.step)
        if known is not None and known.action != act.id:
            act.id = known.action  # the same was refused for the same before, and is on record: it is only counted
        else:
            await self._p.recorder.record(act, "act.denied", act.id, {"arguments": call.arguments})
        if trips:
            await self._p.watch.tell(act.subject, trips)
        return judged.ruling("deny", state, reasons)

    async def over(self, judged: Judged, told: Told) -> Ruling:
        """Refuse what a limit leaves no room for; its step is on the timeline already."""
        act = judged.act
        self.judge.unused(judged)
        act.verdict, act.status, act.reasons = "deny", "denied", [told]
        trips = self._p.watch.refused(judged.run, act)
        await self._p.recorder.record(act, "act.denied", act.id, None)
        if trips:
            await self._p.watch.tell(act.subject, trips)
        return judged.ruling("deny", "denied", [told])

    async def late(self, judged: Judged, reasons: list[Told]) -> Ruling:
        """Refuse what had been let through, before anybody was told so."""
        act = judged.act
        self.judge.unused(judged)
        act.verdict, act.status, act.reasons = "deny", "denied", reasons
        await self._p.recorder.record(act, "act.denied", f"{act.id}/stopped", None)
        return judged.ruling("deny", "denied", reasons)
