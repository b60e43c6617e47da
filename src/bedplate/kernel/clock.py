"""Time, as a value: microseconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]

SECOND = 1_000_000
DAY = 86_400 * SECOND


def rfc3339(at: int) -> str:
    """Write microseconds since the epoch as RFC 3339 in UTC with six decimals."""
    seconds, micros = divmod(at, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def parse_rfc3339(text: str) -> int:
    """Read what `rfc3339` wrote; `ValueError` for anything else."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND + moment.microsecond
