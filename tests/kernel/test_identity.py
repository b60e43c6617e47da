"""UUIDv7: rising whatever the clock does and however many ask."""

from __future__ import annotations

import threading
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.identity import Identities

DAYS = 86_400_000_000


@given(st.lists(st.integers(0, 20_000 * DAYS), min_size=2, max_size=50))
def test_identifiers_rise_though_the_clock_steps_back(times: list[int]) -> None:
    clock = iter(times)
    source = Identities(lambda: next(clock))
    made = [source.next() for _ in times]
    assert made == sorted(set(made))
    for text in made:
        parsed = UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, "specified in RFC 4122", text)


def test_identifiers_hold_the_time_while_it_goes_forward() -> None:
    source = Identities(lambda: 1_750_000_000_123_456)
    assert UUID(source.next()).int >> 80 == 1_750_000_000_123


def test_identifiers_are_distinct_across_threads() -> None:
    source, made = Identities(lambda: 1_750_000_000_000_000), [list[str]() for _ in range(8)]

    def take(mine: list[str]) -> None:
        mine.extend(source.next() for _ in range(500))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({text for mine in made for text in mine}) == 4_000
