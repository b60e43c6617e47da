"""An error as a person sees it: a status, what is wrong, why, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import (
    BedplateError,
    Conflict,
    Denied,
    InvalidInput,
    NeedsApproval,
    NotFound,
    Tampered,
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
    Unavailable: 503,
    Tampered: 500,
    Unreachable: 502,
    BedplateError: 500,
}
TITLES = {
    202: "It waits for approval",
    401: "Sign in",
    403: "Refused",
    404: "There is no such thing here",
    405: "That is not how this is asked for",
    409: "In conflict with what is on record",
    413: "Too large",
    422: "Something is missing or cannot be read",
    503: "It cannot be done now",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is shown. `reasons` are (control, what is wrong, fix); `approval` is the id of what was asked."""

    status: int
    title: str
    message: str
    fix: str
    reasons: tuple[tuple[str, str, str], ...] = ()
    approval: str = ""


def problem_of(error: Exception) -> Problem:
    """Turn an error into what a person sees. What we did not foresee tells nothing of its insides."""
    if not isinstance(error, BedplateError):
        return Problem(500, "Something broke", "The page could not be made.", "It is in the server's log; try again.")
    status = next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
    if error.code == "request-too-large":
        status = 413
    reasons = error.reasons if isinstance(error, Denied) and len(error.reasons) > 1 else ()
    approval = error.approval.removeprefix("approval/") if isinstance(error, NeedsApproval) else ""
    title = TITLES.get(status, "Something is wrong with the records")
    return Problem(status, title, error.message, error.hint, reasons, approval)
