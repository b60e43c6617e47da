"""`@governed`: a plain function that is asked for before it runs, whatever calls it.

```python
agents = Agents(url, key)

@governed("local/pay", agents)
def pay(iban: str, amount: int) -> str: ...

with running(agents, "invoice-17", task="Pay invoice 17: 40 EUR to DE02..."):
    pay("DE02...", 40)
```

Within `running`, the same call again is the same step: a program that was killed and is started again from its top gets
what came of the steps that were done, and does the others. What waits for people raises `Parked`.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import msgspec

from bedplate.errors import InvalidInput

from .agents import Agents, AsyncAgents
from .ruling import Failed, Parked, Refused, merged, name_of, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .ruling import Json, Ruling

P = ParamSpec("P")
R = TypeVar("R")
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class _Scope:
    """A run in progress. Which step a call is, is told by what it asks for and how often that was asked for before."""

    run: str
    counts: dict[str, int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def key(self, tool: str, arguments: Mapping[str, Any]) -> str:
        digest = sha256(_encode([tool, arguments])).hexdigest()[:16]
        with self.lock:
            self.counts[digest] = number = self.counts.get(digest, 0) + 1
        return name_of(tool, digest, str(number))


_scope: ContextVar[_Scope | None] = ContextVar("bedplate_run", default=None)


@contextmanager
def running(agents: Agents, run: str, *, task: str = "", end: bool = True) -> Iterator[str]:
    """Begin a run, or go on with it, and end it where all went well. After an exception it stays open."""
    agents.begin(run, task=task)
    token = _scope.set(_Scope(run))
    try:
        yield run
    finally:
        _scope.reset(token)
    if end:
        agents.end(run)


def governed(
    tool: str,
    agents: Agents | AsyncAgents,
    *,
    run: str = "",
    key: Callable[[Json], str] | None = None,
    idempotency: str = "",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function, sync or async, asked for as this tool before it runs.

    `run`: whose step it is, unless it is called within `running`. `key` names the step by its arguments.
    `idempotency` names the parameter that takes the action's id, to be passed on to whatever the function calls.
    Raises `Refused`, `Parked` or, where the step was carried out before and failed, `Failed`.
    """

    def wrapped(function: Callable[P, R]) -> Callable[P, R]:
        form = _Form(function, idempotency)
        loose = cast("Callable[..., Any]", function)  # called by names

        def step(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, str, Json, Json]:
            given = form.given(args, named)
            asked, scope = form.asked(given), _scope.get()
            name = run or (scope.run if scope is not None else "")
            if not name:
                raise InvalidInput(
                    f"{tool} was called outside of a run", hint="with running(agents, RUN): ..., or run="
                )
            if key is not None:
                return name, key(asked), given, asked
            return name, scope.key(tool, plain(asked)) if scope is not None and scope.run == name else "", given, asked

        if inspect.iscoroutinefunction(function):
            over = AsyncAgents.over(agents)

            @functools.wraps(function)
            async def later(*args: P.args, **named: P.kwargs) -> Any:  # noqa: ANN401  the function's own
                name, its_key, given, asked = step(args, named)
                await over.ensure(name)
                ruling = await over.propose(name, tool, asked, key=its_key)
                if done_before(ruling):
                    return ruling.result
                return await over.carry_out(ruling, lambda _: loose(**form.made(given, ruling)))

            return cast("Callable[P, R]", later)

        sync = agents.sync if isinstance(agents, AsyncAgents) else agents

        @functools.wraps(function)
        def now(*args: P.args, **named: P.kwargs) -> Any:  # noqa: ANN401  the function's own
            name, its_key, given, asked = step(args, named)
            sync.ensure(name)
            ruling = sync.propose(name, tool, asked, key=its_key)
            if done_before(ruling):
                return ruling.result
            return sync.carry_out(ruling, lambda _: loose(**form.made(given, ruling)))

        return now

    return wrapped


def done_before(ruling: Ruling) -> bool:
    """Say whether the step was done already. Raises `Refused`, `Parked` or `Failed` if that is what was said."""
    if ruling.verdict == "deny":
        raise Refused(ruling)
    if ruling.verdict == "ask":
        raise Parked(ruling)
    if ruling.replayed and ruling.state == "error":
        raise Failed(ruling)
    return ruling.replayed


class _Form:
    """How a function is called, and which of that the rules get to see."""

    def __init__(self, function: Callable[..., Any], idempotency: str) -> None:
        self._signature = inspect.signature(function)
        self._idempotency = idempotency
        self._hidden = {"self", idempotency}
        names = self._signature.parameters
        self._more = next((p.name for p in names.values() if p.kind is p.VAR_KEYWORD), "")
        if any(p.kind in {p.VAR_POSITIONAL, p.POSITIONAL_ONLY} for p in names.values()):
            raise InvalidInput(
                f"{function.__qualname__} takes arguments without names", hint="give each a name: rules speak of them"
            )
        if idempotency and idempotency not in names:
            raise InvalidInput(
                f"{function.__qualname__} has no parameter {idempotency!r}", hint="add it, or name another"
            )

    def given(self, args: tuple[Any, ...], named: dict[str, Any]) -> Json:
        if self._idempotency:
            named = {self._idempotency: "", **named}  # it is filled in once there is an action
        bound = self._signature.bind(*args, **named)
        bound.apply_defaults()
        given = dict(bound.arguments)
        more: Json = given.pop(self._more) if self._more else {}
        return {**given, **more}

    def asked(self, given: Json) -> Json:
        return {name: value for name, value in given.items() if name not in self._hidden}

    def made(self, given: Json, ruling: Ruling) -> Json:
        """Return what to call it with: what was given, but for what the ruling changed."""
        made = {**{n: v for n, v in given.items() if n in self._hidden}, **merged(self.asked(given), ruling)}
        return {**made, self._idempotency: ruling.action} if self._idempotency else made
