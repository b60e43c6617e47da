"""What is done about evidence: anchor a journal's records in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.authority import SYSTEM

from .governance import ANCHOR

if TYPE_CHECKING:
    from bedplate.kernel.action import Action
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor


def note_shard(governor: Governor, what: str, shard: str, size: int, root: str = "") -> None:
    """Record that a shard was opened, still beats, or was closed, and how long it is: silence differs from removal."""
    data: dict[str, Value] = {"shard": shard, "size": size}
    if what != "opened":
        data["root"] = root
    _record(governor, ANCHOR, shard, f"kernel.shard.{what}", data)


def note_segment(governor: Governor, shard: str, segment: dict[str, Value]) -> None:
    """Anchor a sealed segment: `number`, `first`, `count`, `root` and `previous` (hex)."""
    _record(governor, ANCHOR, shard, "kernel.segment.sealed", {"shard": shard, **segment})


def _record(governor: Governor, action: Action, shard: str, kind: str, data: dict[str, Value]) -> None:
    with governor.act(SYSTEM, action, f"shard/{shard}", facts={}) as act:
        act.record(kind, data)
