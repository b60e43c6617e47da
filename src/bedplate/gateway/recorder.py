"""Puts calls on record: content sealed in the vault, the entry hashed into this process's shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bedplate.errors import BedplateError, Unavailable
from bedplate.store.record import Record

from .call import Trace, entry
from .dialect import json_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bedplate.kernel.clock import Clock
    from bedplate.kernel.event import Value
    from bedplate.store.journal import Journal
    from bedplate.store.vault import Vault

    Told = Callable[[Trace, str, Mapping[str, Any] | None], None]


class JournalRecorder:
    """Implements `bedplate.gateway.session.Recorder` on one shard. `told` is called once a record is durable."""

    def __init__(self, journal: Journal, vault: Vault, clock: Clock, told: Told | None = None) -> None:
        self._journal = journal
        self._vault = vault
        self._clock = clock
        self._told = told

    @property
    def healthy(self) -> bool:
        """Tell whether calls can be recorded."""
        return self._journal.healthy and self._vault.healthy

    async def record(self, trace: Trace, kind: str, content: Mapping[str, Any] | None) -> None:
        """Commit one record; returns after the durable commit. `Unavailable` or `Full` if that cannot be done."""
        try:
            sealed, ciphertext = self._sealed(trace.id, content)
            now = self._clock()
            if trace.route != "observed":  # then it is the span's
                trace.latency_us = max(0, now - trace.started)
            record = Record(
                id=trace.id,
                entry=entry(trace, kind, now, sealed),
                at=now,
                use_case=trace.subject,
                kind=kind,
                verdict=trace.verdict,
                status=trace.status,
                content=ciphertext,
            )
            await self._journal.append(record)
        except Unavailable:
            raise
        except BedplateError as broken:
            raise Unavailable(f"the call cannot be recorded: {broken}", hint="the answer was withheld") from broken
        if self._told is not None:
            self._told(trace, kind, content)

    def _sealed(self, call_id: str, content: Mapping[str, Any] | None) -> tuple[dict[str, Value], bytes]:
        if content is None:
            return {}, b""
        sealed = self._vault.seal(call_id, json_bytes(content))
        return {"commitment": sealed.commitment, "ct": sealed.ct, "kid": sealed.kid}, sealed.ciphertext
