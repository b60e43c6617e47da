"""What an error is over HTTP: one table from class to status, for the API and for pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import (
    BedplateError,
    Conflict,
    Denied,
    InvalidInput,
    NeedsApproval,
    NotFound,
    Tampered,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS: Mapping[type[BedplateError], int] = {
    InvalidInput: 422,
    NotFound: 404,
    Unauthenticated: 401,
    Denied: 403,
    NeedsApproval: 202,
    Conflict: 409,
    TooMany: 429,
    Unavailable: 503,
    Tampered: 500,
    Unreachable: 502,
    BedplateError: 500,
}
BY_CODE: Mapping[str, int] = {"request-too-large": 413}


def status_of(error: BedplateError) -> int:
    """Return the status of an error: its code's own, or that of the nearest class in the table."""
    return BY_CODE.get(error.code) or next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
