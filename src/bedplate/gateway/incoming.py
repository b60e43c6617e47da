"""What comes in, guarded: every text of a request, before anything of it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import Denied, NeedsApproval

from .finding import redact
from .outgoing import MAX_NAMED, judge

if TYPE_CHECKING:
    from bedplate.kernel.event import Value
    from bedplate.kernel.model import TierPlan

    from .call import Request, Trace
    from .parts import Parts
    from .recipe import Recipe

Said = tuple[str, str, str]  # control, reason, fix
FIXES = {
    "prompt-length": "send less",
    "guardrail-input": "take it out of the prompt and send again",
}


class Incoming:
    """Guards requests, and asks people where the policy says so."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts

    async def guarded(
        self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request, *, agreed: bool = False
    ) -> Said | None:
        """Change what has to be changed in the request; return why it may not go on, if it may not.

        `agreed`: what people have to be asked about, they have agreed to before.
        """
        most = int(str(plan.guardrails["max_prompt_chars"]))
        if request.size > most:
            why = f"the prompt has {request.size} characters; {most} are allowed"
            return "prompt-length", why, FIXES["prompt-length"]
        guard, texts = recipe.guard_in, request.texts
        blocked = asks = False
        among = None if guard.idle else guard.suspects([slot.text for slot in texts])
        if among is not None:
            for slot in texts:
                guarded = guard.apply(slot.text, among)
                trace.findings += [f"input: {f.label}" for f in guarded.findings]
                blocked, asks = blocked or guarded.blocked, asks or guarded.asks
                # What people are asked about goes on as it came, once they agree; the rest is changed either way.
                hidden = [f for f in guarded.findings if guard.policy[f.kind] == "redact"] if guarded.asks else ()
                text = redact(slot.text, hidden) if guarded.asks else guarded.text
                if text != slot.text and not slot.put(text):
                    blocked = True
        if not recipe.guard_asked.idle:
            whole = "\n".join([slot.text for slot in texts if " " in slot.text])
            judged = await judge(recipe.guard_asked, whole)
            trace.findings += [f"input: {f.label}" for f in judged.findings]
            blocked, asks = blocked or judged.blocked, asks or judged.asks
        if not (blocked or (asks and not agreed)):
            return None
        named = ", ".join(dict.fromkeys(f.partition(": ")[2] for f in trace.findings))
        if not blocked and trace.route == "live":
            return await self._agreed(trace, request, named)
        return "guardrail-input", f"the prompt holds {named}", FIXES["guardrail-input"]

    async def _agreed(self, trace: Trace, request: Request, named: str) -> Said | None:
        """Let what a guardrail holds go on if people agreed to exactly this; ask them otherwise."""
        facts: dict[str, Value] = {"request_sha256": trace.request_sha256, "findings": named[:MAX_NAMED]}
        try:
            await self._p.agree(trace.key, trace.subject, facts)
        except NeedsApproval as asked:
            trace.verdict = "ask"
            trace.asked = {"messages": request.dialect.messages(request.body)}
            fix = f"have it agreed to ({asked.approval}), then send exactly this again"
            return "guardrail-input", f"the prompt holds {named}: people must agree to this text", fix
        except Denied as refused:
            return "guardrail-input", f"the prompt holds {named}: {refused.message}", refused.hint
        return None
