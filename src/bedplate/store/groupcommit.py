"""Group commit: many callers, one thread, one durable commit for all who wait. Knows nothing of what is committed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from bedplate.errors import BedplateError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

W = TypeVar("W")
R = TypeVar("R")

BUSY, LINGER, LINGERS = 3, 0.001, 6  # pieces in a group; seconds; how often at most
RESTART = "the process has to be restarted"


class Waiter(NamedTuple, Generic[W, R]):
    """One piece of work and who waits for its outcome; `loop` is None for a thread."""

    work: W
    future: asyncio.Future[R] | Future[R]
    loop: asyncio.AbstractEventLoop | None


class GroupCommit(Generic[W, R]):
    """A bounded queue and the one thread that empties it, up to `batch` pieces at a time.

    `commit` gets the pieces and returns, in order, a result or a BedplateError for each, after they are durable. If it
    raises Unavailable (or Full) the whole group failed and nothing of it was kept: its waiters are told and work goes
    on. If it raises anything else the group and every later one fail, and `on_fatal` is called once: what the disk
    holds is not known any more, and only a restart, which reads it back, can tell.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[W]], Sequence[R | BedplateError]],
        *,
        name: str,
        queue: int,
        batch: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._commit, self._name, self._limit, self._batch, self._on_fatal = commit, name, queue, batch, on_fatal
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Waiter[W, R]] = deque()
        self._staged: dict[asyncio.AbstractEventLoop, list[Waiter[W, R]]] = {}  # each touched by its loop's thread only
        self._last = 0  # pieces in the last group
        self._closing = False
        self._failure = ""
        # A daemon: at interpreter exit without close() nothing acknowledged is lost, and a hung disk cannot hold it up.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """How many pieces wait in the queue, those in the current group not counted."""
        return len(self._queue)

    @property
    def healthy(self) -> bool:
        """Whether new work is taken."""
        return not (self._failure or self._closing)

    @property
    def failed(self) -> bool:
        """Whether it met an error it cannot go on after."""
        return bool(self._failure)

    def must_be_healthy(self) -> None:
        """Raise Unavailable if it failed or was closed."""
        if self._failure:
            msg = f"{self._name} failed: {self._failure}"
            raise Unavailable(msg, hint=RESTART)
        if self._closing:
            msg = f"{self._name} is closed"
            raise Unavailable(msg)

    async def submit(self, work: W) -> R:
        """Resume with the result after the durable commit; raises Unavailable at once if the queue is full.

        A cancelled caller leaves its work in the queue: it may still be committed.
        """
        self.must_be_healthy()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        staged = self._staged.setdefault(loop, [])
        if not staged:
            # Handed over together at the end of this round of the loop: a lock, a wake-up and a change of thread for
            # each would cost more than all the rest of a call.
            loop.call_soon(self._hand_over, loop)
        staged.append(Waiter(work, future, loop))
        return await future

    def submit_sync(self, work: W, timeout: float) -> R:
        """Block until the durable commit, `timeout` seconds at most; then Unavailable, and it may still happen."""
        future: Future[R] = Future()
        self._put(Waiter(work, future, None))
        try:
            return future.result(timeout)
        except TimeoutError:
            msg = f"{self._name} did not commit within {timeout:g} s"
            raise Unavailable(msg, hint="it may still be recorded; send the same id again") from None

    def fail(self, error: BaseException) -> None:
        """Latch: answer everybody who waits with Unavailable, take no more work, call `on_fatal` (once)."""
        self._fail(error, [])

    def close(self) -> None:
        """Take no more work, commit what waits, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        staged = self._staged.pop(loop)
        with self._changed:
            taken = 0 if self._failure or self._closing else max(0, self._limit - len(self._queue))
            self._queue.extend(staged[:taken])
            self._changed.notify()
        if refused := staged[taken:]:
            msg = f"{self._name} failed: {self._failure}" if self._failure else f"{self._name} queue is full"
            _answer(refused, [Unavailable(msg, hint="try again later, with the same id") for _ in refused])

    def _put(self, waiter: Waiter[W, R]) -> None:
        with self._changed:
            self.must_be_healthy()
            if len(self._queue) >= self._limit:
                msg = f"{self._name} queue is full"
                raise Unavailable(msg, hint="try again later, with the same id")
            self._queue.append(waiter)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            waiters = self._take()
            if waiters:
                self._serve(waiters)
            elif self._closing or self._failure:
                return
            del waiters  # else the last group's records stay alive while the queue is empty

    def _take(self) -> list[Waiter[W, R]]:
        with self._changed:
            while not (self._queue or self._closing or self._failure):
                self._changed.wait()
            busy = max(self._last, len(self._queue)) >= BUSY and len(self._queue) < self._batch and not self._closing
        if busy:
            # Several callers come at once: wait for the others, as long as more come. A commit changes threads some
            # ten times, and under load that costs more than the work of a record. Who comes alone never waits.
            for _ in range(LINGERS):
                before = len(self._queue)
                time.sleep(LINGER)
                if len(self._queue) == before or len(self._queue) >= self._batch:
                    break
        with self._changed:
            taken = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
        self._last = len(taken)
        return taken

    def _serve(self, waiters: list[Waiter[W, R]]) -> None:
        try:
            outcomes = self._commit([waiter.work for waiter in waiters])
        except Unavailable as error:
            _answer(waiters, [_another(error) for _ in waiters])
        except BaseException as error:  # noqa: BLE001 - a thread that died in silence would leave everybody waiting
            self._fail(error, waiters)
        else:
            _answer(waiters, outcomes)

    def _fail(self, error: BaseException, group: list[Waiter[W, R]]) -> None:
        # First the latch: nobody who is told of the failure may get another piece in.
        with self._changed:
            first = not self._failure
            self._failure = self._failure or f"{type(error).__name__}: {error}"
            waiters = [*group, *self._queue]
            self._queue.clear()
            self._changed.notify_all()
        msg = f"{self._name} failed: {self._failure}"
        _answer(waiters, [Unavailable(msg, hint=RESTART) for _ in waiters])
        if first:
            self._on_fatal(error)


def _another(error: Unavailable) -> Unavailable:
    # One instance raised in many tasks would grow one shared traceback.
    return type(error)(error.message, hint=error.hint)


def _answer(waiters: Sequence[Waiter[W, R]], outcomes: Sequence[R | BedplateError]) -> None:
    """Hand out the outcomes: one wake-up for each event loop, however many wait there."""
    waiting: dict[asyncio.AbstractEventLoop | None, list[tuple[asyncio.Future[R] | Future[R], R | BedplateError]]] = {}
    for waiter, outcome in zip(waiters, outcomes, strict=True):
        waiting.setdefault(waiter.loop, []).append((waiter.future, outcome))
    for loop, pairs in waiting.items():
        if loop is None:
            _settle(pairs)
            continue
        try:
            loop.call_soon_threadsafe(_settle, pairs)
        except RuntimeError:  # the loop was closed: nobody is left to be told
            continue


def _settle(pairs: list[tuple[asyncio.Future[R] | Future[R], R | BedplateError]]) -> None:
    for future, outcome in pairs:
        if future.done():  # cancelled
            continue
        if isinstance(outcome, BedplateError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
