"""The follower: a snapshot that knows how old it is, and never goes back."""

from __future__ import annotations

import threading
import time

import pytest

from bedplate.errors import Unavailable
from bedplate.gateway.snapshot import EMPTY, Follower, Snapshot


class Ledger:
    """A head to set, and snapshots of it; both can be made to fail."""

    def __init__(self) -> None:
        self.size = 1
        self.away = False
        self.loads = 0

    def head(self) -> int:
        if self.away:
            raise Unavailable("the database is away")
        return self.size

    def load(self) -> Snapshot:
        self.loads += 1
        return Snapshot(self.size, None, {}, {}, {})


def eventually(true: object, within: float = 5) -> None:
    assert callable(true)
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_before_the_first_look_it_is_older_than_any_lease() -> None:
    ledger = Ledger()
    follower = Follower(ledger.head, ledger.load, 10)

    assert follower.snapshot is EMPTY
    assert follower.age > 10**15


def test_it_reads_only_when_the_head_moved() -> None:
    ledger = Ledger()
    follower = Follower(ledger.head, ledger.load, 10)
    for _ in range(3):
        follower.look()
    assert ledger.loads == 1

    ledger.size = 2
    follower.look()
    assert (ledger.loads, follower.snapshot.size) == (2, 2)


def test_it_follows_in_a_thread_and_outlives_a_database_that_was_away(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    follower = Follower(ledger.head, ledger.load, 10)
    follower.start()
    try:
        ledger.away = True
        eventually(lambda: follower.age > 60_000)
        assert follower.snapshot.size == 1

        ledger.size, ledger.away = 2, False
        eventually(lambda: follower.snapshot.size == 2)
        eventually(lambda: follower.age < 60_000)
    finally:
        follower.stop()
    assert "follower.stale" in caplog.messages


def test_it_does_not_start_without_a_first_reading() -> None:
    ledger = Ledger()
    ledger.away = True
    follower = Follower(ledger.head, ledger.load, 10)

    with pytest.raises(Unavailable):
        follower.start()
    follower.stop()


def test_its_age_counts_from_before_the_reading() -> None:
    ledger = Ledger()

    def slow() -> Snapshot:
        time.sleep(0.05)
        return ledger.load()

    follower = Follower(ledger.head, slow, 10)
    follower.look()

    assert follower.age >= 50_000


def test_a_slow_reader_never_puts_an_older_snapshot_back() -> None:
    ledger = Ledger()
    in_load, go_on = threading.Event(), threading.Event()

    def load() -> Snapshot:
        found = ledger.load()
        if found.size == 1:
            in_load.set()
            go_on.wait(5)
        return found

    follower = Follower(ledger.head, load, 10)
    slow = threading.Thread(target=follower.look)
    slow.start()
    assert in_load.wait(5)
    ledger.size = 2  # what the slow one read is history now: a suspension, say
    quick = threading.Thread(target=follower.look)
    quick.start()
    quick.join(0.2)
    go_on.set()
    slow.join()
    quick.join()

    assert follower.snapshot.size == 2
