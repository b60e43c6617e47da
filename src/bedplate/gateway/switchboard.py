"""Carries a call to whichever of its release's upstreams can take it: waits, tries again, goes on to the next.

What is decided stands in `route`; here it is done. Nothing is tried again once a byte of an answer has come.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from .route import Done, GiveUp, Line, Outcome, Routes, Try, Wait
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from .call import Trace
    from .route import Attempts, Step, Target
    from .supplier import Dialect as Name
    from .supply import Supply
    from .upstream import Asked, Flow, Reply, Upstream


class Switchboard:
    """The upstreams by the address that releases hold, and the plans to reach them."""

    def __init__(self, upstreams: Mapping[str, Upstream], supply: Supply) -> None:
        self._upstreams = upstreams
        self._supply = supply
        self._routes = Routes(supply)

    def __contains__(self, address: object) -> bool:
        return address in self._supply

    async def ask(self, targets: Sequence[Target], asked: Asked, trace: Trace, tokens: int) -> Reply:
        """Return a whole answer; `UpstreamFailed` when nobody gave one."""
        attempts = self._routes.plan(targets, cast("Name", asked.dialect.name), tokens)
        try:
            reply: Reply = await self._through(attempts, asked, trace, stream=False)
            attempts.after(_OK, _now())
            return reply
        finally:
            attempts.close(_now())

    async def open(self, targets: Sequence[Target], asked: Asked, trace: Trace, tokens: int) -> Flow:
        """Return a streamed answer once its head has come; `UpstreamFailed` when nobody gave one."""
        attempts = self._routes.plan(targets, cast("Name", asked.dialect.name), tokens)
        try:
            return Followed(await self._through(attempts, asked, trace, stream=True), attempts)
        except BaseException:
            attempts.close(_now())
            raise

    async def _through(self, attempts: Attempts, asked: Asked, trace: Trace, *, stream: bool) -> Any:  # noqa: ANN401  either
        failure: UpstreamFailed | None = None
        step: Step = attempts.first(_now())
        while True:
            match step:
                case Try(target, supplier, number):
                    upstream = self._upstreams[supplier.address]
                    trace.attempts, trace.model = number, target.model
                    trace.upstream, trace.address = upstream.name, supplier.address
                    told = asked if asked.body.get("model") == target.model else _for(asked, target.model)
                    try:
                        answer = await (upstream.open(told) if stream else upstream.ask(told))
                    except UpstreamFailed as failed:
                        failure = failed
                        step = attempts.after(failed.outcome, _now())
                        continue
                    attempts.first_byte(_now())
                    return answer
                case Wait(micros):
                    await asyncio.sleep(micros / 1_000_000)
                    step = attempts.resume(_now())
                case Line(micros):
                    step = await _in_line(attempts, micros)
                case GiveUp():
                    raise _given_up(step, failure)
                case Done():  # only after an answer
                    raise UpstreamFailed("nobody was asked")


class Followed:
    """A flow whose end is told to whoever planned the way to it."""

    def __init__(self, flow: Flow, attempts: Attempts) -> None:
        self.headers = flow.headers
        self._flow, self._attempts = flow, attempts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes."""
        try:
            async for part in self._flow:
                yield part
        except UpstreamFailed as failed:
            self._attempts.after(failed.outcome, _now())
            raise

    def close(self) -> None:
        """Stop it. What was not read to its end was left by our client."""
        self._flow.close()
        self._attempts.close(_now())

    def ended(self) -> None:
        """Note that the answer came whole."""
        self._attempts.after(_OK, _now())


_OK = Outcome("ok")


def _now() -> int:
    return time.monotonic_ns() // 1000


def _for(asked: Asked, model: str) -> Asked:
    return replace(asked, body={**asked.body, "model": model})


async def _in_line(attempts: Attempts, micros: int) -> Step:
    woken = asyncio.Event()
    attempts.line_up(woken.set)
    try:
        async with asyncio.timeout(micros / 1_000_000):
            await woken.wait()
    except TimeoutError:
        pass
    return attempts.resume(_now())


def _given_up(step: GiveUp, failure: UpstreamFailed | None) -> UpstreamFailed:
    """Say it to the client: in the words of the last failure, which say more, or in those of the plan."""
    after = str(step.retry_after_s) if step.retry_after_s else ""
    if failure is None:
        return UpstreamFailed(step.message, status=step.status, hint=step.hint, retry_after=after, code=step.code)
    body = failure.body if step.passed_on else b""
    return UpstreamFailed(
        failure.message, status=step.status, hint=step.hint, retry_after=after, body=body, outcome=failure.outcome
    )
