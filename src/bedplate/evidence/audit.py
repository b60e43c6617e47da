"""An audit: the ledger, its checkpoints, its read tables and every journal shard, recomputed; every fault is named."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError
from bedplate.store.fsck import compare_read_tables, verify_ledger

from .views import anchored_shards, check_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Engine

    from bedplate.store.projector import Projector
    from bedplate.store.shard import Shard


@dataclass(frozen=True, slots=True)
class Audit:
    """What was wrong, and how many records of what were checked."""

    faults: tuple[str, ...]
    counts: Mapping[str, int]


def audit(
    engine: Engine, checkpoints: Callable[[], None], shards: Mapping[str, Shard], projector: Projector | None = None
) -> Audit:
    """Check everything, and say what is wrong instead of stopping at the first fault.

    `checkpoints` compares the ledger with what was signed. Read tables are rebuilt and compared where a projector is
    given; that holds the writer's lock meanwhile.
    """
    faults: list[str] = []
    counts: dict[str, int] = {}

    def attempt(what: str, check: Callable[[], int]) -> None:
        try:
            counts[what] = check()
        except BedplateError as fault:
            faults.append(fault.message)

    attempt("events", lambda: verify_ledger(engine))
    try:
        checkpoints()
    except BedplateError as fault:
        faults.append(fault.message)
    for name, shard in shards.items():
        attempt(name, partial(check_shard, engine, shard, name))
    gone = anchored_shards(engine) - shards.keys()
    faults += [f"shard {name} is gone, though records of it were anchored" for name in sorted(gone)]
    if projector is not None:
        differ = compare_read_tables(engine, projector)
        counts["read tables"] = len(projector.read_tables) - len(differ)
        faults += [f"the read table {name} is not what the ledger says" for name in differ]
    return Audit(tuple(faults), counts)
