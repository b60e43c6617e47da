"""Judges calls that did not pass the gateway, after the fact: seen, on record, and never stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bedplate.errors import Conflict, Unavailable
from bedplate.kernel.clock import DAY, SECOND

from .call import Trace, sha256
from .dialect import json_bytes
from .endpoint import url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from bedplate.kernel.clock import Clock
    from bedplate.kernel.decision import Reason

    from .observed import Observed
    from .price import Price
    from .recipe import Recipe
    from .session import Recorder
    from .views import Calls

OLDEST = 7 * DAY  # what happened before is told too late to be judged by today's standing
AHEAD = 5 * 60 * SECOND  # clocks differ
AT_ONCE = 64  # calls guarded in one go in a thread, and recorded together
ROUTE, STATUS, KIND = "observed", "observed", "call.observed"
STOPS = {
    "guardrail-input": ("the prompt held {}", "send it through the gateway, which would have stopped it"),
    "guardrail-output": ("the answer held {}", "send it through the gateway, which would have withheld it"),
}


class Found(Protocol):
    """One finding of a guard."""

    @property
    def label(self) -> str:
        """What was found."""
        ...


class Guarded(Protocol):
    """What a guard says of a text."""

    @property
    def text(self) -> str:
        """The text as it may go on."""
        ...

    @property
    def findings(self) -> Sequence[Found]:
        """Everything found."""
        ...

    @property
    def blocked(self) -> bool:
        """Whether the text may not go on."""
        ...

    @property
    def asks(self) -> bool:
        """Whether a person would have to be asked."""
        ...


class Guard(Protocol):
    """Reads a text, as `bedplate.gateway.guardrail.Guard` does."""

    def apply(self, text: str) -> Guarded:
        """Return what is found in it."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What observed calls are judged with; the composition root hands it over.

    `identify` returns subject and actor of a key, and raises Unauthenticated. `judge` decides a trace with the model
    that was asked, as if it came in now, and puts tier, rung and release into it. `guards` are those of the live
    release, for what is asked and what is answered; None where there is none. `price` is given the model, the URL of
    whoever answered, and when. `seen` returns those of the ids that are on record, in any shard.
    """

    identify: Callable[[str], tuple[str, str]]
    judge: Callable[[Trace, str], Iterable[Reason]]
    guards: Callable[[str], tuple[Guard, Guard] | None]
    price: Callable[[str, str, int], Price]
    seen: Callable[[Sequence[str]], AbstractSet[str]]
    recorder: Recorder
    clock: Clock


class Judging(Protocol):
    """The door, as far as it judges calls that it did not let through."""

    def identified(self, secret: str) -> tuple[str, str]:
        """Return subject and actor of a key; `Unauthenticated` for one that is unknown or has ended."""
        ...

    def judged(self, trace: Trace, model: str) -> Iterable[Reason]:
        """Decide a call of this model; tier, rung and release go into the trace."""
        ...


def bench(
    door: Judging,
    recipes: Callable[[], Mapping[str, Recipe]],
    price: Callable[[str, str, int], Price],
    calls: Calls,
    recorder: Recorder,
    clock: Clock,
) -> Bench:
    """Put a bench together from what the gateway has; `recipes` are those of the snapshot, by subject."""

    def guards(subject: str) -> tuple[Guard, Guard] | None:
        recipe = recipes().get(subject)
        return (recipe.guard_in, recipe.guard_out) if recipe is not None else None

    def seen(ids: Sequence[str]) -> set[str]:
        shards = calls.shards().values()
        return {i for i in ids if any(shard.get(i) is not None for shard in shards)}

    return Bench(door.identified, door.judged, guards, price, seen, recorder, clock)


class Outcome(NamedTuple):
    """What became of a request's calls."""

    recorded: int
    known: int  # on record before
    rejected: int
    why: str = ""


class Observer:
    """Puts observed calls on record with the verdict that they would have got. Nothing is charged to a budget."""

    def __init__(self, bench: Bench) -> None:
        self._b = bench

    def identify(self, secret: str) -> tuple[str, str]:
        """Return whose key this is; `Unauthenticated` for one that is unknown or has ended."""
        return self._b.identify(secret)

    async def observe(self, subject: str, actor: str, calls: Sequence[Observed]) -> Outcome:
        """Judge and record calls, each once. `Unavailable` if that cannot be done now: then send all of them again."""
        if not self._b.recorder.healthy:
            raise Unavailable("calls cannot be recorded now", hint="see /readyz")
        now = self._b.clock()
        timely = {c.id(subject): c for c in calls if now - OLDEST <= c.started and c.ended <= now + AHEAD}
        late = sum(not now - OLDEST <= c.started or c.ended > now + AHEAD for c in calls)
        known = await asyncio.to_thread(self._b.seen, list(timely))
        new = [(i, c) for i, c in timely.items() if i not in known]
        recorded = 0
        for start in range(0, len(new), AT_ONCE):
            recorded += await self._together(subject, actor, new[start : start + AT_ONCE])
        why = f"{late} spans are older than a week, or of the future" if late else ""
        return Outcome(recorded, len(calls) - late - recorded, late, why)

    async def _together(self, subject: str, actor: str, calls: Sequence[tuple[str, Observed]]) -> int:
        judged = [(self._judged(call_id, subject, actor, call), call) for call_id, call in calls]
        guards = self._b.guards(subject)
        if guards is not None:
            judged = await asyncio.to_thread(_guarded, guards, judged)
        done = await asyncio.gather(*(self._record(trace, call) for trace, call in judged), return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
        return sum(outcome is True for outcome in done)

    def _judged(self, call_id: str, subject: str, actor: str, call: Observed) -> Trace:
        """Judge one call by what is in force now: what was in force when it was made is not kept in memory."""
        now = self._b.clock()
        trace = Trace(call_id, subject, actor, ROUTE, now, sha256(json_bytes(list(call.messages))))
        trace.reasons = [(r.control, r.why, r.fix) for r in self._b.judge(trace, call.model)]
        trace.verdict, trace.status = "deny" if trace.reasons else "allow", STATUS
        trace.started = min(call.started, now)
        trace.dialect, trace.model, trace.upstream = ROUTE, call.model, call.provider
        trace.tokens_in, trace.tokens_out, trace.cached_in = call.tokens_in, call.tokens_out, call.cached_in
        url = f"https://{call.address}" if call.address else url_of(call.provider)
        price = self._b.price(call.model, url, trace.started)
        trace.cost_nano = price.cost(call.tokens_in, call.cached_in, call.tokens_out)
        trace.price = price.id
        trace.answer, trace.error = call.answer, call.error
        trace.upstream_us = trace.latency_us = call.ended - call.started
        return trace

    async def _record(self, trace: Trace, call: Observed) -> bool:
        """Put a call on record; tell whether it was not there before."""
        span = {
            "dialect": call.dialect,
            "service": call.service,
            "trace_id": call.trace_id,
            "span_id": call.span_id,
            "operation": call.operation,
            "error": call.message,
        }
        content = {"messages": list(call.messages), "answer": call.answer, "span": span}
        try:
            await self._b.recorder.record(trace, KIND, content)
        except Unavailable as broken:
            if not isinstance(broken.__cause__, Conflict):
                raise
            return False  # another request recorded it a moment ago
        return True


def _guarded(guards: tuple[Guard, Guard], calls: Iterable[tuple[Trace, Observed]]) -> list[tuple[Trace, Observed]]:
    """Note what guards find and deny what they would have stopped; what is kept is what would have gone on."""
    out = []
    for trace, call in calls:
        asked = [guards[0].apply(message["content"]) for message in call.messages]
        answer = guards[1].apply(call.answer)
        _note(trace, "input", asked)
        _note(trace, "output", [answer])
        trace.answer = answer.text
        messages = tuple({**m, "content": g.text} for m, g in zip(call.messages, asked, strict=True))
        out.append((trace, replace(call, messages=messages, answer=answer.text)))
    return out


def _note(trace: Trace, direction: str, told: Sequence[Guarded]) -> None:
    labels = [found.label for guarded in told for found in guarded.findings]
    trace.findings += [f"{direction}: {label}" for label in labels]
    if any(guarded.blocked or guarded.asks for guarded in told):
        control = f"guardrail-{direction}"
        why, fix = STOPS[control]
        trace.verdict = "deny"
        trace.reasons.append((control, why.format(", ".join(dict.fromkeys(labels))), fix))
