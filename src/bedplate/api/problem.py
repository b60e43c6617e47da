"""Errors over HTTP: one table from class to status, one shape of body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedplate.document import InvalidDocument
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


def status_of(error: BedplateError) -> int:
    """Return the status of an error: that of the nearest class in the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def body_of(error: BedplateError) -> dict[str, Any]:
    """Return the one shape of every error: code, message, hint, and what belongs to its kind."""
    told: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, Denied) and error.reasons:
        told["reasons"] = [{"control": c, "reason": r, "fix": f} for c, r, f in error.reasons]
    if isinstance(error, NeedsApproval):
        told["approval"] = error.approval
    if isinstance(error, InvalidDocument):
        told["complaints"] = [
            {"file": c.file, "line": c.line, "column": c.column, "path": c.path, "message": c.message}
            for c in error.complaints
        ]
    return {"error": told}
