"""A client for agents: every tool call is asked for before it is made, and what became of it is said afterwards.

The server decides; nothing here does. What waits for people waits there; the same step's key asks for it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from bedplate.errors import BedplateError, Unavailable, Unreachable

from .client import Client
from .ruling import Failed, Json, Parked, Refused, Ruling, bounded, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

log = logging.getLogger(__name__)
Status = Literal["ok", "error", "unknown"]
__all__ = ["Agents", "AsyncAgents", "Failed", "Parked", "Refused", "Ruling", "current_action"]
ROOT = "/agents/v1"
CONNECTIONS = 32  # kept open: async code asks from as many threads
MAX_KNOWN = 10_000  # runs and texts that are remembered as told
PATIENCE_S = (0.1, 0.3, 1.0, 3.0)  # between tries to say what became of an action
_action: ContextVar[str] = ContextVar("bedplate_action", default="")


def current_action() -> str:
    """Return the id of the action that is being carried out, to pass on as idempotency key; "" outside of one."""
    return _action.get()


class Agents:
    """Asks one server as one agent, with its key or token. Thread-safe; for async code there is `AsyncAgents`.

    `alone`: no other process works on these runs, so a step that is in hand, but not here, is one that a process died
    with. That nobody knows what became of it is then said at once, and not only once the server gives it up.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 30, alone: bool = False) -> None:
        self._alone = alone
        self._hands: set[str] = set()  # actions that this process was let do, and did not say the outcome of
        self._client = Client(url, key, timeout_s=timeout_s, connections=CONNECTIONS)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def token(self, agent: str = "", seconds: int = 300) -> tuple[str, int]:
        """Have a token made that ends soon, for this agent or one that it may call; returns it and when it ends."""
        told = self._client.post(f"{ROOT}/token", {"agent": agent, "seconds": seconds})
        return str(told["token"]), int(told["expires"])

    def begin(self, run: str = "", *, task: str = "", parent: str = "", principal: str = "") -> Json:
        """Begin a run, or go on with the one of this name. What stands in `task` is trusted: a person asked for it."""
        return self._client.post(f"{ROOT}/runs", {"run": run, "task": task, "parent": parent, "principal": principal})

    def ensure(self, run: str, task: str = "") -> str:
        """Begin a run unless this client did already; returns its name."""
        if f"run/{run}" not in self._known:
            self.begin(run, task=task)
            self._remember(f"run/{run}")
        return run

    def propose(self, run: str, tool: str, arguments: Json, *, key: str = "", dry_run: bool = False) -> Ruling:
        """Ask whether a tool may be called like this. With the key of a step that was done, what came of it."""
        body: Json = {"run": run, "tool": tool, "arguments": plain(arguments), "key": key, "dry_run": dry_run}
        ruling = Ruling.of(self._client.post(f"{ROOT}/actions", body))
        if self._alone and ruling.in_hand and ruling.action not in self._hands:
            self.settle(ruling.action, "unknown", message="the process that had it in hand has died")
            ruling = Ruling.of(self._client.post(f"{ROOT}/actions", body))
        if ruling.verdict == "allow" and not ruling.replayed:
            self._hands.add(ruling.action)
        return ruling

    def settle(
        self,
        action: str,
        status: Status,
        result: Any = None,  # noqa: ANN401  whatever a tool returns
        *,
        message: str = "",
        transport: bool = False,
        latency_us: int = 0,
    ) -> None:
        """Say what became of an action that was let through. Said twice, it changes nothing."""
        body = {
            "status": status, "result": bounded(plain(result)), "message": message[:2_000],
            "transport": transport, "latency_us": latency_us,
        }  # fmt: skip
        self._client.post(f"{ROOT}/actions/{quote(action, safe='')}/outcome", body)
        self._hands.discard(action)

    def state(self, action: str) -> Ruling:
        """Return how an action stands: what it waits for, or what became of it."""
        return Ruling.of(self._client.get(f"{ROOT}/actions/{quote(action, safe='')}"))

    def heard(self, run: str, text: str, *, source: str, trusted: bool = False) -> None:
        """Tell of a text that came into the run otherwise than through a tool that is asked for here."""
        self._client.post(
            f"{ROOT}/runs/{quote(run, safe='')}/texts", {"text": text, "source": source, "trusted": trusted}
        )

    def heard_once(self, run: str, text: str, *, source: str, trusted: bool = False) -> None:
        """Tell of a text unless this client did already."""
        name = f"text/{run}/{sha256(text.encode()).hexdigest()}"
        if text and name not in self._known:
            self.heard(run, text, source=source, trusted=trusted)
            self._remember(name)

    def end(self, run: str, state: Literal["done", "failed", "stopped"] = "done") -> None:
        """End a run: nothing more is let through in it."""
        self._client.post(f"{ROOT}/runs/{quote(run, safe='')}/end", {"state": state})

    def timeline(self, run: str) -> Json:
        """Return a run with its steps."""
        return self._client.get(f"{ROOT}/runs/{quote(run, safe='')}")

    def carry_out(
        self, ruling: Ruling, do: Callable[[Json], Any], kept: Callable[[Any], Any] = lambda result: result
    ) -> Any:  # noqa: ANN401  whatever the tool returns
        """Carry out what was let through, and say what became of it; `kept` is what to return if it is asked for again.

        Raises what `do` raises. If the outcome cannot be recorded, `Unavailable`: the run must not go on as if it were.
        """
        started = time.perf_counter_ns()
        with _doing(ruling.action):
            try:
                result = do(ruling.arguments)
            except BaseException as error:
                self._say(ruling.action, *_outcome_of(error), _since(started), instead=error)
                raise
        self._say(ruling.action, "ok", kept(result), "", False, _since(started))  # noqa: FBT003  as _outcome_of
        return result

    def _say(
        self, action: str, status: Status, result: Any, message: str, transport: bool, latency_us: int,  # noqa: ANN401, FBT001
        *, instead: BaseException | None = None,
    ) -> None:  # fmt: skip
        for wait in (*PATIENCE_S, None):
            try:
                return self.settle(action, status, result, message=message, transport=transport, latency_us=latency_us)
            except (Unavailable, Unreachable) as away:
                if wait is None:
                    return _unsaid(action, away, instead)
                time.sleep(wait)
            except BedplateError as refused:
                return _unsaid(action, refused, instead)
        return None

    def _remember(self, name: str) -> None:
        """Remember what was told, once it was: another thread may ask meanwhile, and twice is as good as once."""
        with self._lock:
            self._known[name] = None
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)


class AsyncAgents:
    """The same for async code. Requests run in threads, so that the loop never waits for the network."""

    def __init__(
        self, url: str, key: str, *, timeout_s: float = 30, alone: bool = False, sync: Agents | None = None
    ) -> None:
        self.sync = sync or Agents(url, key, timeout_s=timeout_s, alone=alone)

    @classmethod
    def over(cls, agents: Agents | AsyncAgents) -> AsyncAgents:
        """Return the async side of a client."""
        return agents if isinstance(agents, AsyncAgents) else cls("", "", sync=agents)

    async def token(self, agent: str = "", seconds: int = 300) -> tuple[str, int]:
        """See `Agents.token`."""
        return await asyncio.to_thread(self.sync.token, agent, seconds)

    async def begin(self, run: str = "", *, task: str = "", parent: str = "", principal: str = "") -> Json:
        """See `Agents.begin`."""
        return await asyncio.to_thread(self.sync.begin, run, task=task, parent=parent, principal=principal)

    async def ensure(self, run: str, task: str = "") -> str:
        """See `Agents.ensure`."""
        return await asyncio.to_thread(self.sync.ensure, run, task)

    async def propose(self, run: str, tool: str, arguments: Json, *, key: str = "", dry_run: bool = False) -> Ruling:
        """See `Agents.propose`."""
        return await asyncio.to_thread(self.sync.propose, run, tool, arguments, key=key, dry_run=dry_run)

    async def settle(self, action: str, status: Status, result: Any = None, **more: Any) -> None:  # noqa: ANN401
        """See `Agents.settle`."""
        await asyncio.to_thread(self.sync.settle, action, status, result, **more)

    async def state(self, action: str) -> Ruling:
        """See `Agents.state`."""
        return await asyncio.to_thread(self.sync.state, action)

    async def heard(self, run: str, text: str, *, source: str, trusted: bool = False) -> None:
        """See `Agents.heard`."""
        await asyncio.to_thread(self.sync.heard, run, text, source=source, trusted=trusted)

    async def heard_once(self, run: str, text: str, *, source: str, trusted: bool = False) -> None:
        """See `Agents.heard_once`."""
        await asyncio.to_thread(self.sync.heard_once, run, text, source=source, trusted=trusted)

    async def end(self, run: str, state: Literal["done", "failed", "stopped"] = "done") -> None:
        """See `Agents.end`."""
        await asyncio.to_thread(self.sync.end, run, state)

    async def timeline(self, run: str) -> Json:
        """See `Agents.timeline`."""
        return await asyncio.to_thread(self.sync.timeline, run)

    async def carry_out(
        self, ruling: Ruling, do: Callable[[Json], Awaitable[Any]], kept: Callable[[Any], Any] = lambda result: result
    ) -> Any:  # noqa: ANN401  whatever the tool returns
        """See `Agents.carry_out`. Cancelled in the middle, its outcome is unknown, and said to be."""
        started = time.perf_counter_ns()
        with _doing(ruling.action):
            try:
                result = await do(ruling.arguments)
            except BaseException as error:
                said = (ruling.action, *_outcome_of(error), _since(started))
                await asyncio.shield(asyncio.to_thread(self.sync._say, *said, instead=error))  # noqa: SLF001  same class
                raise
        said = (ruling.action, "ok", kept(result), "", False, _since(started))
        await asyncio.shield(asyncio.to_thread(self.sync._say, *said))  # noqa: SLF001  as above
        return result


@contextmanager
def _doing(action: str) -> Iterator[None]:
    token = _action.set(action)
    try:
        yield
    finally:
        _action.reset(token)


def _outcome_of(error: BaseException) -> tuple[Status, Any, str, bool]:
    """Say what an exception means: it failed, or nobody knows. A connection that broke in the middle is the latter."""
    said = f"{type(error).__name__}: {error}"
    names = {sort.__name__ for sort in type(error).__mro__}
    never = isinstance(error, ConnectionRefusedError) or bool(names & {"ConnectError", "ConnectTimeout"})
    silent = isinstance(error, TimeoutError | ConnectionError) or any(_silent(name) for name in names)
    if never:
        return "error", said, said, True
    if silent:
        return "unknown", None, said, True
    if not isinstance(error, Exception) or "GraphBubbleUp" in names:  # stopped in the middle, by whoever runs it
        return "unknown", None, said, False
    return "error", said, said, False


def _silent(name: str) -> bool:
    """Whether the name of an exception says that no answer came: client libraries have exceptions of their own."""
    return "Timeout" in name or name in {"ReadError", "RemoteProtocolError", "ProtocolError", "ServerDisconnectedError"}


def _unsaid(action: str, why: BedplateError, instead: BaseException | None) -> None:
    if instead is not None:
        log.error("what became of %s could not be recorded: %s", action, why)
        return
    raise Unavailable(
        f"{action} was carried out, but what became of it could not be recorded: {why.message}",
        hint=f"once the server answers, a person says what happened: bedplate actions conclude {action} ok",
    ) from why


def _since(started: int) -> int:
    return (time.perf_counter_ns() - started) // 1_000
