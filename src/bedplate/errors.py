"""One tree of errors. Each says where, what, and how to mend it."""

from __future__ import annotations


class BedplateError(Exception):
    """Base of every error Bedplate raises on purpose.

    `code` is stable and machine-readable; `hint` says what to do next. The shells turn the class into an
    HTTP status (`status.py`) or an exit code (`cli/main.py`), once.
    """

    code = "internal"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidInput(BedplateError):
    """What was sent cannot be read or does not hold together. Nothing was changed."""

    code = "invalid-input"


class NotFound(BedplateError):
    """There is no such thing, or it is not visible to whoever asked."""

    code = "not-found"


class Unauthenticated(BedplateError):
    """No valid session, token or key came with the request."""

    code = "unauthenticated"


class Denied(BedplateError):
    """The verdict was deny. The refusal and its reasons are on record."""

    code = "denied"

    def __init__(self, message: str, *, hint: str = "", reasons: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.reasons = reasons  # (control, what is wrong, how to mend it)

    @property
    def controls(self) -> tuple[str, ...]:
        """Name the controls that said no."""
        return tuple(control for control, _, _ in self.reasons)


class NeedsApproval(BedplateError):
    """The verdict was ask: the approval named here must be granted first."""

    code = "needs-approval"

    def __init__(self, message: str, *, approval: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.approval = approval


class Conflict(BedplateError):
    """Somebody else changed it in between, or it was already done differently."""

    code = "conflict"


class Unavailable(BedplateError):
    """It cannot be done now (database, journal or upstream away); trying again later may work."""

    code = "unavailable"


class TooMany(Unavailable):
    """It was tried too often. `wait_s`: seconds until it may be tried again."""

    code = "too-many"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, wait_s: int = 0) -> None:
        super().__init__(message, hint=hint, code=code)
        self.wait_s = wait_s


class Full(Unavailable):
    """The disk is full. Nothing acknowledged was lost; writing resumes by itself once there is space."""

    code = "disk-full"


class Tampered(BedplateError):
    """A record does not match what was signed or hashed. The message names the record."""

    code = "tampered"


class Unreachable(BedplateError):
    """The server, or the upstream behind it, does not answer."""

    code = "unreachable"
