"""An error as a person sees it: a status, what is wrong, why, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass

from bedplate.errors import BedplateError, Denied, NeedsApproval
from bedplate.status import status_of

TITLES = {
    202: "It waits for approval",
    401: "Sign in",
    403: "Refused",
    404: "There is no such thing here",
    405: "That is not how this is asked for",
    409: "In conflict with what is on record",
    413: "Too large",
    422: "Something is missing or cannot be read",
    429: "Too many attempts",
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
    status = status_of(error)
    reasons = error.reasons if isinstance(error, Denied) and len(error.reasons) > 1 else ()
    approval = error.approval.removeprefix("approval/") if isinstance(error, NeedsApproval) else ""
    title = TITLES.get(status, "Something is wrong with the records")
    return Problem(status, title, error.message, error.hint, reasons, approval)
