"""Group commit: many callers, one thread, one durable commit for all who wait. Knows nothing of what is committed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from bedplate.errors import BedplateError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

W = TypeVar("W")
R = TypeVar("R")
T = TypeVar("T")

BUSY, LINGER, LINGERS = 3, 0.001, 6  # pieces in a group; seconds; how often at most
PATIENCE = 0.05  # seconds that a loop has to begin a group before the thread does
RESTART = "the process has to be restarted"


class Waiter(NamedTuple, Generic[W, R]):
    """One piece of work and who waits for its outcome; `loop` is None for a thread."""

    work: W
    future: asyncio.Future[R] | Future[R]
    loop: asyncio.AbstractEventLoop | None


class Staged(NamedTuple, Generic[W, R, T]):
    """A group that a loop has begun, for the thread to end."""

    waiters: list[Waiter[W, R]]
    begun: T


class GroupCommit(Generic[W, R, T]):
    """A bounded queue and the one thread that empties it, up to `batch` pieces at a time.

    `commit` gets the pieces and returns, in order, a result or a BedplateError for each, after they are durable. If it
    raises Unavailable (or Full) the whole group failed and nothing of it was kept: its waiters are told and work goes
    on. If it raises anything else the group and every later one fail, and `on_fatal` is called once: what the disk
    holds is not known any more, and only a restart, which reads it back, can tell.

    `begin` does what waits for no disk, in the thread of the event loop whose calls these are; `end` makes it durable,
    in the other thread, and returns as `commit` does. What is done on the loop changes threads once for a group, where
    every step of it in the other thread takes the interpreter lock from the loop, and gives it back. `begin` returns
    None where it cannot, or would have to wait: then the group is for `commit`. Only one group is on its way at a time.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[W]], Sequence[R | BedplateError]],
        *,
        name: str,
        queue: int,
        batch: int,
        on_fatal: Callable[[BaseException], None],
        begin: Callable[[Sequence[W]], T | None] = lambda _works: None,
        end: Callable[[T], Sequence[R | BedplateError]] = lambda _begun: (),
    ) -> None:
        self._commit, self._name, self._limit, self._batch, self._on_fatal = commit, name, queue, batch, on_fatal
        self._begin, self._end = begin, end
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Waiter[W, R]] = deque()
        self._staged: dict[asyncio.AbstractEventLoop, list[Waiter[W, R]]] = {}  # each touched by its loop's thread only
        self._last = 0  # pieces in the last group
        self._on_its_way = False  # a group: whoever set this has it, until it is set back
        self._job: Staged[W, R, T] | None = None  # begun by a loop
        self._alone = False  # the queue is for the thread to begin
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
        self._begin_next()
        if refused := staged[taken:]:
            msg = f"{self._name} failed: {self._failure}" if self._failure else f"{self._name} queue is full"
            _answer(refused, [Unavailable(msg, hint="try again later, with the same id") for _ in refused])

    def _begin_next(self) -> None:
        """Begin the next group, in a loop's thread."""
        with self._changed:
            if self._on_its_way or not self._queue or self._alone:
                if self._queue and not self._on_its_way:
                    self._changed.notify()
                return
            self._on_its_way = True
            waiters = self._taken()
        begun = None
        try:
            begun = self._begin([waiter.work for waiter in waiters])
        except Exception:  # noqa: BLE001 - the other way will meet it too, and knows what it means
            begun = None
        with self._changed:
            if begun is None:
                self._queue.extendleft(reversed(waiters))
                self._on_its_way, self._alone = False, True
            else:
                self._job = Staged(waiters, begun)
            self._changed.notify()

    def _put(self, waiter: Waiter[W, R]) -> None:
        with self._changed:
            self.must_be_healthy()
            if len(self._queue) >= self._limit:
                msg = f"{self._name} queue is full"
                raise Unavailable(msg, hint="try again later, with the same id")
            self._queue.append(waiter)
            self._alone = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            job, waiters = self._next()
            if job is not None:
                self._served(job)
            elif waiters:
                self._serve(waiters)
            else:
                return
            self._ended()
            del job, waiters  # else the last group's records stay alive while the queue is empty

    def _next(self) -> tuple[Staged[W, R, T] | None, list[Waiter[W, R]]]:
        """Wait for something to do: a group that a loop has begun, or one that none begins. Nothing: it is over."""
        with self._changed:
            while self._job is None:
                over = bool(self._closing or self._failure)
                if not self._on_its_way and (over or (self._queue and self._alone)):
                    self._on_its_way = True
                    break
                waits = bool(self._queue) and not self._on_its_way
                if not self._changed.wait(PATIENCE if waits else None):
                    self._alone = bool(self._queue) and not self._on_its_way
            else:
                job, self._job = self._job, None
                return job, []
        return None, self._take()

    def _ended(self) -> None:
        """Let the next group begin: in the loop whose work is next, where it is a loop's."""
        with self._changed:
            self._on_its_way = False
            loop = self._queue[0].loop if self._queue else None
            self._alone = bool(self._queue) and loop is None
        if loop is not None:
            with suppress(RuntimeError):  # the loop was closed: after a while it is begun here
                loop.call_soon_threadsafe(self._begin_next)

    def _taken(self) -> list[Waiter[W, R]]:
        taken = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
        self._last = len(taken)
        return taken

    def _take(self) -> list[Waiter[W, R]]:
        with self._changed:
            busy = max(self._last, len(self._queue)) >= BUSY and len(self._queue) < self._batch and not self._closing
        if busy and self._queue:
            # Several callers come at once: wait for the others, as long as more come. A commit changes threads some
            # ten times, and under load that costs more than the work of a record. Who comes alone never waits.
            for _ in range(LINGERS):
                before = len(self._queue)
                time.sleep(LINGER)
                if len(self._queue) == before or len(self._queue) >= self._batch:
                    break
        with self._changed:
            return self._taken()

    def _served(self, job: Staged[W, R, T]) -> None:
        self._told(job.waiters, partial(self._end, job.begun))

    def _serve(self, waiters: list[Waiter[W, R]]) -> None:
        self._told(waiters, lambda: self._commit([waiter.work for waiter in waiters]))

    def _told(self, waiters: list[Waiter[W, R]], committed: Callable[[], Sequence[R | BedplateError]]) -> None:
        try:
            outcomes = committed()
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
