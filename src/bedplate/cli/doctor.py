"""`bedplate doctor`: what is wrong on this host, and the remedy for each."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bedplate.errors import InvalidInput

from .output import HERE, Screen, fields, line, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.config import Settings

    from .checkup import Check


def doctor(
    *,
    data: Annotated[Path | None, Parameter(help="Folder of the records. Otherwise $BEDPLATE_DATA.")] = None,
    full: Annotated[bool, Parameter(help="Recompute every call on record from its bytes. Takes longer.")] = False,
    new_witness: Annotated[
        Path | None, Parameter(help="Make a witness's key in this folder, and do nothing else.")
    ] = None,
    continue_ledger: Annotated[
        str, Parameter(help="After restoring a copy that a check refuses as too old: the reason to go on from it.")
    ] = "",
    screen: Screen = HERE,
) -> int:
    """Check this host and its records.

    Says the remedy for what is wrong. Changes nothing. Exit code 0 or 1.
    """
    if new_witness is not None:
        return _witness(new_witness, screen)
    from .checkup import checkup
    from .host import settings

    if continue_ledger:
        return _continued(settings(data=data), continue_ledger, screen)
    checks = checkup(settings(data=data), full=full)
    healthy = all(c.ok for c in checks)
    told = [{"name": c.name, "ok": c.ok, "found": c.found, "remedy": c.remedy} for c in checks]
    screen.show({"healthy": healthy, "checks": told}, lambda: _shown(checks))
    return 0 if healthy else 1


def _continued(at: Settings, reason: str, screen: Screen) -> int:
    from bedplate.bootstrap import continue_ledger

    origin = continue_ledger(at, reason)
    told = {"origin": origin, "reason": reason}
    screen.show(told, lambda: line(f"a new epoch began, on record; the ledger is now {origin}"))
    return 0


def _shown(checks: Sequence[Check]) -> None:
    for check in checks:
        line("ok" if check.ok else "wrong", f"{check.name}: {check.found}")
        if check.remedy:
            line(f"     remedy: {check.remedy}", style="yellow")
    wrong = sum(not c.ok for c in checks)
    note(f"{wrong} of {len(checks)} checks found something wrong." if wrong else f"All {len(checks)} checks are fine.")


def _witness(folder: Path, screen: Screen) -> int:
    from bedplate.store.note import SigningKey

    key = SigningKey.generate(f"witness.bedplate.local/{secrets.token_hex(8)}")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as wrong:
        raise InvalidInput(f"{folder} cannot be made: {wrong.strerror}") from None
    path = folder / "witness-key"
    key.save(path)
    told = {"file": str(path), "key": str(key.cosigner)}

    def text() -> None:
        fields({"wrote": path, "public key": key.cosigner})
        note(f"Keep it where the server's operator cannot write. Then: BEDPLATE_WITNESS={folder} bedplate up")

    screen.show(told, text)
    return 0
