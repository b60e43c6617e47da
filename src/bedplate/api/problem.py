"""Errors over HTTP: one shape of body."""

from __future__ import annotations

from typing import Any

from bedplate.document import InvalidDocument
from bedplate.errors import BedplateError, Denied, NeedsApproval


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
