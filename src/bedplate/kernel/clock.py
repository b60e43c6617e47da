"""Time, as a value: microseconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

Clock = Callable[[], int]

SECOND = 1_000_000
DAY = 86_400 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def rfc3339(at: int) -> str:
    """Write microseconds since the epoch as RFC 3339 in UTC with six decimals."""
    second, rest = divmod(at, SECOND)
    return f"{_second(second)}.{rest:06d}Z"


@lru_cache(maxsize=64)  # a busy gateway writes the same second thousands of times
def _second(second: int) -> str:
    return (EPOCH + second * SECOND * MICROSECOND).replace(tzinfo=None).isoformat(timespec="seconds")


def day_of(text: str, *, after: int = 0) -> int:
    """Return when a day such as 2027-01-31 begins in UTC, or the one so many days after; `ValueError` if it is none."""
    return (date.fromisoformat(text).toordinal() - EPOCH.toordinal() + after) * DAY


def parse_rfc3339(text: str) -> int:
    """Read what `rfc3339` wrote; `ValueError` for anything else."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    at = (moment - EPOCH) // MICROSECOND  # whole numbers all the way: a float of seconds is too coarse after 3058
    if rfc3339(at) != text:
        raise ValueError(f"{text!r} is not as it is written here")
    return at
