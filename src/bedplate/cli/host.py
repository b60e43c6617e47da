"""What whoever has the host may do without a server: read the settings, open the records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from bedplate.config import Settings
    from bedplate.kernel.governor import Governor


def settings(
    *, data: Path | None = None, host: str | None = None, port: int | None = None, processes: int | None = None
) -> Settings:
    """Read the settings from the environment; what is given here goes before it. `InvalidInput` names the variable."""
    from pydantic import ValidationError

    from bedplate.config import Settings

    told = {"data": data, "host": host, "port": port, "processes": processes}
    given = {k: v for k, v in told.items() if v is not None}
    try:
        return Settings.model_validate({**Settings().model_dump(), **given})
    except ValidationError as wrong:
        said = "; ".join(f"BEDPLATE_{str(e['loc'][0]).upper()}: {e['msg']}" for e in wrong.errors())
        raise InvalidInput(said, hint="see bedplate up --help") from None


def governor(at: Settings) -> Governor:
    """Open the one door over the records in the data folder, bringing its tables up to date."""
    from bedplate import bootstrap

    engine = bootstrap.open_engine_and_migrate(at)
    ledger, declared, identities = bootstrap.open_ledger(engine, bootstrap.wall_clock)
    return bootstrap.open_governor(ledger, declared, bootstrap.wall_clock, identities)
