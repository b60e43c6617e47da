from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING

from bedplate.errors import Unavailable
from bedplate.store.groupcommit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_no_record_stays_in_memory() -> None:
    class Work:
        pass

    group: GroupCommit[Work, int] = GroupCommit(
        lambda batch: [1] * len(batch), name="test", queue=5, batch=5, on_fatal=lambda _error: None
    )
    work = Work()
    gone = weakref.ref(work)
    group.submit_sync(work, 5)
    del work
    for _ in range(100):
        gc.collect()
        if gone() is None:
            break
        threading.Event().wait(0.01)
    assert gone() is None
    group.close()


def test_a_failure_is_told_to_all_and_reported_once() -> None:
    fatal: list[BaseException] = []
    started, go = threading.Event(), threading.Event()

    def commit(_batch: Sequence[int]) -> list[int]:
        started.set()
        go.wait()
        raise RuntimeError("lost")

    group: GroupCommit[int, int] = GroupCommit(commit, name="test", queue=5, batch=1, on_fatal=fatal.append)

    async def every() -> list[int | BaseException]:
        waiting = asyncio.gather(*(group.submit(n) for n in range(4)), return_exceptions=True)
        await asyncio.to_thread(started.wait)
        group.fail(OSError("first"))
        go.set()
        return await waiting

    assert all(isinstance(answer, Unavailable) for answer in asyncio.run(every()))
    group.close()
    assert [str(error) for error in fatal] == ["first"]
    assert group.failed
