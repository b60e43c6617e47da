"""Puts actions on record: one journal record for each thing that happens to one, its content sealed in the vault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import BedplateError, Conflict, Unavailable
from bedplate.kernel.clock import rfc3339
from bedplate.store.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.clock import Clock
    from bedplate.kernel.event import Value
    from bedplate.store.journal import Journal
    from bedplate.store.vault import Vault

    from .toolcall import Tainted, Told

MAX_REASONS, MAX_TAINTED = 20, 50  # of each in an entry, which has its bounds
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Act:
    """What is known of an action so far; it becomes its records. Times in microseconds."""

    id: str
    subject: str
    agent: str
    key: str
    run: str
    tool: str
    sort: str  # read, write or irreversible
    digest: str  # of tool and arguments
    started: int
    step: int = 0
    tier: int = 0
    rung: str = ""
    release: str = ""
    epoch: str = ""
    verdict: str = "deny"
    status: str = "denied"
    reasons: list[Told] = field(default_factory=list)
    tainted: list[Tainted] = field(default_factory=list)
    approval: str = ""
    edited: bool = False
    dry_run: bool = False
    amount: int = 0  # micro-units
    unit: str = ""
    result_sha256: str = ""
    route: str = "live"  # live, decoy or observed
    latency_us: int = 0
    party: str = ""  # a keyed digest of whom it concerns; not on record


def filed(subject: str) -> str:
    """Return the name under which the journal finds a use case's actions, apart from its calls."""
    return f"act/{subject.partition('/')[2]}"


class ActRecorder:
    """Writes actions to one shard of the journal."""

    def __init__(self, journal: Journal, vault: Vault, clock: Clock) -> None:
        self._journal = journal
        self._vault = vault
        self._clock = clock

    @property
    def healthy(self) -> bool:
        """Tell whether actions can be recorded."""
        return self._journal.healthy and self._vault.healthy

    async def record(self, act: Act, kind: str, name: str, content: Mapping[str, Any] | None = None) -> None:
        """Commit one record under `name`; returns once it is durable.

        `Unavailable` if that cannot be done, `Conflict` if something else is on record under this name.
        """
        try:
            await self._journal.append(self._made(act, kind, name, content))
        except (Conflict, Unavailable):
            raise
        except BedplateError as broken:
            raise Unavailable(f"the action cannot be recorded: {broken}", hint="nothing was done") from broken

    def record_sync(self, act: Act, kind: str, name: str, content: Mapping[str, Any] | None = None) -> None:
        """Commit one record from a thread."""
        self._journal.append_sync(self._made(act, kind, name, content))

    def _made(self, act: Act, kind: str, name: str, content: Mapping[str, Any] | None) -> Record:
        now = self._clock()
        sealed: dict[str, Value] = {}
        ciphertext = b""
        if content is not None:
            kept = self._vault.seal(name, _encode(content))
            sealed = {"commitment": kept.commitment, "ct": kept.ct, "kid": kept.kid}
            ciphertext = kept.ciphertext
        return Record(
            name,
            entry(act, kind, name, now, sealed),
            now,
            filed(act.subject),
            kind,
            act.verdict,
            act.status,
            ciphertext,
        )


def entry(act: Act, kind: str, name: str, now: int, sealed: Mapping[str, Value]) -> bytes:
    """Write the exact bytes that are hashed. Arguments and results are not in it, only digests."""
    return _encode(
        {  # in the order of their names
            "action": act.id,
            "agent": act.agent,
            "amount_micro": act.amount,
            "approval": act.approval,
            "arguments_sha256": act.digest,
            "class": act.sort,
            "content": sealed,
            "dry_run": int(act.dry_run),
            "edited": int(act.edited),
            "ended": rfc3339(now),
            "epoch": act.epoch,
            "id": name,
            "key": act.key,
            "kind": kind,
            "latency_us": act.latency_us,
            "reasons": act.reasons[:MAX_REASONS],
            "release": act.release,
            "result_sha256": act.result_sha256,
            "route": act.route,
            "run": act.run,
            "rung": act.rung,
            "started": rfc3339(act.started),
            "status": act.status,
            "step": act.step,
            "tainted": [[t.argument, t.step, t.source] for t in act.tainted[:MAX_TAINTED]],
            "tier": act.tier,
            "tool": act.tool,
            "unit": act.unit,
            "use_case": act.subject,
            "v": 1,
            "verdict": act.verdict,
        }
    )
